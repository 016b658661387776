import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import type { User } from "../model.ts";
import type { ApiServer } from "./api-server.ts";

/** One reason for all: making an error with its stack for every request costs more than the request. */
const complete = "the answer is complete";

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
    // Aborted when the answer is complete, so that nothing of this request hangs on the caller's signal.
    const done = new AbortController();
    const broken = AbortSignal.any([signal, this.#stop.signal]);
    const either = AbortSignal.any([broken, done.signal]);
    const { method, path, headers } = request;
    const bytes =
      typeof request.body === "string" ? Buffer.from(request.body) : (request.body ?? new Uint8Array());
    const asked = { method, path, headers, body: async () => bytes, user: this.#user };
    const { status, headers: answered, body } = await this.#server.handle(asked, either);
    if (!(body instanceof Uint8Array))
      return { status, headers: answered, body: untilAborted(body, broken, done) };
    done.abort(complete);
    return { status, headers: answered, body: once(body) };
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
  broken: AbortSignal,
  done: AbortController,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
    broken.throwIfAborted();
  } finally {
    done.abort(complete);
  }
}
