import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import type { User } from "../model.ts";
import type { ApiServer } from "./api-server.ts";

/** Requests of controllers in this process: no TLS, no socket, the same rules. */
export class LocalTransport implements Transport {
  readonly #server: ApiServer;
  readonly #user: User;
  #stop = new AbortController();

  /** @param user on whose behalf everything is asked. */
  constructor(server: ApiServer, user: User) {
    this.#server = server;
    this.#user = user;
  }

  async send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    const stop = this.#stop.signal;
    const either = AbortSignal.any([signal, stop]);
    const body =
      typeof request.body === "string" ? Buffer.from(request.body) : (request.body ?? new Uint8Array());
    const response = await this.#server.handle(
      {
        method: request.method,
        path: request.path,
        headers: request.headers,
        body: async () => body,
        user: this.#user,
      },
      either,
    );
    return {
      status: response.status,
      headers: response.headers,
      body: response.body instanceof Uint8Array ? once(response.body) : untilAborted(response.body, either),
    };
  }

  /** Ends every stream. */
  reset(): void {
    this.#stop.abort(new Error("the connection to the API server was reset"));
    this.#stop = new AbortController();
  }

  async close(): Promise<void> {
    this.reset();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}

/** A stream that is cut throws, as a broken connection does; one that ends by itself just ends. */
async function* untilAborted(
  body: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* body;
  signal.throwIfAborted();
}
