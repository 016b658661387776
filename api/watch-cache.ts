import { backoffMs, jittered } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { View } from "#lib/view.ts";
import type { ApiClient, ListOptions } from "./client.ts";
import { type KubeObject, keyOf, keyText, type Resource } from "./meta.ts";
import { isReason } from "./status-error.ts";

/** Told that the object under a key was added, changed or removed. It only marks things dirty. */
export type Changed<T> = (key: string, now: T | undefined, before: T | undefined) => void;

const pageSize = 500;
const restart = { firstMs: 200, maxMs: 30_000 };

/** What a cache needs from its process. */
export interface WatchCachePorts {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1); spreads the retries of many nodes. */
  readonly random: () => number;
}

/**
 * One resource as the API last told it: one watch, many readers. Objects in it are immutable.
 * A dead server keeps what is known; a lost place in the history (410) lists again and reports the difference.
 */
export class WatchCache<T extends KubeObject> {
  readonly resource: Resource<T>;
  readonly #ports: WatchCachePorts;
  readonly #options: ListOptions;
  readonly #all = new Map<string, T>();
  readonly #readers = new Set<Changed<T>>();
  readonly #complete = Promise.withResolvers<void>();
  #synced = false;
  #seeded = false;
  #failures = 0;
  #lastError: unknown;

  constructor(resource: Resource<T>, options: ListOptions, ports: WatchCachePorts) {
    this.resource = resource;
    this.#options = options;
    this.#ports = ports;
  }

  /** What is known now. The map is live: it is not to be kept over an `await` by who needs one moment's picture. */
  get view(): View<T> {
    return this.#synced ? { state: "complete", all: this.#all } : { state: "listing" };
  }

  /** Why the last attempt failed; undefined while the watch is well. */
  get lastError(): unknown {
    return this.#lastError;
  }

  /** Whether what it has is from an earlier life: see {@link seed}. */
  get seeded(): boolean {
    return this.#seeded;
  }

  /**
   * Fills the cache with what was known in an earlier life, for as long as no server answers. The view stays
   * "listing", so that nothing is called stale; the first list tells the difference. Nothing happens once it has ended.
   */
  seed(objects: Iterable<T>): void {
    if (this.#synced) return;
    this.#seeded = true;
    for (const object of objects) this.#set(keyText(keyOf(object)), object);
  }

  get(key: string): T | undefined {
    return this.#all.get(key);
  }

  values(): IterableIterator<T> {
    return this.#all.values();
  }

  /** Calls back on every change from now on, and once for everything already known. Returns the way out. */
  subscribe(changed: Changed<T>): () => void {
    this.#readers.add(changed);
    for (const [key, object] of this.#all) changed(key, object, undefined);
    return () => this.#readers.delete(changed);
  }

  /** Resolves when the first list has ended. */
  async synced(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { promise, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      await Promise.race([this.#complete.promise, promise]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  /** Lists and watches until the signal is aborted. Never throws for what the server does. */
  async run(signal: AbortSignal): Promise<void> {
    let revision: string | undefined;
    while (!signal.aborted) {
      try {
        revision ??= await this.#relist(signal);
        for await (const next of this.#follow(revision, signal)) revision = next;
        this.#failures = 0;
      } catch (cause) {
        if (signal.aborted) return;
        if (isReason(cause, "Expired", "Gone")) revision = undefined;
        this.#lastError = cause;
        this.#failures += 1;
        const waitMs = jittered(backoffMs(this.#failures, restart), this.#ports.random());
        this.#ports.log.warn("watch failed", {
          resource: this.resource.plural,
          cause: errorText(cause),
          retryInMs: Math.round(waitMs),
        });
        await this.#ports.clock.sleep(waitMs, signal).catch(() => undefined);
      }
    }
  }

  /** Lists everything and reports what differs from what was known. */
  async #relist(signal: AbortSignal): Promise<string> {
    const listed = new Map<string, T>();
    let next: string | undefined;
    let revision = "";
    do {
      const page = await this.#ports.client.list(
        this.resource,
        { ...this.#options, limit: pageSize, ...(next === undefined ? {} : { continue: next }) },
        signal,
      );
      for (const item of page.items) listed.set(keyText(keyOf(item)), item);
      revision = page.metadata.resourceVersion ?? "";
      next = page.metadata.continue;
    } while (next !== undefined && next !== "");
    for (const key of this.#all.keys()) if (!listed.has(key)) this.#set(key, undefined);
    for (const [key, object] of listed) this.#set(key, object);
    this.#seeded = false;
    this.#lastError = undefined;
    if (!this.#synced) {
      this.#synced = true;
      this.#complete.resolve();
    }
    return revision;
  }

  /** Applies events and yields the revision each one brings. */
  async *#follow(revision: string, signal: AbortSignal): AsyncGenerator<string, void, undefined> {
    // Spread, so that the watches of a fleet do not all end in one second.
    const timeoutSeconds = Math.round(300 + 300 * this.#ports.random());
    const events = this.#ports.client.watch(
      this.resource,
      { ...this.#options, resourceVersion: revision, timeoutSeconds },
      signal,
    );
    for await (const event of events) {
      this.#lastError = undefined;
      this.#failures = 0;
      if (event.type !== "BOOKMARK") {
        this.#set(keyText(keyOf(event.object)), event.type === "DELETED" ? undefined : event.object);
      }
      const next = event.object.metadata?.resourceVersion;
      if (next !== undefined) yield next;
    }
  }

  #set(key: string, now: T | undefined): void {
    const before = this.#all.get(key);
    if (now === undefined && before === undefined) return;
    // A server that was set back counts anew: a revision of an earlier life is not compared with its.
    if (now !== undefined && before !== undefined && !this.#seeded && isSame(now, before)) return;
    if (now === undefined) this.#all.delete(key);
    else this.#all.set(key, now);
    for (const changed of this.#readers) changed(key, now, before);
  }
}

function isSame(a: KubeObject, b: KubeObject): boolean {
  return a.metadata?.uid === b.metadata?.uid && a.metadata?.resourceVersion === b.metadata?.resourceVersion;
}
