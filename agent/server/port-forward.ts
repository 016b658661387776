import type { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import { errorText } from "#lib/log.ts";

/** Opens a byte stream to a port of the Pod. */
export type OpenPort = (port: number) => Promise<Duplex>;

/** Joins one forwarded connection with its port until both directions ended. Failures go to `fail` as text. */
export async function forwardPort(
  client: Duplex,
  port: number,
  openPort: OpenPort,
  fail: (message: string) => void,
): Promise<void> {
  try {
    const target = await openPort(port);
    target.on("error", (cause) => {
      fail(errorText(cause));
      client.destroy();
    });
    client.on("error", () => target.destroy());
    client.once("close", () => target.destroy());
    client.pipe(target);
    target.pipe(client);
    await Promise.all([
      finished(target).catch(() => {}),
      finished(client, { readable: false }).catch(() => {}),
    ]);
  } catch (cause) {
    fail(errorText(cause));
  } finally {
    client.end();
  }
}

/** Reads a port from a header, a query or a frame. @returns undefined when it is none. */
export function parsePort(text: string): number | undefined {
  const port = Number(text);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}
