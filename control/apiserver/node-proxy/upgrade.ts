import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { errorText } from "#lib/log.ts";
import { ApiError, badRequest, unknownPath } from "../../api-error.ts";
import type { Attributes, User } from "../../model.ts";
import { assertAuthorized } from "../access.ts";
import type { ApiServer } from "../api-server.ts";
import type { Engine } from "../engine.ts";
import type { UpgradeHandler } from "../http-server.ts";
import type { ServerRequest } from "../request.ts";
import { type Target, attributesOf } from "../request-target.ts";
import { chooseContainer } from "./choose-container.ts";
import type { NodeAddress } from "./kubelet-client.ts";
import { execPath, portForwardPath } from "./kubelet-path.ts";
import { refusalOf } from "./pod-log.ts";
import { kubeletOf, podPlace } from "./pod-place.ts";
import { splice } from "./splice.ts";

/** Headers of the handshake that go on to the node; nothing else does, least of all credentials. */
const forwarded = [
  "upgrade",
  "connection",
  "sec-websocket-key",
  "sec-websocket-version",
  "sec-websocket-protocol",
  "sec-websocket-extensions",
  "x-stream-protocol-version",
  "user-agent",
  "origin",
];

/**
 * exec, attach and portforward: the handshake is passed to the pod's node, and after it every byte both ways.
 * The node speaks SPDY and WebSocket itself, so nothing is translated here.
 */
export function nodeUpgrades(api: ApiServer): UpgradeHandler {
  return async (request, socket, head, signal) => {
    try {
      await upgrade(api, request, socket, head, signal);
    } catch (cause) {
      const refusal =
        cause instanceof ApiError
          ? cause
          : new ApiError(500, "InternalError", `Internal error occurred: ${errorText(cause)}`);
      refuse(socket, refusal);
    }
  };
}

async function upgrade(
  api: ApiServer,
  request: ServerRequest,
  socket: Duplex,
  head: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const { user, target, query } = await api.admitUpgrade(request, signal);
  const { address, path } = await destination(api.engine, user, target, query, signal);
  const headers: Record<string, string> = {};
  for (const name of forwarded) {
    const value = request.headers[name];
    if (value !== undefined) headers[name] = value;
  }
  const answer = await kubeletOf(api.engine).send(address, { method: request.method, path, headers }, signal);
  // Only a connection that the node took over is joined: after any other answer the client would be talking
  // plain HTTP to the node with this server's certificate (CVE-2018-1002105).
  if (answer.kind === "response") throw await refusalOf(answer.response);
  socket.write(switchingProtocols(answer.response));
  splice({ stream: socket, head }, { stream: answer.socket, head: answer.head });
}

async function destination(
  engine: Engine,
  user: User,
  target: Extract<Target, { readonly kind: "resource" }>,
  query: URLSearchParams,
  signal: AbortSignal,
): Promise<{ readonly address: NodeAddress; readonly path: string }> {
  const { namespace, name, subresource } = target;
  if (target.group !== "" || target.resource !== "pods") throw unknownPath();
  if (subresource !== "exec" && subresource !== "attach" && subresource !== "portforward")
    throw badRequest(`cannot upgrade a request for "pods/${subresource}"`);
  // A WebSocket handshake is a GET; running something in a pod needs more than the right to read (1.35).
  const asCreate: Attributes = attributesOf(user, "create", target);
  await assertAuthorized(engine, asCreate, signal);
  const { pod, address } = await podPlace(engine, namespace, name, signal);
  for (const plugin of engine.ports.admission) {
    await plugin.admit(
      {
        operation: "CONNECT",
        user,
        resource: engine.registry.require("", "pods"),
        subresource,
        namespace,
        name,
        object: undefined,
        before: pod,
        dryRun: false,
      },
      signal,
    );
  }
  if (subresource === "portforward") return { address, path: portForwardPath(namespace, name, query) };
  if (subresource === "exec" && query.getAll("command").length === 0)
    throw badRequest("you must specify at least 1 command for the container");
  const container = chooseContainer(pod, query.get("container") ?? "");
  return { address, path: execPath(subresource, { namespace, pod: name, container }, query) };
}

/** The node's 101 as it came. */
function switchingProtocols(response: IncomingMessage): string {
  const lines = [`HTTP/1.1 101 Switching Protocols`];
  for (let at = 0; at + 1 < response.rawHeaders.length; at += 2)
    lines.push(`${response.rawHeaders[at] ?? ""}: ${response.rawHeaders[at + 1] ?? ""}`);
  return `${lines.join("\r\n")}\r\n\r\n`;
}

/** How long a refused client gets to read why. */
const refusalMs = 5_000;

function refuse(socket: Duplex, refusal: ApiError): void {
  const body = Buffer.from(JSON.stringify(refusal.status));
  const reason = refusal.reason === "" ? "Error" : refusal.reason;
  socket.end(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${refusal.code} ${reason}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n`,
      ),
      body,
    ]),
  );
  // What the client still sends is read and dropped, or the reset would take the answer with it.
  socket.resume();
  setTimeout(() => socket.destroy(), refusalMs).unref();
}
