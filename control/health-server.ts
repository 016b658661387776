import { once } from "node:events";
import https from "node:https";
import type { KeyPair } from "./pki/issue-certificate.ts";

/** The health and metrics of one part, on loopback. */
export interface HealthServerOptions {
  /** `scheduler`, for messages. */
  readonly name: string;
  readonly port: number;
  readonly serving: KeyPair;
  readonly clientCa: string;
  /** Undefined when well, else why not. */
  readonly check: () => string | undefined;
  readonly metrics: () => Promise<string>;
}

/**
 * Serves /healthz, /livez, /readyz to everyone and /metrics to holders of a certificate of this cluster, over
 * HTTPS on 127.0.0.1 until the signal is aborted. Port 0 serves nothing.
 */
export async function serveHealth(options: HealthServerOptions, signal: AbortSignal): Promise<void> {
  if (options.port === 0) return;
  const server = https.createServer(
    {
      cert: options.serving.certificate,
      key: options.serving.key,
      ca: options.clientCa,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (request, response) => {
      void answer(options, request.url ?? "/", isOurs(request.socket)).then(({ status, text }) => {
        response.writeHead(status, { "content-type": "text/plain; charset=utf-8" }).end(text);
      });
    },
  );
  server.on("tlsClientError", () => {}); // a port scan is no news
  try {
    server.listen(options.port, "127.0.0.1");
    await once(server, "listening", { signal });
    if (!signal.aborted) await once(signal, "abort");
  } catch (cause) {
    if (signal.aborted) return;
    throw new Error(
      `cannot serve the ${options.name}'s health on "127.0.0.1:${options.port}"; choose another port, or 0 for none`,
      { cause },
    );
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

async function answer(
  options: HealthServerOptions,
  url: string,
  trusted: boolean,
): Promise<{ readonly status: number; readonly text: string }> {
  const path = url.split("?")[0] ?? "/";
  if (path === "/healthz" || path === "/livez" || path === "/readyz") {
    const why = options.check();
    return why === undefined ? { status: 200, text: "ok" } : { status: 500, text: `${why}\n` };
  }
  if (path !== "/metrics") return { status: 404, text: "404 page not found\n" };
  if (!trusted) return { status: 403, text: "a client certificate of this cluster is needed\n" };
  try {
    return { status: 200, text: await options.metrics() };
  } catch (cause) {
    return { status: 500, text: `${cause instanceof Error ? cause.message : String(cause)}\n` };
  }
}

function isOurs(socket: object): boolean {
  return "authorized" in socket && socket.authorized === true;
}
