import { readFile } from "node:fs/promises";
import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import { createServer } from "node:https";
import type { AddressInfo, Server } from "node:net";
import type { Duplex } from "node:stream";
import type { ApiClient } from "#api/client.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { AgentConfig } from "../config.ts";
import type { AgentView } from "../model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { accessFor } from "./access.ts";
import { Authenticator } from "./authenticate.ts";
import { Authorizer } from "./authorize.ts";
import { followCertificates, type Identity } from "./follow-certificates.ts";
import { HttpError } from "./http-error.ts";
import { type RequestLabels, requestLabels } from "./request-labels.ts";
import { type RoutePorts, send, serveRequest } from "./routes.ts";
import { servingCertificate } from "./serving-certificate.ts";
import { UsageReader } from "./stats.ts";
import { defaultStreamLimits } from "./stream-limits.ts";
import { serveUpgrade } from "./upgrades.ts";

/** What of the agent's settings the server reads. `port` 0 is any free one. */
export type ServerConfig = Pick<
  AgentConfig,
  | "rootDir"
  | "address"
  | "port"
  | "tlsCertFile"
  | "tlsPrivateKeyFile"
  | "clientCaFile"
  | "streamIdleMs"
  | "anonymousAuth"
  | "authorizationMode"
  | "enableDebuggingHandlers"
  | "readOnlyPort"
>;

/** What the server stands on. */
export interface ServerPorts {
  readonly log: Log;
  readonly clock: Clock;
  readonly view: AgentView;
  readonly runtime: Runtime;
  /** Who asks the API about tokens and rights; without it only client certificates of admins pass. */
  readonly client: ApiClient | undefined;
  /** Prometheus text of the agent's own metrics. */
  readonly metrics: () => Promise<string>;
  /** Told of every request; what it returns is called when the request is over. */
  readonly count?: (request: RequestLabels) => () => void;
}

/** A server that listens. */
export interface RunningServer {
  readonly port: number;
  /** 0 for none. */
  readonly readOnlyPort: number;
  /** Resolves after the signal, when every connection is closed. */
  readonly closed: Promise<void>;
}

/** Clients and proxies keep idle connections open this long. */
const idleMs = 90_000;
const hostLogsDir = "/var/log";

/** Starts the node's server (HTTPS, 10250). It stops with the signal. */
export async function startServer(
  config: ServerConfig,
  ports: ServerPorts,
  signal: AbortSignal,
): Promise<RunningServer> {
  const read = async (): Promise<Identity> => {
    const files = { cert: config.tlsCertFile, key: config.tlsPrivateKeyFile };
    const certificate = await servingCertificate(files, config.rootDir, ports.view.nodeName);
    // Without an authority of our own nobody's certificate means anything: not the machine's list of authorities.
    const ca = config.clientCaFile === "" ? [] : await readFile(config.clientCaFile, "utf8");
    return { ...certificate, ca };
  };
  const identity = await read();
  const secure = { minVersion: "TLSv1.2" } as const;
  const server = createServer({
    ...identity,
    ...secure,
    ALPNProtocols: ["http/1.1"], // upgrades exist in HTTP/1.1 only
    requestCert: config.clientCaFile !== "",
    rejectUnauthorized: false, // who has no certificate may have a token
  });
  const renew = (renewed: Identity): void => server.setSecureContext({ ...renewed, ...secure });
  void followCertificates(identity, read, renew, ports, signal);
  const gate = new Gate(config, ports);
  const limits = { ...defaultStreamLimits, idleMs: config.streamIdleMs };
  const routes: RoutePorts = {
    ...ports,
    rootDir: config.rootDir,
    hostLogsDir,
    startedMs: ports.clock.now(),
    usage: new UsageReader(ports.clock),
  };
  server.keepAliveTimeout = idleMs;
  server.requestTimeout = 0; // logs are followed for hours
  server.on("request", (request, response) => {
    counted(ports, request, "readwrite", response);
    const ended = AbortSignal.any([signal, closing(response)]);
    void answer(request, response, ports.log, async (url) => {
      await gate.check(request, url, ended);
      await serveRequest(routes, url, request, response, ended);
    });
  });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => {});
    counted(ports, request, "readwrite", socket);
    const ended = AbortSignal.any([signal, closing(socket)]);
    ended.addEventListener("abort", () => socket.destroy(), { once: true });
    void answerUpgrade(request, socket, ports.log, async (url) => {
      await gate.check(request, url, ended);
      await serveUpgrade({ ...ports, limits }, url, request, socket, head, ended);
    });
  });
  await listen(server, config.port, config.address);
  ports.log.info("serves the node's API", { address: config.address, port: portOf(server) });
  const ended = [closed(server, signal)];
  let readOnlyPort = 0;
  if (config.readOnlyPort !== 0) {
    const plain = readOnlyServer(routes, ports, signal);
    await listen(plain, config.readOnlyPort, config.address);
    readOnlyPort = portOf(plain);
    ended.push(closed(plain, signal));
  }
  return { port: portOf(server), readOnlyPort, closed: Promise.all(ended).then(() => {}) };
}

