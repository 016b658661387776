import type { ApiClient } from "#api/client.ts";
import { systemClock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { AgentConfig } from "../../agent/config.ts";
import { localRoutes } from "../../agent/explain/local-routes.ts";
import { serveLocalSocket } from "../../agent/explain/local-socket.ts";
import { runAgent } from "../../agent/main.ts";
import { startServer } from "../../agent/server/main.ts";
import type { RequestLabels } from "../../agent/server/request-labels.ts";
import { openRuntime } from "./open-runtime.ts";

/** The agent with the real runtime and its server, until the signal is aborted. */
export async function runAgentHere(
  config: AgentConfig,
  client: ApiClient | undefined,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const logs = { maxSizeBytes: config.containerLogMaxSizeBytes, maxFiles: config.containerLogMaxFiles };
  const runtime = await openRuntime({ ...config, logs }, signal);
  try {
    await runAgent(
      config,
      {
        log,
        clock: systemClock,
        random: Math.random,
        client,
        runtime,
        startServer: async (settings, ports, stop) => {
          const metrics = () => ports.metrics.registry.metrics();
          const { httpRequests, httpInflight, httpSeconds } = ports.metrics;
          const count = (request: RequestLabels): (() => void) => {
            const labels = { ...request };
            httpRequests.inc(labels);
            httpInflight.inc(labels);
            const timed = httpSeconds.startTimer(labels);
            return () => {
              httpInflight.dec(labels);
              timed();
            };
          };
          const server = await startServer(settings, { ...ports, metrics, count }, stop);
          await server.closed;
        },
        startLocalSocket: async (settings, { desk, log: to }, stop) => {
          if (settings.controlSocket === "") return;
          // A Pod is not the worse for a socket that is not there: the agent goes on without.
          await serveLocalSocket(settings.controlSocket, localRoutes(desk), to, stop).catch(
            (cause: unknown) => {
              if (!stop.aborted) to.error("no local socket", { cause: errorText(cause) });
            },
          );
        },
      },
      signal,
    );
  } finally {
    await runtime.close();
  }
}
