import { type IncomingMessage, request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { errorText } from "#lib/log.ts";
import { HttpError } from "./http-error.ts";
import { offeredProtocols } from "./spdy-upgrade.ts";

/** Longest answer of a streaming server that is handed on. */
const maxAnswerBytes = 4_096;

/** A connection to a streaming server that speaks SPDY/3.1 now. */
export interface UpgradedServer {
  readonly socket: Duplex;
  /** What it answered besides the upgrade itself. */
  readonly headers: readonly (readonly [string, string])[];
}

/**
 * Asks the runtime's streaming server for SPDY/3.1.
 * @param protocols offered in `X-Stream-Protocol-Version`.
 * @throws {HttpError} with its own status and text when it does not upgrade, 502 when it cannot be reached.
 */
export function upgradeServer(
  url: string,
  protocols: readonly string[],
  signal: AbortSignal,
): Promise<UpgradedServer> {
  const { promise, resolve, reject } = Promise.withResolvers<UpgradedServer>();
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
    const hop = new Set(["connection", "upgrade"]);
    const names = Object.keys(response.headers).filter((name) => !hop.has(name));
    resolve({ socket, headers: names.map((name) => [name, String(response.headers[name])]) });
  });
  sent.once("response", (response) => {
    let text = "";
    response.setEncoding("utf8");
    response.on("data", (chunk: string) => {
      text = (text + chunk).slice(0, maxAnswerBytes);
    });
    response.once("end", () => reject(new HttpError(response.statusCode ?? 502, text.trim())));
    response.once("error", reject);
  });
  sent.once("error", (cause) => {
    const why = `cannot reach the runtime's streaming server: ${errorText(cause)}`;
    reject(new HttpError(502, why, { cause }));
  });
  sent.end();
  return promise;
}

/**
 * Hands a client's connection on to the runtime's streaming server, byte by byte: neither the frames nor the streams
 * in them are looked at, and who reads slowly slows the other. Resolves when both connections have ended.
 * @throws {HttpError} before anything was answered, when the server does not upgrade.
 */
export async function passThrough(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  url: string,
  signal: AbortSignal,
): Promise<void> {
  // One header each: Go's servers of old do not take a list apart.
  const server = await upgradeServer(url, offeredProtocols(request), signal);
  const more = server.headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
  client.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n${more}\r\n`);
  if (head.length > 0) client.unshift(head);
  await joinConnections(client, server.socket);
}

/** Joins two connections until both have ended. The end of one half is the end of that half alone. */
export async function joinConnections(one: Duplex, other: Duplex): Promise<void> {
  const ended = Promise.all([closed(one), closed(other)]);
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on("error", () => {}); // "close" follows
    from.once("close", () => to.destroy());
    from.pipe(to);
  }
  await ended;
}

async function closed(stream: Duplex): Promise<void> {
  if (stream.closed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once("close", resolve);
  await promise;
}
