import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { EtcdError, etcdErrorCode } from "./etcd-error.ts";
import { decodeMessage, encodeMessage, type WireMessage } from "./messages.ts";

/** Where etcd is, and who we are to it. */
export interface EtcdOptions {
  /** `http://127.0.0.1:2379`, `https://etcd-1:2379` or `unix:///path`; tried in this order, the one that works is kept. */
  readonly endpoints: readonly string[];
  /** PEM texts, for `https` endpoints. Without `ca` the system's roots are trusted. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  readonly auth?: { readonly username: string; readonly password: string };
  /** The longest wait for one answer, in milliseconds; 10 s unless given. */
  readonly requestTimeoutMs?: number;
  /** The largest answer that is accepted, in bytes; 512 MiB unless given (gRPC's own limit is 4 MiB). */
  readonly maxMessageBytes?: number;
}

/** One request message and the answer to it. */
export interface Method {
  readonly path: string;
  readonly request: string;
  readonly response: string;
  /** True when asking twice does no harm: it may then be repeated on another endpoint. */
  readonly repeatable: boolean;
}

/** A stream in both directions. */
export type EtcdStream = ClientDuplexStream<WireMessage, WireMessage>;

const authenticate: Method = {
  path: "/etcdserverpb.Auth/Authenticate",
  request: "AuthenticateRequest",
  response: "AuthenticateResponse",
  repeatable: true,
};

/** The connections to etcd's endpoints: one is used until it fails, then the next. */
export class EtcdChannel {
  readonly #options: EtcdOptions;
  readonly #clients = new Map<string, Client>();
  #current = 0;
  #token: Promise<string> | undefined;

  /** @throws {EtcdError} `invalid` for an endpoint that is not a URL. Does not connect yet. */
  constructor(options: EtcdOptions) {
    if (options.endpoints.length === 0) {
      throw new EtcdError(
        "invalid",
        `cannot reach etcd: no endpoint is given; want for instance "http://127.0.0.1:2379"`,
      );
    }
    for (const endpoint of options.endpoints) parseEndpoint(endpoint);
    this.#options = options;
  }

  /** Asks the current endpoint, and the others when it is away and asking again is safe. */
  async unary(method: Method, message: WireMessage, signal: AbortSignal): Promise<WireMessage> {
    let renewedToken = false;
    for (let tried = 1; ; tried += 1) {
      signal.throwIfAborted();
      const endpoint = this.#current;
      try {
        return await this.#ask(method, message, await this.#metadata(signal), signal);
      } catch (cause) {
        if (signal.aborted) throw signal.reason;
        if (isStaleToken(cause) && this.#options.auth !== undefined && !renewedToken) {
          this.#token = undefined;
          renewedToken = true;
          continue;
        }
        if (!(cause instanceof EtcdError) || cause.code !== "unavailable") throw cause;
        this.failed(endpoint);
        if (tried >= this.#options.endpoints.length || !(method.repeatable || neverLeft(cause))) throw cause;
      }
    }
  }

  /**
   * Opens a stream. Errors come out of its iteration, as gRPC's own: see {@link EtcdChannel.error}.
   * @param requireLeader the member ends the stream when it loses its leader.
   */
  async stream(
    method: Method,
    requireLeader: boolean,
    signal: AbortSignal,
  ): Promise<{ readonly stream: EtcdStream; readonly endpoint: number }> {
    const metadata = await this.#metadata(signal);
    if (requireLeader) metadata.set("hasleader", "true");
    const endpoint = this.#current;
    const stream = this.#client().makeBidiStreamRequest(
      method.path,
      (value: WireMessage) => encodeMessage(method.request, value),
      (bytes: Buffer) => decodeMessage(method.response, bytes),
      metadata,
    );
    return { stream, endpoint };
  }

