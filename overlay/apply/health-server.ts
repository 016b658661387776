import http from "node:http";

/** What the health server tells. */
export interface Health {
  readonly isReady: () => boolean;
  readonly metrics: () => Promise<string>;
}

/** Serves `/healthz`, `/readyz` and `/metrics` until the signal. Port 0 means none is wanted. */
export async function serveHealth(
  address: string,
  port: number,
  health: Health,
  signal: AbortSignal,
): Promise<void> {
  if (port === 0 || signal.aborted) return;
  const server = http.createServer((request, response) => {
    const send = (code: number, text: string): void => {
      response.writeHead(code, { "content-type": "text/plain; charset=utf-8" }).end(text);
    };
    switch (request.url) {
      case "/healthz":
        send(200, "flanneld is running");
        break;
      case "/readyz":
        if (health.isReady()) send(200, "flanneld is ready");
        else send(503, "flanneld is not ready yet");
        break;
      case "/metrics":
        health.metrics().then(
          (text) => send(200, text),
          (cause: unknown) => send(500, String(cause)),
        );
        break;
      default:
        send(404, "not found");
    }
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.once("close", resolve);
  signal.addEventListener(
    "abort",
    () => {
      server.close();
      server.closeAllConnections();
    },
    { once: true },
  );
  server.listen(port, address);
  await promise;
}
