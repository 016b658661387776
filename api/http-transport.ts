import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { PassThrough, type Readable } from "node:stream";
import tls from "node:tls";
import type { ApiRequest, ApiResponse, Transport } from "./transport.ts";

/** Where an API server is and how we prove who we are. PEM texts, never paths. */
export interface Endpoint {
  /** `https://10.0.0.1:6443`, or `http://127.0.0.1:8080` for the insecure port. */
  readonly server: string;
  readonly ca?: string;
  readonly insecureSkipTlsVerify?: boolean;
  readonly serverName?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
  /** Asked for before each request, so that a rotated token file is picked up. */
  readonly token?: () => string;
  readonly basic?: { readonly username: string; readonly password: string };
}

/** Times after which a silent server counts as gone, in milliseconds. */
export interface TransportTimes {
  /** TCP and TLS set-up. */
  readonly connectMs: number;
  /** Until the answer's headers. */
  readonly responseMs: number;
  /** An HTTP/2 ping goes out this often; the session dies when one is not answered within the same time. */
  readonly pingMs: number;
}

const defaults: TransportTimes = { connectMs: 10_000, responseMs: 65_000, pingMs: 15_000 };

/**
 * Requests over HTTP/2 where the server speaks it, else over HTTP/1.1 with keep-alive.
 * A connection that died without a word is found by HTTP/2 pings, so no watch waits on it for ever.
 */
export class HttpTransport implements Transport {
  readonly #endpoint: Endpoint;
  readonly #times: TransportTimes;
  readonly #url: URL;
  readonly #agent: http.Agent;
  #session: Promise<http2.ClientHttp2Session | undefined> | undefined;
  #closed = false;

