import { createServer, type Server } from "node:http";

/** An answer of one of the proxy's small servers. */
export interface Answer {
  readonly code: number;
  readonly body: string;
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Serves GET requests on `ip:port`.
 * @param answer undefined means 404.
 * @throws when the address is taken.
 */
export async function serveHttp(
  address: string,
  answer: (path: string) => Answer | undefined | Promise<Answer | undefined>,
): Promise<() => void> {
  const server = createServer({ requestTimeout: 10_000 }, (request, response) => {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    Promise.resolve(answer(path)).then(
      (found) => {
        const {
          code,
          body,
          contentType = "text/plain; charset=utf-8",
          headers = {},
        } = found ?? { code: 404, body: "404 page not found\n" };
        response.writeHead(code, {
          "content-type": contentType,
          "x-content-type-options": "nosniff",
          ...headers,
        });
        response.end(request.method === "HEAD" ? undefined : body);
      },
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = 256;
  await listening(server, address);
  server.unref();
  return () => {
    server.close();
    server.closeAllConnections();
  };
}

function listening(server: Server, address: string): Promise<void> {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[|\]$/g, "");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (cause) =>
    reject(new Error(`cannot listen on "${address}": ${cause.message}`, { cause })),
  );
  server.listen({ host: host === "" ? "0.0.0.0" : host, port: Number(address.slice(colon + 1)) }, resolve);
  return promise;
}