/** kubelet's 10255: what there is to see of the node, to everybody, over plain HTTP. Nothing of it changes anything. */
function readOnlyServer(routes: RoutePorts, ports: ServerPorts, signal: AbortSignal): HttpServer {
  const server = createHttpServer((request, response) => {
    counted(ports, request, "readonly", response);
    const ended = AbortSignal.any([signal, closing(response)]);
    void answer(request, response, ports.log, async (url) => {
      const [, first = ""] = url.pathname.split("/");
      if (!["healthz", "pods", "stats", "metrics"].includes(first))
        throw new HttpError(404, "404 page not found");
      if (request.method !== "GET" && request.method !== "HEAD")
        throw new HttpError(405, "405: Method Not Allowed");
      await serveRequest(routes, url, request, response, ended);
    });
  });
  server.keepAliveTimeout = idleMs;
  return server;
}

/** Who may pass. */
class Gate {
  readonly #authenticator: Authenticator;
  readonly #authorizer: Authorizer;

  readonly #allowsAll: boolean;
  readonly #debugs: boolean;

  constructor(config: ServerConfig, ports: ServerPorts) {
    this.#authenticator = new Authenticator(ports.client, config.anonymousAuth);
    this.#authorizer = new Authorizer(ports.client, ports.view.nodeName);
    this.#allowsAll = config.authorizationMode === "AlwaysAllow";
    this.#debugs = config.enableDebuggingHandlers;
  }

  /** @throws {HttpError} 401, 403, or 405 for what is switched off. Health is open to everyone who can connect. */
  async check(request: IncomingMessage, url: URL, signal: AbortSignal): Promise<void> {
    if (url.pathname === "/healthz") return;
    const user = await this.#authenticator.authenticate(request, signal);
    if (user === undefined) throw new HttpError(401, "Unauthorized");
    const access = accessFor(request.method ?? "", url.pathname);
    const may = this.#allowsAll || (await this.#authorizer.mayAccess(user, access, signal));
    if (may && !this.#debugs && isDebugging(url.pathname))
      throw new HttpError(405, "Debug endpoints are disabled.");
    if (may) return;
    const { verbs, subresources } = access;
    throw new HttpError(
      403,
      `Forbidden (user=${user.name}, verb=${verbs.join(",")}, resource=nodes, subresource(s)=[${subresources.join(" ")}])`,
    );
  }
}

/** What kubelet serves with enableDebuggingHandlers alone. */
function isDebugging(path: string): boolean {
  const [, first = ""] = path.split("/");
  return ["run", "exec", "attach", "portForward", "containerLogs", "runningpods", "debug", "logs"].includes(
    first,
  );
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  log: Log,
  serve: (url: URL) => Promise<void>,
): Promise<void> {
  try {
    await serve(urlOf(request));
  } catch (cause) {
    if (response.destroyed) return;
    const status = cause instanceof HttpError ? cause.status : 500;
    if (status === 500) log.warn("request failed", { path: request.url, cause });
    if (response.headersSent) response.destroy();
    else {
      response.removeHeader("transfer-encoding");
      send(response, status, "text/plain; charset=utf-8", `${errorText(cause)}\n`);
    }
  }
}

async function answerUpgrade(
  request: IncomingMessage,
  socket: Duplex & { bytesWritten?: number },
  log: Log,
  serve: (url: URL) => Promise<void>,
): Promise<void> {
  const before = socket.bytesWritten ?? 0;
  try {
    await serve(urlOf(request));
  } catch (cause) {
    const status = cause instanceof HttpError ? cause.status : 500;
    log.info("stream failed", { path: request.url?.split("?")[0], status, cause });
    // Once upgraded, the connection speaks another protocol and can only be cut.
    if (!socket.writable || (socket.bytesWritten ?? 0) > before) return;
    const body = `${errorText(cause)}\n`;
    const head = `HTTP/1.1 ${status} ${reasonOf(status)}\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    socket.write(head + body);
  } finally {
    if (!socket.destroyed) socket.end();
  }
}

function urlOf(request: IncomingMessage): URL {
  try {
    return new URL(request.url ?? "/", "https://node");
  } catch (cause) {
    throw new HttpError(400, `cannot read the path "${request.url}"`, { cause });
  }
}

function reasonOf(status: number): string {
  const reasons: Readonly<Record<number, string>> = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    429: "Too Many Requests",
    502: "Bad Gateway",
  };
  return reasons[status] ?? "Internal Server Error";
}

/** @param stream closes when the request is over, however it ends. */
function counted(
  { count }: ServerPorts,
  request: IncomingMessage,
  server: RequestLabels["server_type"],
  stream: { once(event: "close", listener: () => void): unknown },
): void {
  const [pathname = ""] = (request.url ?? "").split("?");
  const done = count?.(requestLabels(request.method ?? "", pathname, server));
  if (done !== undefined) stream.once("close", done);
}

/** Aborted when the other side is gone. */
function closing(stream: { once(event: "close", listener: () => void): unknown }): AbortSignal {
  const controller = new AbortController();
  stream.once("close", () => controller.abort(new Error("the client has left")));
  return controller.signal;
}

async function listen(server: Server, port: number, address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", (cause) =>
    reject(new Error(`cannot listen on ${address}:${port}: ${cause.message}`, { cause })),
  );
  server.listen(port, address, resolve);
  await promise;
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  return typeof address === "object" && address !== null ? address.port : -1;
}

async function closed(server: Server & { closeAllConnections(): void }, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = (): void => {
    server.close(() => resolve());
    server.closeAllConnections();
  };
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  await promise;
}
