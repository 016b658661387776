import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { ApiClient } from "./client.ts";
import type { CoreV1Event } from "./generated/kubernetes.ts";
import { type KubeObject, keyOf } from "./meta.ts";
import { events } from "./resources.ts";

/** Who an event is about. */
export interface EventTarget extends KubeObject {
  /** `spec.containers{web}` when the event is about one part of it. */
  readonly fieldPath?: string;
}

/** Records what users see under `kubectl describe` and `kubectl events`. Never throws and never waits. */
export interface EventRecorder {
  event(target: EventTarget, type: "Normal" | "Warning", reason: string, message: string): void;
}

/** Events that are waiting to be sent; beyond it new ones are dropped and counted in the log. */
const queueLimit = 1_000;
/** Events that are remembered for counting repeats. */
const memoryLimit = 4_096;

/** Sends events to the API in the order they came; a repeat raises the first one's `count`. */
export class ApiEventRecorder implements EventRecorder {
  readonly #client: ApiClient;
  readonly #component: string;
  readonly #host: string;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #sent = new Map<string, CoreV1Event>();
  readonly #queue: (() => Promise<void>)[] = [];
  readonly #stop = new AbortController();
  #draining = false;
  #dropped = 0;
  #serial = 0;

  constructor(
    client: ApiClient,
    source: { readonly component: string; readonly host?: string },
    clock: Clock,
    log: Log,
  ) {
    this.#client = client;
    this.#component = source.component;
    this.#host = source.host ?? "";
    this.#clock = clock;
    this.#log = log;
  }

  event(target: EventTarget, type: "Normal" | "Warning", reason: string, message: string): void {
    if (this.#queue.length >= queueLimit) {
      this.#dropped += 1;
      if (this.#dropped % 100 === 1) this.#log.warn("dropped events", { dropped: this.#dropped });
      return;
    }
    const at = new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
    this.#queue.push(() => this.#send(target, type, reason, message, at));
    void this.#drain();
  }

  /** Stops sending; what is still queued is dropped. */
  close(): void {
    this.#stop.abort();
    this.#queue.length = 0;
  }

  async #drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    try {
      for (let send = this.#queue.shift(); send !== undefined; send = this.#queue.shift()) {
        try {
          await send();
        } catch (cause) {
          if (!this.#stop.signal.aborted)
            this.#log.warn("cannot record an event", { cause: errorText(cause) });
        }
      }
    } finally {
      this.#draining = false;
    }
  }

  async #send(target: EventTarget, type: string, reason: string, message: string, at: string): Promise<void> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(10_000)]);
    const { namespace, name } = keyOf(target);
    const same = [
      target.kind,
      namespace,
      name,
      target.metadata?.uid,
      target.fieldPath,
      type,
      reason,
      message,
    ].join("\0");
    const before = this.#sent.get(same);
    if (before !== undefined) {
      const count = (before.count ?? 1) + 1;
      try {
        const after = await this.#client.patch(
          events,
          keyOf(before),
          "merge",
          { count, lastTimestamp: at },
          {},
          signal,
        );
        this.#remember(same, after);
        return;
      } catch {
        this.#sent.delete(same); // it expired: record it anew
      }
    }
    this.#serial += 1;
    const suffix = (this.#clock.now() * 1_000 + (this.#serial % 1_000)).toString(16);
    const created = await this.#client.create(
      events,
      {
        metadata: { name: `${name}.${suffix}`, namespace: namespace === "" ? "default" : namespace },
        involvedObject: {
          apiVersion: target.apiVersion ?? "v1",
          ...(target.kind === undefined ? {} : { kind: target.kind }),
          name,
          ...(namespace === "" ? {} : { namespace }),
          ...(target.metadata?.uid === undefined ? {} : { uid: target.metadata.uid }),
          ...(target.metadata?.resourceVersion === undefined
            ? {}
            : { resourceVersion: target.metadata.resourceVersion }),
          ...(target.fieldPath === undefined ? {} : { fieldPath: target.fieldPath }),
        },
        type,
        reason,
        message: message.slice(0, 1_024),
        source: { component: this.#component, ...(this.#host === "" ? {} : { host: this.#host }) },
        reportingComponent: this.#component,
        reportingInstance: this.#host,
        firstTimestamp: at,
        lastTimestamp: at,
        count: 1,
      },
      {},
      signal,
    );
    this.#remember(same, created);
  }

  #remember(same: string, event: CoreV1Event): void {
    this.#sent.delete(same);
    this.#sent.set(same, event);
    if (this.#sent.size > memoryLimit) {
      const oldest = this.#sent.keys().next().value;
      if (oldest !== undefined) this.#sent.delete(oldest);
    }
  }
}
