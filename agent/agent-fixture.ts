import { mkdir } from "node:fs/promises";
import path from "node:path";
import { type Clock, systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { type Log, noLog } from "#lib/log.ts";
import { flags } from "./config.ts";
import { localRoutes } from "./explain/local-routes.ts";
import { serveLocalSocket } from "./explain/local-socket.ts";
import { runAgent } from "./main.ts";
import type { AgentView } from "./model.ts";
import type { Runtime } from "./runtime/runtime.ts";

/** An agent that a test has started. */
export interface StandaloneAgent {
  readonly view: AgentView;
  /** What it has said, as `reason message`. */
  readonly events: string[];
  readonly stop: () => Promise<void>;
}

/** An agent without an API, in a directory of its own. */
export async function standalone(
  runtime: Runtime,
  folder: string,
  random: number = 0,
  more: readonly string[] = [],
  clock: Clock = systemClock,
): Promise<StandaloneAgent> {
  const config = parseFlags("agent", flags, [
    "--hostname-override=node-a",
    "--node-ip=192.0.2.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-manifest-path=${folder}/manifests`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    "--healthz-port=0",
    "--no-cgroups-per-qos",
    "--fail-swap-on=false",
    ...more,
  ]);
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  const events: string[] = [];
  const log: Log = {
    ...noLog,
    info: (event, data) => {
      if (event === "event") events.push(`${String(data?.["reason"])} ${String(data?.["message"])}`);
    },
  };
  const stop = new AbortController();
  const started = Promise.withResolvers<AgentView>();
  const running = runAgent(
    config,
    {
      log,
      clock,
      random: () => random,
      client: undefined,
      runtime,
      startLocalSocket: async ({ controlSocket }, { desk }, signal) => {
        if (controlSocket.startsWith(folder))
          await serveLocalSocket(controlSocket, localRoutes(desk), noLog, signal);
      },
      ready: started.resolve,
    },
    stop.signal,
  );
  running.catch(started.reject);
  const view = await started.promise;
  return {
    view,
    events,
    stop: async () => {
      stop.abort();
      await running;
    },
  };
}

/** Waits until it holds. @throws when it does not within the time. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  withinMs = 5_000,
): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`it did not come to this in ${withinMs} ms: ${what}`);
    await systemClock.sleep(20, AbortSignal.timeout(1_000));
  }
}
