import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createWebSocketStream } from "ws";
import type { AgentView } from "../model.ts";
import type { ProcessStreams, Runtime, StreamOptions } from "../runtime/runtime.ts";
import { HttpError } from "./http-error.ts";
import { findContainer, findPod, parsePodPath } from "./pod-paths.ts";
import { type OpenPort, parsePort } from "./port-forward.ts";
import type { ProcessChannels } from "./process-channels.ts";
import { runProcess } from "./run-process.ts";
import { spdyPortForward } from "./spdy-port-forward.ts";
import { spdyProcess } from "./spdy-process.ts";
import { upgradeToSpdy } from "./spdy-upgrade.ts";
import { parseStreamOptions } from "./stream-options.ts";
import { webSocketPortForward } from "./websocket-port-forward.ts";
import { webSocketProcess } from "./websocket-process.ts";
import { isWebSocket, upgradeToWebSocket } from "./websocket-upgrade.ts";

const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";
const channelProtocols = ["v4.channel.k8s.io", "v4.base64.channel.k8s.io"];

/** What streams need of the agent. */
export interface StreamPorts {
  readonly view: AgentView;
  readonly runtime: Runtime;
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
  const verb = url.pathname.split("/")[1] ?? "";
  if (verb === "exec" || verb === "attach")
    await serveProcess(ports, verb, url, request, socket, head, signal);
  else if (verb === "portForward") await servePortForward(ports, url, request, socket, head, signal);
  else throw new HttpError(404, "404 page not found");
}

async function serveProcess(
  { view, runtime }: StreamPorts,
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
  const start = (): Promise<ProcessStreams> =>
    verb === "exec"
      ? runtime.exec(container.id, { ...options, command }, signal)
      : runtime.attach(container.id, options, signal);
  await runProcess(await openChannels(request, socket, head, options), start);
}

function openChannels(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: StreamOptions,
): Promise<ProcessChannels> {
  return isWebSocket(request)
    ? webSocketProcess(request, socket, head, options)
    : spdyProcess(request, socket, head, options);
}

async function servePortForward(
  { view, runtime }: StreamPorts,
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
  if (!isWebSocket(request)) {
    upgradeToSpdy(request, socket, ["portforward.k8s.io"], "portforward.k8s.io");
    await spdyPortForward(socket, head, openPort);
    return;
  }
  const ports = url.searchParams
    .getAll("port")
    .flatMap((list) => list.split(","))
    .map((text) => {
      const port = parsePort(text);
      if (port === undefined) throw new HttpError(400, `cannot read port "${text}"`);
      return port;
    });
  const served = ports.length === 0 ? [tunnelProtocol] : [tunnelProtocol, ...channelProtocols];
  const { webSocket, protocol } = await upgradeToWebSocket(request, socket, head, served);
  if (protocol !== tunnelProtocol) {
    await webSocketPortForward(webSocket, protocol, ports, openPort);
    return;
  }
  // Messages are cut anywhere: together they are the bytes of a SPDY connection.
  const tunnel = createWebSocketStream(webSocket);
  await spdyPortForward(tunnel, Buffer.alloc(0), openPort);
  webSocket.close(1000);
}
