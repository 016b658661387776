import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import { ApiError, badRequest } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { isRecord } from "../handlers/incoming.ts";
import { existing } from "../handlers/read.ts";
import { storePrefix } from "../registry.ts";
import { type NodeAddress, nodeAddress } from "./kubelet-client.ts";
import { kubeletOf } from "./pod-place.ts";

/** `https:web:8443`: scheme and port around a name are optional. */
export interface ProxyName {
  readonly scheme: "http" | "https";
  readonly name: string;
  /** A number or a port's name; "" when not given. */
  readonly port: string;
}

/** Headers that belong to one connection (RFC 9110 §7.6.1), and those that are for this server alone. */
const dropped = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "host",
  "content-length",
  "authorization",
  "http2-settings",
]);
const connectTimeoutMs = 30_000;

/** Any request under `/proxy`: passed to a pod, to a pod behind a service, or to a node's own server. */
export async function httpProxy(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const target = parseProxyName(request.name);
  const query = request.query.toString();
  const path = `${request.rest === "" ? "/" : request.rest}${query === "" ? "" : `?${query}`}`;
  const headers = passedHeaders(request.headers);
  const body = await request.body();
  const sent = { method: request.method, path, headers, body };
  if (request.definition.plural === "nodes") {
    const node = (await existing(engine, request.definition, "", target.name, signal)).object;
    const own = nodeAddress(node);
    const address = target.port === "" ? own : { ...own, port: numberOf(target.port) };
    const answer = await kubeletOf(engine).send(address, sent, signal);
    if (answer.kind === "response") return replyOf(answer.response);
    answer.socket.destroy();
    throw badRequest("upgrades through a proxy are not served here");
  }
  const address =
    request.definition.plural === "services"
      ? await serviceAddress(engine, request, target, signal)
      : await podAddress(engine, request, target, signal);
  return replyOf(await send(target.scheme, address, sent, signal));
}

/** @throws {ApiError} 400 for more colons than that. */
export function parseProxyName(text: string): ProxyName {
  const parts = text.split(":");
  const [first = "", second = "", third = ""] = parts;
  if (parts.length === 1) return { scheme: "http", name: first, port: "" };
  if (parts.length === 2) return { scheme: "http", name: first, port: second };
  if (parts.length === 3 && ["", "http", "https"].includes(first))
    return { scheme: first === "https" ? "https" : "http", name: second, port: third };
  throw badRequest(`invalid proxy request "${text}": want [scheme:]name[:port]`);
}

async function podAddress(
  engine: Engine,
  request: ResourceRequest,
  target: ProxyName,
  signal: AbortSignal,
): Promise<NodeAddress> {
  const pod = (await existing(engine, request.definition, request.namespace, target.name, signal)).object;
  const host = text(record(pod["status"])["podIP"]);
  if (host === "") throw unavailable(`pod "${target.name}" has no address yet`);
  const ports = records(record(pod["spec"])["containers"]).flatMap((each) => records(each["ports"]));
  if (target.port === "") return { host, port: number(ports[0]?.["containerPort"]) ?? 80 };
  const named = ports.find((port) => port["name"] === target.port)?.["containerPort"];
  return { host, port: number(named) ?? numberOf(target.port) };
}

/** A ready endpoint of the service's port, by chance. */
async function serviceAddress(
  engine: Engine,
  request: ResourceRequest,
  target: ProxyName,
  signal: AbortSignal,
): Promise<NodeAddress> {
  const { namespace } = request;
  const service = (await existing(engine, request.definition, namespace, target.name, signal)).object;
  const ports = records(record(service["spec"])["ports"]);
  const chosen =
    target.port === "" && ports.length === 1
      ? ports[0]
      : ports.find((port) => port["name"] === target.port || String(port["port"]) === target.port);
  if (chosen === undefined)
    throw unavailable(`no service port "${target.port}" found for service "${target.name}"`);
  const slices = engine.registry.require("discovery.k8s.io", "endpointslices");
  const addresses = engine.cache
    .kind(slices.storagePrefix)
    .list(storePrefix(slices, namespace))
    .filter(({ object }) => object.metadata.labels?.["kubernetes.io/service-name"] === target.name)
    .flatMap(({ object }) => readyAddresses(object, text(chosen["name"])));
  const address = addresses[Math.floor(Math.random() * addresses.length)];
  if (address === undefined) throw unavailable(`no endpoints available for service "${target.name}"`);
  return address;
}

function readyAddresses(slice: StoredObject, portName: string): readonly NodeAddress[] {
  const port = number(records(slice["ports"]).find((each) => text(each["name"]) === portName)?.["port"]);
  if (port === undefined) return [];
  return records(slice["endpoints"])
    .filter((endpoint) => record(endpoint["conditions"])["ready"] !== false)
    .flatMap((endpoint) => (Array.isArray(endpoint["addresses"]) ? endpoint["addresses"].map(text) : []))
    .map((host) => ({ host, port }));
}

async function send(
  scheme: ProxyName["scheme"],
  address: NodeAddress,
  request: {
    readonly method: string;
    readonly path: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body: Uint8Array;
  },
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const { method, path, headers } = request;
  const options = { ...address, method, path, headers, agent: false, signal };
  const outgoing =
    scheme === "https" ? https.request({ ...options, rejectUnauthorized: false }) : http.request(options);
  const timer = setTimeout(() => outgoing.destroy(new Error("it did not answer in time")), connectTimeoutMs);
  outgoing.once("response", resolve);
  outgoing.once("error", reject);
  outgoing.end(request.body);
  try {
    return await promise;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ApiError(
      503,
      "ServiceUnavailable",
      `error trying to reach service: dial tcp ${address.host}:${address.port}: ${why}`,
      undefined,
      { cause },
    );
  } finally {
    clearTimeout(timer);
    outgoing.on("error", () => {});
  }
}

function replyOf(response: IncomingMessage): Reply {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    if (value !== undefined && !dropped.has(name))
      headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return { kind: "raw", status: response.statusCode ?? 502, headers, body: response };
}

function passedHeaders(headers: ResourceRequest["headers"]): Readonly<Record<string, string>> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !dropped.has(name) && !name.startsWith("impersonate-")) passed[name] = value;
  }
  return passed;
}

const unavailable = (message: string): ApiError => new ApiError(503, "ServiceUnavailable", message);
const record = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {});
const records = (value: unknown): readonly Readonly<Record<string, unknown>>[] =>
  Array.isArray(value) ? value.filter(isRecord) : [];
const text = (value: unknown): string => (typeof value === "string" ? value : "");
const number = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);

function numberOf(port: string): number {
  const value = Number(port);
  if (Number.isInteger(value) && value > 0 && value < 65_536) return value;
  throw badRequest(`invalid port "${port}": want a number from 1 to 65535 or the name of a port`);
}
