import { ApiEventRecorder } from "#api/event-recorder.ts";
import { together } from "#lib/together.ts";
import { type Controllers, controllers } from "../controllers/run.ts";
import { serveHealth } from "../health-server.ts";
import type { Part, PartPorts } from "./part.ts";

/** The controllers, with their health on port 10257. */
export function controllersPart(ports: PartPorts): Part {
  const { config, clock, random, tables, pki, metrics } = ports;
  const client = ports.clientOf("kube-controller-manager");
  const log = ports.log.child({ part: "controllers" });
  const recorderFor = (component: string): ApiEventRecorder =>
    new ApiEventRecorder(client, { component }, clock, log);
  const events = recorderFor("controller-manager");
  let running: Controllers | undefined;
  const check = (): string | undefined => {
    if (running === undefined) return "the controllers are not running";
    const { listing } = running.health();
    return listing.length === 0 ? undefined : `still listing ${listing.join(", ")}`;
  };
  return {
    check,
    run: async (signal) => {
      const { clusterCidr, nodeCidrMaskSize, nodeMonitorGraceMs } = config;
      const rootCaPem = pki.ca.certificate;
      const settings = { clusterCidr, nodeCidrMaskSize, nodeMonitorGraceMs, rootCaPem };
      const given = { client, clock, log, random, events, recorderFor, tables, config: settings };
      const all = controllers(given);
      running = all;
      try {
        await together(
          signal,
          (stop) => all.run(stop),
          (stop) =>
            serveHealth(
              {
                name: "controllers",
                port: config.controllersPort,
                serving: pki.apiserver,
                clientCa: pki.ca.certificate,
                check,
                metrics,
              },
              stop,
            ),
        );
      } finally {
        running = undefined;
      }
    },
  };
}