  constructor(endpoint: Endpoint, times: Partial<TransportTimes> = {}) {
    this.#endpoint = endpoint;
    this.#times = { ...defaults, ...times };
    this.#url = new URL(endpoint.server);
    this.#agent =
      this.#url.protocol === "https:"
        ? new https.Agent({ keepAlive: true, maxSockets: 64, ...this.#tlsOptions() })
        : new http.Agent({ keepAlive: true, maxSockets: 64 });
  }

  async send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    if (this.#closed) throw new Error(`cannot reach "${this.#endpoint.server}": the client is closed`);
    const headers = { ...request.headers, ...this.#authorization() };
    const session = this.#url.protocol === "https:" ? await this.#connected() : undefined;
    return session === undefined
      ? await this.#sendHttp1({ ...request, headers }, signal)
      : await this.#sendHttp2(session, { ...request, headers }, signal);
  }

  reset(): void {
    const session = this.#session;
    this.#session = undefined;
    session?.then(
      (open) => open?.destroy(),
      () => undefined,
    );
    this.#agent.destroy();
  }

  async close(): Promise<void> {
    this.#closed = true;
    const session = await this.#session?.catch(() => undefined);
    this.#session = undefined;
    session?.destroy();
    this.#agent.destroy();
  }

  #authorization(): Record<string, string> {
    const { token, basic } = this.#endpoint;
    if (token !== undefined) return { authorization: `Bearer ${token()}` };
    if (basic === undefined) return {};
    return {
      authorization: `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString("base64")}`,
    };
  }

  #tlsOptions(): tls.ConnectionOptions {
    const { ca, clientCertificate, clientKey, insecureSkipTlsVerify, serverName } = this.#endpoint;
    return {
      ...(ca === undefined ? {} : { ca }),
      ...(clientCertificate === undefined ? {} : { cert: clientCertificate }),
      ...(clientKey === undefined ? {} : { key: clientKey }),
      ...(serverName === undefined ? {} : { servername: serverName }),
      rejectUnauthorized: insecureSkipTlsVerify !== true,
      minVersion: "TLSv1.2",
    };
  }

  /** The HTTP/2 session, opened when there is none; undefined when the server only speaks HTTP/1.1. */
  async #connected(): Promise<http2.ClientHttp2Session | undefined> {
    const opening = (this.#session ??= this.#open());
    try {
      const session = await opening;
      if (session === undefined || !(session.destroyed || session.closed)) return session;
    } catch (cause) {
      if (this.#session === opening) this.#session = undefined;
      throw cause;
    }
    if (this.#session === opening) this.#session = undefined;
    return await this.#connected();
  }

  async #open(): Promise<http2.ClientHttp2Session | undefined> {
    const socket = await this.#dial();
    if (socket.alpnProtocol !== "h2") {
      socket.destroy();
      return undefined;
    }
    const session = http2.connect(this.#url, {
      createConnection: () => socket,
      settings: { initialWindowSize: 1024 * 1024, enablePush: false },
      maxSessionMemory: 64,
    });
    session.setLocalWindowSize(8 * 1024 * 1024);
    session.on("error", () => session.destroy()); // each stream gets the error too, and reports it
    this.#keepAlive(session);
    return session;
  }

  async #dial(): Promise<tls.TLSSocket> {
    const { promise, resolve, reject } = Promise.withResolvers<tls.TLSSocket>();
    const host = this.#url.hostname.replace(/^\[|\]$/g, "");
    const socket = tls.connect({
      host,
      port: Number(this.#url.port === "" ? 443 : this.#url.port),
      ALPNProtocols: ["h2", "http/1.1"],
      ...this.#tlsOptions(),
    });
    socket.setTimeout(this.#times.connectMs, () =>
      socket.destroy(new Error(`no connection in ${this.#times.connectMs} ms`)),
    );
    socket.once("secureConnect", () => {
      socket.setTimeout(0);
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("error", reject);
    try {
      return await promise;
    } catch (cause) {
      throw new Error(`cannot reach the API server at "${this.#endpoint.server}"`, { cause });
    }
  }

  #keepAlive(session: http2.ClientHttp2Session): void {
    const timer = setInterval(() => {
      const overdue = setTimeout(
        () => session.destroy(new Error("the API server did not answer a ping")),
        this.#times.pingMs,
      );
      overdue.unref();
      if (session.destroyed || !session.ping(() => clearTimeout(overdue))) clearTimeout(overdue);
    }, this.#times.pingMs);
    timer.unref();
    session.once("close", () => clearInterval(timer));
  }

  async #sendHttp2(
    session: http2.ClientHttp2Session,
    request: ApiRequest,
    signal: AbortSignal,
  ): Promise<ApiResponse> {
    const stream = session.request(
      {
        ...request.headers,
        ":method": request.method,
        ":path": request.path,
        ...(request.body === undefined ? {} : { "content-length": Buffer.byteLength(request.body) }),
      },
      // Node ends a DELETE by itself unless told: ours has a body with its options.
      { signal, endStream: request.body === undefined },
    );
    if (request.body !== undefined) stream.end(request.body);
    const { promise, resolve, reject } = Promise.withResolvers<ApiResponse>();
    stream.once("response", (headers) =>
      resolve({ status: headers[":status"] ?? 0, headers: flatten(headers), body: bodyOf(stream) }),
    );
    stream.on("error", reject);
    stream.once("close", () => reject(new Error("the connection was closed before an answer came")));
    const overdue = setTimeout(() => stream.destroy(new Error("no answer in time")), this.#times.responseMs);
    try {
      return await promise;
    } catch (cause) {
      signal.throwIfAborted();
      throw new Error(`cannot ${request.method} "${request.path}" at "${this.#endpoint.server}"`, { cause });
    } finally {
      clearTimeout(overdue);
    }
  }

  async #sendHttp1(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
    const send = this.#url.protocol === "https:" ? https.request : http.request;
    const outgoing = send(
      new URL(request.path, this.#url),
      {
        method: request.method,
        agent: this.#agent,
        signal,
        headers: {
          ...request.headers,
          ...(request.body === undefined ? {} : { "content-length": Buffer.byteLength(request.body) }),
        },
      },
      resolve,
    );
    outgoing.once("error", reject);
    outgoing.once("socket", (socket) => socket.setKeepAlive(true, this.#times.pingMs));
    const overdue = setTimeout(
      () => outgoing.destroy(new Error("no answer in time")),
      this.#times.responseMs,
    );
    outgoing.end(request.body);
    try {
      const response = await promise;
      return { status: response.statusCode ?? 0, headers: flatten(response.headers), body: response };
    } catch (cause) {
      signal.throwIfAborted();
      throw new Error(`cannot ${request.method} "${request.path}" at "${this.#endpoint.server}"`, { cause });
    } finally {
      clearTimeout(overdue);
    }
  }
}

/**
 * The answer's bytes. They are taken from the moment the headers are there: Node gives up the data of a stream
 * that the server closed before anybody began to read. An answer that breaks off ends with an error.
 */
function bodyOf(stream: http2.ClientHttp2Stream): Readable {
  const body = new PassThrough();
  body.on("error", () => undefined); // who reads it is told; nobody may be reading yet
  stream.pipe(body);
  stream.once("error", (cause) => body.destroy(cause));
  stream.once("close", () => {
    if (stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR || !stream.readableEnded) {
      body.destroy(
        new Error(`the connection broke in the middle of the answer (HTTP/2 code ${stream.rstCode})`),
      );
    }
  });
  body.once("close", () => stream.destroy()); // who stops reading wants no more
  return body;
}

function flatten(
  headers: http.IncomingHttpHeaders | http2.IncomingHttpHeaders,
): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers)
      .filter(([name]) => !name.startsWith(":"))
      .map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value?.toString()]),
  );
}
