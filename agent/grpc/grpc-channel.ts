import * as grpc from "@grpc/grpc-js";
import type { Codec } from "./message-codec.ts";

/** A call: the full method, and the types of its messages in the codec. */
export interface Method {
  readonly path: string;
  readonly request: string;
  readonly response: string;
}

/** Largest message either way; a node with hundreds of Pods passes gRPC's own 4 MiB. */
const maxMessageBytes = 64 * 1024 * 1024;

/** Makes of a failed call the error that callers act on; given the full method. */
export type ToError = (path: string, cause: unknown) => Error;

/** A gRPC connection to a Unix socket. */
export class GrpcChannel {
  readonly #client: grpc.Client;
  readonly #codec: Codec;
  readonly #toError: ToError;

  /** @param endpoint `unix:///run/containerd/containerd.sock`, or the path alone. */
  constructor(endpoint: string, codec: Codec, toError: ToError) {
    this.#codec = codec;
    this.#toError = toError;
    const target = endpoint.startsWith("unix:") ? endpoint : `unix://${endpoint}`;
    this.#client = new grpc.Client(target, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": maxMessageBytes,
      "grpc.max_send_message_length": maxMessageBytes,
      // The other side restarts: be back within a second of it, not after grpc's two minutes.
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 1_000,
      // A name for HTTP/2's :authority; the path of the socket would not be one.
      "grpc.default_authority": "localhost",
    });
  }

  /** @param timeoutMs 0 for no deadline besides the signal. */
  call<R>(
    method: Method,
    message: object,
    timeoutMs: number,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<R> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const call = this.#client.makeUnaryRequest(
      method.path,
      (value: object) => this.#codec.encode(method.request, value),
      (bytes: Buffer) => this.#codec.decode(method.response, bytes),
      message,
      metadataOf(headers),
      timeoutMs === 0 ? {} : { deadline: Date.now() + timeoutMs },
      (error, value) => {
        signal.removeEventListener("abort", stop);
        if (error === null) resolve(value as R);
        else reject(signal.aborted ? signal.reason : this.#toError(method.path, error));
      },
    );
    const stop = (): void => call.cancel();
    signal.addEventListener("abort", stop, { once: true });
    return promise;
  }

  /** A call answered by a stream; it ends with the signal. @throws when it breaks. */
  async *stream<R>(
    method: Method,
    message: object,
    signal: AbortSignal,
    headers: Readonly<Record<string, string>> = {},
  ): AsyncGenerator<R, void, undefined> {
    if (signal.aborted) return;
    const call = this.#client.makeServerStreamRequest(
      method.path,
      (value: object) => this.#codec.encode(method.request, value),
      (bytes: Buffer) => this.#codec.decode(method.response, bytes),
      message,
      metadataOf(headers),
      {},
    );
    const stop = (): void => call.cancel();
    signal.addEventListener("abort", stop, { once: true });
    try {
      for await (const value of call) yield value as R;
    } catch (cause) {
      if (signal.aborted) return;
      throw this.#toError(method.path, cause);
    } finally {
      signal.removeEventListener("abort", stop);
      call.cancel();
    }
  }

  /** A call that sends several messages and reads the answers to each: containerd's content store. */
  async exchange<R>(
    method: Method,
    messages: readonly object[],
    signal: AbortSignal,
    headers: Readonly<Record<string, string>>,
  ): Promise<readonly R[]> {
    signal.throwIfAborted();
    const call = this.#client.makeBidiStreamRequest(
      method.path,
      (value: object) => this.#codec.encode(method.request, value),
      (bytes: Buffer) => this.#codec.decode(method.response, bytes),
      metadataOf(headers),
      {},
    );
    const stop = (): void => call.cancel();
    signal.addEventListener("abort", stop, { once: true });
    const answers: R[] = [];
    try {
      for (const message of messages) call.write(message);
      call.end();
      for await (const value of call) answers.push(value as R);
      return answers;
    } catch (cause) {
      throw this.#toError(method.path, cause);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  close(): void {
    this.#client.close();
  }
}

function metadataOf(headers: Readonly<Record<string, string>>): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}
