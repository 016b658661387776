import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { HttpError } from "./http-error.ts";

/**
 * Answers an upgrade to SPDY/3.1 with the best protocol that the client offers too.
 * @param whenNone the protocol of a client that offers nothing.
 * @throws {HttpError} 403 when there is none in common, before anything was answered.
 */
export function upgradeToSpdy(
  request: IncomingMessage,
  socket: Duplex,
  protocols: readonly string[],
  whenNone: string,
): string {
  const offered = offeredProtocols(request);
  const chosen = offered.length === 0 ? whenNone : protocols.find((protocol) => offered.includes(protocol));
  if (chosen === undefined)
    throw new HttpError(
      403,
      `unable to upgrade: client supports ${offered.join(", ")}, server accepts ${protocols.join(", ")}`,
    );
  const named = offered.length === 0 ? "" : `X-Stream-Protocol-Version: ${chosen}\r\n`;
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n${named}\r\n`,
  );
  return chosen;
}

/** What a client offers in `X-Stream-Protocol-Version`, best first: the header may be repeated and may hold a list. */
export function offeredProtocols(request: IncomingMessage): readonly string[] {
  const values = request.headersDistinct["x-stream-protocol-version"] ?? [];
  return values
    .flatMap((value) => value.split(","))
    .map((value) => value.trim())
    .filter((value) => value !== "");
}
