import http, { type IncomingMessage, type ServerResponse as HttpResponse } from "node:http";
import http2, { type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { Server } from "node:net";
import type { Duplex, Writable } from "node:stream";
import { TLSSocket } from "node:tls";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { errorText } from "#lib/log.ts";
import { ApiError } from "../api-error.ts";
import type { CertificateSubject } from "../auth/authenticator.ts";
import type { User } from "../model.ts";
import type { ApiServer } from "./api-server.ts";
import { nodeUpgrades } from "./node-proxy/upgrade.ts";
import { maxRequestBytes, type ServerRequest, type ServerResponse } from "./request.ts";

/** Where the API is served. */
export interface HttpServerOptions {
  readonly host: string;
  /** 0 lets the kernel choose. */
  readonly port: number;
  /** PEM. Undefined serves plain HTTP: for loopback only. */
  readonly tls: ServingTls | undefined;
  /** Everyone who reaches a plain port is this user. */
  readonly plainUser?: User;
}

/** What TLS serves with; read again for every `reload`. */
export interface ServingTls {
  readonly certificate: string;
  readonly key: string;
  /** Client certificates of this authority are believed. */
  readonly clientCa: string;
}

/** Takes over a connection that a client wants to upgrade; answers it, errors included. */
export type UpgradeHandler = (
  request: ServerRequest,
  socket: Duplex,
  head: Uint8Array,
  signal: AbortSignal,
) => Promise<void>;

/** A server that listens. */
export interface HttpServer {
  readonly port: number;
  /** New connections get this certificate. */
  reload(tls: ServingTls): void;
  /** Takes no new connections; streams end, requests get `graceMs` to finish. */
  close(graceMs: number): Promise<void>;
}

type Incoming = IncomingMessage | Http2ServerRequest;
/** What both kinds of response have. */
interface Outgoing extends Writable {
  writeHead(status: number, headers: Record<string, string>): unknown;
  flushHeaders?(): void;
}

/** Answers at least this long are compressed for clients that ask, as Kubernetes does. */
const gzipFromBytes = 128 * 1024;
/** A request's headers must come within this time. */
const headersTimeoutMs = 10_000;

/**
 * Puts the API server on a port: HTTP/2 and HTTP/1.1 over TLS, or HTTP/1.1 in plain.
 * @param upgrade takes upgraded connections; exec, attach and portforward unless given.
 */
export async function serveHttp(
  api: ApiServer,
  upgrade: UpgradeHandler | undefined,
  options: HttpServerOptions,
): Promise<HttpServer> {
  const stop = new AbortController();
  const takeOver = upgrade ?? nodeUpgrades(api);
  const handle = (request: Incoming, response: Outgoing): void =>
    void answer(api, options, request, response, stop.signal);
  const server = options.tls === undefined ? plainServer(handle) : secureServer(options.tls, handle);
  const sockets = new Set<Duplex>();
  const track = (socket: Duplex): void => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // Connections to clients that vanished without a word are found and closed by the kernel.
    if ("setKeepAlive" in socket && typeof socket.setKeepAlive === "function")
      socket.setKeepAlive(true, 30_000);
    // A peer that vanishes is no reason to fall over.
    socket.on("error", () => socket.destroy());
  };
  const sessions = new Set<http2.Http2Session>();
  server.on("connection", track);
  server.on("session", (session: http2.Http2Session) => {
    sessions.add(session);
    session.once("close", () => sessions.delete(session));
    session.on("error", () => session.destroy());
  });
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    const asked = requestOf(request, options, async () => new Uint8Array());
    const gone = new AbortController();
    socket.once("close", () => gone.abort("the client is gone"));
    const signal = AbortSignal.any([stop.signal, gone.signal]);
    takeOver(asked, socket, head, signal).catch((cause: unknown) => {
      api.engine.ports.log.warn("an upgraded connection broke", { path: asked.path, why: errorText(cause) });
      socket.destroy();
    });
  });
  await listen(server, options);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    reload: (tls) => {
      if ("setSecureContext" in server) server.setSecureContext(contextOf(tls));
    },
    close: async (graceMs) => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      stop.abort(new Error("the server is shutting down"));
      const cancel = api.engine.ports.clock.after(graceMs, () => {
        for (const socket of sockets) socket.destroy();
      });
      if ("closeIdleConnections" in server) server.closeIdleConnections();
      // GOAWAY: what runs may end, nothing new begins.
      for (const session of sessions) session.close();
      await closed;
      cancel();
    },
  };
}

function plainServer(handle: (request: IncomingMessage, response: HttpResponse) => void): http.Server {
  return http.createServer({ headersTimeout: headersTimeoutMs, requestTimeout: 0 }, handle);
}

