import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { requestSpdy, type UpgradedConnection, UpgradeError } from "#lib/spdy/upgrade.ts";
import { HttpError } from "./http-error.ts";
import { offeredProtocols } from "./spdy-upgrade.ts";

/**
 * Asks the runtime's streaming server for SPDY/3.1.
 * @param protocols offered in `X-Stream-Protocol-Version`.
 * @throws {HttpError} with its own status and text when it does not upgrade, 502 when it cannot be reached.
 */
export async function upgradeServer(
  url: string,
  protocols: readonly string[],
  signal: AbortSignal,
): Promise<UpgradedConnection> {
  try {
    return await requestSpdy(url, protocols, signal);
  } catch (cause) {
    if (!(cause instanceof UpgradeError)) throw cause;
    const { status, answer } = cause;
    if (status !== undefined) throw new HttpError(status, answer, { cause });
    throw new HttpError(502, `cannot reach the runtime's streaming server: ${answer}`, { cause });
  }
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
  const more = Object.entries(server.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  client.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n${more.join("")}\r\n`,
  );
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
