import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createWebSocketStream } from "ws";
import type { AgentView } from "../model.ts";
import { type ProcessStreams, type Runtime, RuntimeError, type StreamTarget } from "../runtime/runtime.ts";
import { HttpError } from "./http-error.ts";
import { findContainer, findPod, parsePodPath } from "./pod-paths.ts";
import { joinConnections, passThrough, upgradeServer } from "./pass-through.ts";
import { type OpenPort, parsePort } from "./port-forward.ts";
import { runProcess } from "./run-process.ts";
import { spdyPortForward } from "./spdy-port-forward.ts";
import { spdyProcess } from "./spdy-process.ts";
import { upgradeToSpdy } from "./spdy-upgrade.ts";
import { limitIdle, type StreamLimits } from "./stream-limits.ts";
import { parseStreamOptions } from "./stream-options.ts";
import { webSocketPortForward } from "./websocket-port-forward.ts";
import { webSocketProcess } from "./websocket-process.ts";
import { isWebSocket, offeredSubprotocols, upgradeToWebSocket } from "./websocket-upgrade.ts";

const forwardProtocol = "portforward.k8s.io";
const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";
const channelProtocols = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/** What streams need of the agent. */
export interface StreamPorts {
  readonly view: AgentView;
  readonly runtime: Runtime;
  readonly limits: StreamLimits;
}

/**
 * Serves one upgraded connection to its end: `/exec`, `/attach`, `/portForward`.
 * @throws {HttpError} before anything was answered.
 */
export async function serveUpgrade(
  ports: StreamPorts,
  url: URL,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  signal: AbortSignal,
): Promise<void> {
  checkUpgrade(request);
  if (!isWebSocket(request)) limitIdle(socket, ports.limits); // a WebSocket has its own timer until it is one
  const verb = url.pathname.split("/")[1] ?? "";
  if (verb === "exec" || verb === "attach")
    await serveProcess(ports, verb, url, request, socket, head, signal);
  else if (verb === "portForward") await servePortForward(ports, url, request, socket, head, signal);
  else throw new HttpError(404, "404 page not found");
}

/** @throws {HttpError} 400 for an upgrade to something else. */
function checkUpgrade(request: IncomingMessage): void {
  const upgrade = request.headers.upgrade ?? "";
  if (isWebSocket(request) || upgrade.toLowerCase().includes("spdy/3.1")) return;
  throw new HttpError(
    400,
    `unable to upgrade: missing upgrade headers in request: want "SPDY/3.1" or "websocket", not ${JSON.stringify(upgrade.slice(0, 100))}`,
  );
}

async function serveProcess(
  { view, runtime, limits }: StreamPorts,
  verb: "exec" | "attach",
  url: URL,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const path = parsePodPath(url.pathname, true);
  if (path === undefined) throw new HttpError(404, "404 page not found");
  const container = findContainer(findPod(view, path), path);
  const options = parseStreamOptions(url.searchParams);
  const command = url.searchParams.getAll("command");
  if (verb === "exec" && command.length === 0) throw new HttpError(400, "you must specify a command");
  const { id } = container;
  // A WebSocket is translated: the runtime's own speaks v4 at best, which cannot say that stdin has ended.
  const target =
    verb === "exec" ? { action: verb, id, command, ...options } : { action: verb, id, ...options };
  const handOnTo = isWebSocket(request) ? undefined : await streamingUrl(runtime, target, signal);
  if (handOnTo !== undefined) {
    await passThrough(request, socket, head, handOnTo, signal);
    return;
  }
  const start = (): Promise<ProcessStreams> =>
    verb === "exec" ? runtime.exec(id, { ...options, command }, signal) : runtime.attach(id, options, signal);
  const channels = isWebSocket(request)
    ? await webSocketProcess(request, socket, head, options, limits)
    : await spdyProcess(request, socket, head, options, limits);
  await runProcess(channels, start);
}

async function servePortForward(
  { view, runtime, limits }: StreamPorts,
  url: URL,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const path = parsePodPath(url.pathname, false);
  if (path === undefined) throw new HttpError(404, "404 page not found");
  const { sandboxId } = findPod(view, path);
  if (sandboxId === undefined) throw new HttpError(404, `pod "${path.pod}" is not running`);
  const openPort: OpenPort = (port) => runtime.portForward(sandboxId, port, signal);
  const target = { action: "portForward", sandboxId } as const;
  if (!isWebSocket(request)) {
    const handOnTo = await streamingUrl(runtime, target, signal);
    if (handOnTo !== undefined) {
      await passThrough(request, socket, head, handOnTo, signal);
      return;
    }
    upgradeToSpdy(request, socket, [forwardProtocol], forwardProtocol);
    await spdyPortForward(socket, head, openPort, limits);
    return;
  }
  const ports = portsOf(url.searchParams);
  const protocols = [tunnelProtocol, ...channelProtocols];
  const isTunnel = offeredSubprotocols(request).find((name) => protocols.includes(name)) === tunnelProtocol;
  if (!isTunnel && ports.length === 0) throw new HttpError(400, 'query parameter "port" is required');
  const { webSocket, protocol } = await upgradeToWebSocket(request, socket, head, protocols, limits);
  if (protocol !== tunnelProtocol) {
    await webSocketPortForward(webSocket, protocol, ports, openPort);
    return;
  }
  // Messages are cut anywhere: together they are the bytes of a SPDY connection.
  const tunnel = createWebSocketStream(webSocket);
  tunnel.on("error", () => {}); // "close" follows
  const handOnTo = await streamingUrl(runtime, target, signal);
  if (handOnTo === undefined) await spdyPortForward(tunnel, Buffer.alloc(0), openPort, limits);
  else await joinConnections(tunnel, (await upgradeServer(handOnTo, [forwardProtocol], signal)).socket);
  webSocket.close(1000);
}

/** @throws {HttpError} 404 when what is to be streamed has gone meanwhile. */
async function streamingUrl(
  runtime: Runtime,
  target: StreamTarget,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await runtime.streamingUrl(target, signal);
  } catch (cause) {
    if (cause instanceof RuntimeError && cause.code === "not-found")
      throw new HttpError(404, cause.message, { cause });
    throw cause;
  }
}

/** @throws {HttpError} 400 in kubelet's words for what is no port. */
function portsOf(query: URLSearchParams): readonly number[] {
  return query
    .getAll("port")
    .flatMap((list) => list.split(","))
    .map((text) => {
      const port = parsePort(text);
      if (port === undefined)
        throw new HttpError(400, `unable to parse ${JSON.stringify(text.slice(0, 100))} as a port`);
      return port;
    });
}
