import { request } from "node:http";
import { SpdySession } from "./session.ts";

/**
 * Opens a SPDY/3.1 session to an HTTP server, as its client.
 * @param protocols offered in `X-Stream-Protocol-Version`, the best first.
 * @returns the session and the protocol the server chose ("" when it chose none).
 * @throws when the server does not upgrade; the message carries its answer.
 */
export function connectSpdy(
  url: string,
  protocols: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly session: SpdySession; readonly protocol: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ session: SpdySession; protocol: string }>();
  const sent = request(url, {
    method: "POST",
    agent: false,
    signal,
    headers: {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      "content-length": "0",
      "x-stream-protocol-version": [...protocols],
    },
  });
  sent.once("upgrade", (response, socket, head) => {
    const protocol = response.headers["x-stream-protocol-version"];
    const refuse = (stream: { destroy(): unknown }): void => void stream.destroy();
    const session = new SpdySession(socket, "client", refuse, head);
    resolve({ session, protocol: typeof protocol === "string" ? protocol : "" });
  });
  sent.once("response", (response) => {
    response.setEncoding("utf8");
    let text = "";
    response.on("data", (chunk: string) => {
      text = (text + chunk).slice(0, 4_096);
    });
    response.once("end", () =>
      reject(new Error(`cannot open a SPDY session: answered ${response.statusCode}: ${text.trim()}`)),
    );
  });
  sent.once("error", reject);
  sent.end();
  return promise;
}
