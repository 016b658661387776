import type { EtcdChannel, EtcdStream, Method } from "./channel.ts";
import { EtcdError } from "./etcd-error.ts";
import type { WireMessage } from "./messages.ts";
import type { WatchEvent, WatchMessage, WatchRequest } from "./model.ts";
import { long, parseEvents, parseRevision, string, watchMessage } from "./wire.ts";

const watchMethod: Method = {
  path: "/etcdserverpb.Watch/Watch",
  request: "WatchRequest",
  response: "WatchResponse",
  repeatable: true,
};

/**
 * One watch on one stream; iterate it once. Ends quietly when the signal is aborted, else only by an error:
 * who watches decides from which revision to begin again.
 */
export class EtcdWatch implements AsyncIterable<WatchMessage> {
  readonly #channel: EtcdChannel;
  readonly #request: WatchRequest;
  readonly #signal: AbortSignal;
  #stream: EtcdStream | undefined;

  constructor(channel: EtcdChannel, request: WatchRequest, signal: AbortSignal) {
    this.#channel = channel;
    this.#request = request;
    this.#signal = signal;
  }

  /** Asks etcd to say its revision now; it comes as a `progress` message when everything before it was told. */
  requestProgress(): void {
    this.#stream?.write({ progress_request: {} });
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchMessage, void, undefined> {
    if (this.#signal.aborted) return;
    const requireLeader = this.#request.requireLeader !== false;
    const { stream, endpoint } = await this.#channel.stream(watchMethod, requireLeader, this.#signal);
    this.#stream = stream;
    const stop = (): void => stream.cancel();
    this.#signal.addEventListener("abort", stop, { once: true });
    try {
      stream.write(watchMessage(this.#request));
      yield* this.#messages(stream);
      throw new EtcdError(
        "unavailable",
        `cannot go on watching "${keyText(this.#request)}": etcd closed the stream; watch again`,
      );
    } catch (cause) {
      if (this.#signal.aborted) return;
      const error = this.#channel.error(watchMethod, cause);
      if (error.code === "unavailable") this.#channel.failed(endpoint);
      throw error;
    } finally {
      this.#stream = undefined;
      this.#signal.removeEventListener("abort", stop);
      stream.on("error", () => {}); // cancelling reports itself as an error
      stream.cancel();
    }
  }

  async *#messages(stream: EtcdStream): AsyncGenerator<WatchMessage, void, undefined> {
    let fragments: WatchEvent[] = [];
    for await (const message of stream as AsyncIterable<WireMessage>) {
      const revision = parseRevision(message);
      // A refusal comes as created and canceled at once.
      if (message["canceled"] === true) throw canceled(message, this.#request);
      if (message["created"] === true) {
        yield { type: "created", revision };
        continue;
      }
      const events = fragments.concat(parseEvents(message));
      if (message["fragment"] === true) {
        fragments = events; // one revision is told whole or not at all
        continue;
      }
      fragments = [];
      yield events.length === 0 ? { type: "progress", revision } : { type: "events", revision, events };
    }
  }
}

function canceled(message: WireMessage, request: WatchRequest): EtcdError {
  const compactRevision = long(message["compact_revision"]);
  const reason = string(message["cancel_reason"]);
  if (compactRevision > 0n || reason.includes("compacted")) {
    return new EtcdError(
      "compacted",
      `cannot watch "${keyText(request)}" from revision ${request.startRevision}: etcd forgot what was before ${compactRevision}; list again`,
      { compactRevision },
    );
  }
  return new EtcdError(
    reason.includes("permission denied") || reason.includes("auth") ? "denied" : "canceled",
    `cannot watch "${keyText(request)}": etcd ended the watch: ${reason === "" ? "no reason given" : reason}`,
  );
}

function keyText(request: WatchRequest): string {
  return typeof request.key === "string" ? request.key : Buffer.from(request.key).toString("utf8");
}