  /** Told that the n-th endpoint did not answer: the next one is used from now on. */
  failed(endpoint: number): void {
    if (endpoint === this.#current) this.#current = (this.#current + 1) % this.#options.endpoints.length;
  }

  /** What gRPC threw, as an {@link EtcdError}. */
  error(method: Method, cause: unknown): EtcdError {
    if (cause instanceof EtcdError) return cause;
    const known = isServiceError(cause) ? cause : undefined;
    const details = known?.details ?? String(cause);
    const code = etcdErrorCode(known?.code, details);
    if (code === "denied" && details.includes("auth token")) this.#token = undefined;
    const doing = method.path.slice(method.path.lastIndexOf("/") + 1);
    return new EtcdError(code, `cannot ask etcd for "${doing}": ${details}${advice(code, this.#options)}`, {
      cause,
    });
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
    this.#clients.clear();
  }

  #ask(method: Method, message: WireMessage, metadata: Metadata, signal: AbortSignal): Promise<WireMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<WireMessage>();
    const call = this.#client().makeUnaryRequest(
      method.path,
      (value: WireMessage) => encodeMessage(method.request, value),
      (bytes: Buffer) => decodeMessage(method.response, bytes),
      message,
      metadata,
      { deadline: Date.now() + (this.#options.requestTimeoutMs ?? 10_000) },
      (cause, answer) => {
        signal.removeEventListener("abort", stop);
        if (answer === undefined || cause !== null) reject(this.error(method, cause));
        else resolve(answer);
      },
    );
    const stop = (): void => call.cancel();
    signal.addEventListener("abort", stop, { once: true });
    return promise;
  }

  async #metadata(signal: AbortSignal): Promise<Metadata> {
    const metadata = new Metadata();
    const auth = this.#options.auth;
    if (auth === undefined) return metadata;
    this.#token ??= this.#ask(
      authenticate,
      { name: auth.username, password: auth.password },
      new Metadata(),
      signal,
    ).then((answer) => String(answer["token"]));
    try {
      metadata.set("token", await this.#token);
    } catch (cause) {
      this.#token = undefined; // the next caller tries again
      throw cause;
    }
    return metadata;
  }

  #client(): Client {
    const endpoint = this.#options.endpoints[this.#current] ?? "";
    const known = this.#clients.get(endpoint);
    if (known !== undefined) return known;
    const { address, secure } = parseEndpoint(endpoint);
    const { ca, cert, key } = this.#options.tls ?? {};
    const pem = (text: string | undefined): Buffer | null => (text === undefined ? null : Buffer.from(text));
    const client = new Client(
      address,
      secure ? credentials.createSsl(pem(ca), pem(key), pem(cert)) : credentials.createInsecure(),
      {
        "grpc.max_receive_message_length": this.#options.maxMessageBytes ?? 512 * 1024 * 1024,
        "grpc.max_send_message_length": -1,
        "grpc.initial_reconnect_backoff_ms": 100,
        "grpc.max_reconnect_backoff_ms": 5_000,
        // A peer that vanished without a word is noticed by its silence. etcd refuses pings more often than every 5 s.
        "grpc.keepalive_time_ms": 30_000,
        "grpc.keepalive_timeout_ms": 10_000,
        // One connection a client: two clients in one process must not share a broken one.
        "grpc.use_local_subchannel_pool": 1,
      },
    );
    this.#clients.set(endpoint, client);
    return client;
  }
}

function parseEndpoint(endpoint: string): { readonly address: string; readonly secure: boolean } {
  const match = /^(?:(https?):\/\/)?([^/]+)\/?$/.exec(endpoint);
  if (endpoint.startsWith("unix:")) return { address: endpoint, secure: false };
  if (match === null) {
    throw new EtcdError(
      "invalid",
      `cannot reach etcd at "${endpoint}": want for instance "http://127.0.0.1:2379"`,
    );
  }
  const [, scheme = "http", host = ""] = match;
  return { address: /:\d+$/.test(host) ? host : `${host}:2379`, secure: scheme === "https" };
}

/** gRPC never got a connection, so nothing can have been done. */
function neverLeft(cause: EtcdError): boolean {
  return (
    cause.message.includes("No connection established") || cause.message.includes("Name resolution failed")
  );
}

function isStaleToken(cause: unknown): boolean {
  return (
    cause instanceof EtcdError && cause.code === "denied" && cause.message.includes("invalid auth token")
  );
}

function isServiceError(cause: unknown): cause is ServiceError {
  return (
    cause instanceof Error &&
    "details" in cause &&
    "code" in cause &&
    Object.values(status).includes(Number(cause.code))
  );
}

function advice(code: EtcdError["code"], options: EtcdOptions): string {
  switch (code) {
    case "unavailable":
      return `; is etcd running at ${options.endpoints.map((endpoint) => `"${endpoint}"`).join(", ")}?`;
    case "no-space":
      return `; compact and defragment etcd, then run "etcdctl alarm disarm"`;
    case "denied":
      return "; check the user name, the password and the client certificate";
    default:
      return "";
  }
}
