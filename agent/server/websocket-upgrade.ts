import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { HttpError } from "./http-error.ts";
import { limitIdle, type StreamLimits } from "./stream-limits.ts";

/** Largest message a client may send. kubectl sends 32 KiB. */
const maxMessageBytes = 16 * 1024 * 1024;

/** True for an upgrade to WebSocket, false for one to SPDY. */
export function isWebSocket(request: IncomingMessage): boolean {
  return (request.headers.upgrade ?? "").toLowerCase() === "websocket";
}

/** What the client offers in `Sec-WebSocket-Protocol`, best first. */
export function offeredSubprotocols(request: IncomingMessage): readonly string[] {
  return (request.headers["sec-websocket-protocol"] ?? "")
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
}

/**
 * Answers an upgrade to WebSocket with the client's best protocol that is served.
 * @throws {HttpError} 400 when none of the offered ones is, and for a handshake that is none.
 */
export async function upgradeToWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocols: readonly string[],
  limits: StreamLimits,
): Promise<{ readonly webSocket: WebSocket; readonly protocol: string }> {
  const offered = offeredSubprotocols(request);
  const protocol = offered.find((name) => protocols.includes(name)) ?? "";
  if (offered.length > 0 && protocol === "")
    throw new HttpError(400, `none of the WebSocket protocols is served: ${offered.join(", ")}`);
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
  });
  // Kubernetes' tunnel protocol has a slash in its name, which `ws` refuses to read: it is chosen here.
  delete request.headers["sec-websocket-protocol"];
  server.on("headers", (headers) => {
    if (protocol !== "") headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
  });
  const { promise, resolve, reject } = Promise.withResolvers<WebSocket>();
  // `ws` calls back for a good handshake only; with this listener it leaves the answer to a bad one to us.
  server.on("wsClientError", (cause) =>
    reject(new HttpError(400, `bad handshake: ${cause.message}`, { cause })),
  );
  socket.once("close", () => reject(new HttpError(400, "the client left during the handshake")));
  server.handleUpgrade(request, socket, head, (webSocket) => {
    webSocket.pause(); // a client may send at once, before anybody listens
    limitIdle(socket, limits);
    resolve(webSocket);
  });
  return { webSocket: await promise, protocol };
}
