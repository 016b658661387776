import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { SpdySession } from "./session.ts";

/** Longest answer of a server that does not upgrade. */
const maxAnswerBytes = 4_096;

/** A server that does not speak SPDY with us. */
export class UpgradeError extends Error {
  override readonly name = "UpgradeError";
  /** Its answer's status; undefined when it could not be reached. */
  readonly status: number | undefined;
  /** Its answer, or why there was none. */
  readonly answer: string;

  constructor(status: number | undefined, answer: string, options?: ErrorOptions) {
    const how = status === undefined ? "" : `answered ${status}: `;
    super(`cannot open a SPDY session: ${how}${answer}`, options);
    this.status = status;
    this.answer = answer;
  }
}

/** A connection whose server speaks SPDY/3.1 from now on. */
export interface UpgradedConnection {
  readonly socket: Duplex;
  /** The server's other headers, names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
}

/**
 * Asks an HTTP server for SPDY/3.1.
 * @param protocols offered in `X-Stream-Protocol-Version`, the best first.
 * @throws {UpgradeError} when it does not upgrade, or cannot be reached.
 */
export function requestSpdy(
  url: string,
  protocols: readonly string[],
  signal: AbortSignal,
): Promise<UpgradedConnection> {
  const { promise, resolve, reject } = Promise.withResolvers<UpgradedConnection>();
  const send = url.startsWith("https:") ? httpsRequest : httpRequest;
  const sent = send(url, {
    method: "POST",
    agent: false,
    signal,
    headers: {
      connection: "Upgrade",
      upgrade: "SPDY/3.1",
      "content-length": "0",
      ...(protocols.length === 0 ? {} : { "x-stream-protocol-version": [...protocols] }),
    },
  });
  sent.once("upgrade", (response, socket, head) => {
    socket.on("error", () => {}); // "close" follows
    if (head.length > 0) socket.unshift(head);
    const { connection: _, upgrade: __, ...others } = response.headers;
    const headers = Object.entries(others).map(([name, value]) => [name, String(value)]);
    resolve({ socket, headers: Object.fromEntries(headers) });
  });
  sent.once("response", (response) => {
    response.setEncoding("utf8");
    let text = "";
    response.on("data", (chunk: string) => {
      text = (text + chunk).slice(0, maxAnswerBytes);
    });
    response.once("end", () => reject(new UpgradeError(response.statusCode, text.trim())));
    response.once("error", reject);
  });
  sent.once("error", (cause) => reject(new UpgradeError(undefined, cause.message, { cause })));
  sent.end();
  return promise;
}

/**
 * Opens a SPDY/3.1 session to an HTTP server, as its client.
 * @param protocols offered in `X-Stream-Protocol-Version`, the best first.
 * @returns the session and the protocol the server chose ("" when it chose none).
 * @throws {UpgradeError} when the server does not upgrade; the message carries its answer.
 */
export async function connectSpdy(
  url: string,
  protocols: readonly string[],
  signal: AbortSignal,
): Promise<{ readonly session: SpdySession; readonly protocol: string }> {
  const { socket, headers } = await requestSpdy(url, protocols, signal);
  const session = new SpdySession(socket, "client", (stream) => void stream.destroy());
  return { session, protocol: headers["x-stream-protocol-version"] ?? "" };
}