function secureServer(
  tls: ServingTls,
  handle: (request: Http2ServerRequest, response: Http2ServerResponse) => void,
): http2.Http2SecureServer {
  return http2.createSecureServer(
    {
      ...contextOf(tls),
      allowHTTP1: true,
      requestCert: true,
      // A client without a certificate of ours may have a token.
      rejectUnauthorized: false,
      minVersion: "TLSv1.2",
      // Informers of one client share a connection: each watch is a stream.
      settings: { maxConcurrentStreams: 1_000 },
    },
    handle,
  );
}

function contextOf(tls: ServingTls): { readonly cert: string; readonly key: string; readonly ca: string } {
  return { cert: tls.certificate, key: tls.key, ca: tls.clientCa };
}

async function listen(server: Server, options: HttpServerOptions): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen({ host: options.host, port: options.port }, resolve);
  try {
    await promise;
  } catch (cause) {
    throw new Error(`cannot listen on "${options.host}:${options.port}"; choose another port`, { cause });
  }
  server.off("error", reject);
}

async function answer(
  api: ApiServer,
  options: HttpServerOptions,
  request: Incoming,
  response: Outgoing,
  stop: AbortSignal,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort("the client is gone"));
  const signal = AbortSignal.any([stop, gone.signal]);
  try {
    const asked = requestOf(request, options, () => readBody(request));
    const answered = await api.handle(asked, signal);
    await send(asked, answered, response);
  } catch (cause) {
    if (!gone.signal.aborted)
      api.engine.ports.log.warn("cannot send an answer", { path: request.url, why: errorText(cause) });
    response.destroy();
  }
}

async function send(request: ServerRequest, answered: ServerResponse, response: Outgoing): Promise<void> {
  const { status, headers, body } = answered;
  if (!(body instanceof Uint8Array)) {
    response.writeHead(status, { ...headers });
    if (request.method === "HEAD") return void response.end();
    // What the first chunk does for most clients, headers alone do for a watch of nothing.
    response.flushHeaders?.();
    for await (const chunk of body) {
      if (response.destroyed || response.writableEnded) break;
      if (chunk.length > 0 && !response.write(chunk)) await drained(response);
    }
    response.end();
    return;
  }
  const zips = body.length >= gzipFromBytes && /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
  const sent = zips ? await promisify(gzip)(body, { level: 1 }) : body;
  response.writeHead(status, {
    ...headers,
    ...(zips ? { "content-encoding": "gzip", vary: "Accept-Encoding" } : {}),
    ...(status === 304 ? {} : { "content-length": String(sent.length) }),
  });
  response.end(request.method === "HEAD" || status === 304 ? undefined : sent);
}

/** Waits until the client has read, or is gone. */
async function drained(response: Outgoing): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const done = (): void => resolve();
  response.once("drain", done);
  response.once("close", done);
  await promise;
  response.off("drain", done);
  response.off("close", done);
}

function requestOf(
  request: Incoming,
  options: HttpServerOptions,
  body: () => Promise<Uint8Array>,
): ServerRequest {
  const headers: Record<string, string | undefined> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (!name.startsWith(":")) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  const certificate = certificateOf(request);
  return {
    method: request.method ?? "GET",
    path: request.url ?? "/",
    headers,
    body,
    ...(options.tls === undefined && options.plainUser !== undefined ? { user: options.plainUser } : {}),
    ...(certificate === undefined ? {} : { certificate }),
  };
}

/** The subject of a client certificate that our authority signed and that is valid now. */
function certificateOf(request: Incoming): CertificateSubject | undefined {
  const socket =
    "stream" in request && request.httpVersionMajor === 2 ? request.stream.session?.socket : request.socket;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject } = socket.getPeerCertificate();
  const organizations: unknown = subject?.O;
  return {
    commonName: textOf(subject?.CN),
    organizations: Array.isArray(organizations)
      ? organizations.map(textOf)
      : organizations === undefined
        ? []
        : [textOf(organizations)],
  };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** @throws {ApiError} 413. */
async function readBody(request: Incoming): Promise<Uint8Array> {
  const tooLong = new ApiError(
    413,
    "RequestEntityTooLarge",
    `Request entity too large: limit is ${maxRequestBytes}`,
  );
  if (Number(request.headers["content-length"] ?? 0) > maxRequestBytes) {
    request.resume();
    throw tooLong;
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  const incoming: AsyncIterable<Uint8Array> = request;
  for await (const chunk of incoming) {
    length += chunk.length;
    // What is too long is read to its end and dropped, so that the client gets to read the answer.
    if (length <= maxRequestBytes) chunks.push(chunk);
  }
  if (length > maxRequestBytes) throw tooLong;
  return Buffer.concat(chunks);
}
