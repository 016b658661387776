import { ApiEventRecorder } from "#api/event-recorder.ts";
import { together } from "#lib/together.ts";
import { serveHealth } from "../health-server.ts";
import { runScheduler } from "../scheduler/run.ts";
import type { Part, PartPorts } from "./part.ts";

/** The scheduler, with its health on port 10259. */
export function schedulerPart(ports: PartPorts): Part {
  const { clock, random, tables, pki, metrics } = ports;
  const client = ports.clientOf("kube-scheduler");
  const log = ports.log.child({ part: "scheduler" });
  const events = new ApiEventRecorder(client, { component: "default-scheduler" }, clock, log);
  let running = false;
  const check = (): string | undefined => (running ? undefined : "the scheduler is not running");
  return {
    check,
    run: async (signal) => {
      running = true;
      try {
        await together(
          signal,
          (stop) => runScheduler({ client, clock, log, random, events, tables }, stop),
          (stop) =>
            serveHealth(
              {
                name: "scheduler",
                port: ports.config.schedulerPort,
                serving: pki.apiserver,
                clientCa: pki.ca.certificate,
                check,
                metrics,
              },
              stop,
            ),
        );
      } finally {
        running = false;
      }
    },
  };
}
