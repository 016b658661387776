import http from "node:http";
import type { AgentConfig } from "./config.ts";
import type { AgentView } from "./model.ts";

/**
 * `/healthz` for the machine's own supervisor, plain HTTP on the loopback address, until the signal.
 * @throws Error when the port is taken.
 */
export async function serveHealth(config: AgentConfig, view: AgentView, signal: AbortSignal): Promise<void> {
  if (config.healthzPort === 0) return;
  const server = http.createServer((_request, response) => {
    const health = view.healthy();
    const text = health.ok ? "ok" : health.why;
    response.writeHead(health.ok ? 200 : 500, { "content-type": "text/plain; charset=utf-8" }).end(text);
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const place = `${config.healthzBindAddress}:${config.healthzPort}`;
  server.once("error", (cause) =>
    reject(
      new Error(`cannot listen on "${place}": ${cause.message}; choose another --healthz-port`, { cause }),
    ),
  );
  const stop = (): void => {
    server.close();
    server.closeAllConnections();
    resolve();
  };
  signal.addEventListener("abort", stop, { once: true });
  server.listen(config.healthzPort, config.healthzBindAddress);
  await promise;
}
