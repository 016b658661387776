import type { Clock } from "#lib/clock.ts";
import { type Log, errorText } from "#lib/log.ts";
import type { StoredObject } from "../../model.ts";
import { type Change, type Entry, type Store, StoreError } from "../../store/store.ts";
import { CachedObject } from "./cached-object.ts";
import { KindCache } from "./kind-cache.ts";

/** Entries read at once while the cache is filled. */
const pageSize = 5_000;

/**
 * Everything in the store, in memory, kept current by one watch of the whole key space. One watch for all kinds
 * makes "how far is the cache" one number, so a list can be as fresh as the store's own revision.
 */
export class ObjectCache {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #kinds = new Map<string, KindCache>();
  readonly #parsed = new WeakMap<Uint8Array, StoredObject>();
  readonly #waiters = new Set<{ readonly revision: bigint; readonly wake: () => void }>();
  #revision = 0n;

  /** @param prefixes storage prefixes, without slashes at the ends. */
  constructor(store: Store, prefixes: readonly string[], clock: Clock, log: Log) {
    this.#store = store;
    this.#clock = clock;
    this.#log = log;
    for (const prefix of prefixes) this.#kinds.set(prefix, new KindCache());
  }

  /** How far the cache is. */
  get revision(): bigint {
    return this.#revision;
  }

  /** @throws for a prefix that was not given to the constructor. */
  kind(prefix: string): KindCache {
    const kind = this.#kinds.get(prefix);
    if (kind === undefined) throw new Error(`cannot cache "${prefix}": it is not a storage prefix`);
    return kind;
  }

  /** Bytes that are about to be stored and the object they were made from: saves parsing them again. */
  remember(value: Uint8Array, object: StoredObject): void {
    this.#parsed.set(value, object);
  }

  /** The stored object, from memory when memory has this very revision. */
  parse(entry: Entry): CachedObject {
    const known = this.#kindOf(entry.key)?.get(entry.key);
    if (known?.revision === entry.modRevision) return known;
    return new CachedObject(entry.key, this.#object(entry.value), entry.modRevision);
  }

  /** Fills the cache; resolves when it is complete. @throws when the store cannot be read. */
  async fill(signal: AbortSignal): Promise<void> {
    const found = new Map<KindCache, CachedObject[]>([...this.#kinds.values()].map((kind) => [kind, []]));
    let revision: bigint | undefined;
    let start: string | undefined;
    for (;;) {
      const page = await this.#store.range(
        "",
        {
          limit: pageSize,
          ...(start === undefined ? {} : { start }),
          ...(revision === undefined ? {} : { revision }),
        },
        signal,
      );
      revision = page.revision;
      for (const entry of page.entries) {
        const kind = this.#kindOf(entry.key);
        const object = kind === undefined ? undefined : this.#tryParse(entry);
        if (kind !== undefined && object !== undefined) found.get(kind)?.push(object);
      }
      const last = page.entries.at(-1);
      if (!page.more || last === undefined) break;
      start = `${last.key}\0`;
    }
    for (const [kind, objects] of found) kind.reset(objects, revision);
    this.#advance(revision);
  }

  /** Follows the store until the signal is aborted; a broken watch starts over. `fill` comes first. */
  async follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const change of this.#store.watch("", this.#revision, signal)) this.#apply(change);
        if (signal.aborted) return;
        throw new StoreError("unavailable", "the store ended the watch");
      } catch (cause) {
        if (signal.aborted || (cause instanceof StoreError && cause.code === "closed")) return;
        this.#log.warn("lost the store's watch", { why: errorText(cause) });
        await this.#refill(signal);
      }
    }
  }

  /** Waits until the cache shows `revision`; false when that takes longer than `timeoutMs`. */
  async reach(revision: bigint, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
    if (this.#revision >= revision) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter = { revision, wake: () => resolve(true) };
    const stop = (): void => resolve(false);
    const cancel = this.#clock.after(timeoutMs, stop);
    signal.addEventListener("abort", stop, { once: true });
    this.#waiters.add(waiter);
    try {
      return await promise;
    } finally {
      this.#waiters.delete(waiter);
      signal.removeEventListener("abort", stop);
      cancel();
    }
  }

  async #refill(signal: AbortSignal): Promise<void> {
    for (let waitMs = 100; !signal.aborted; waitMs = Math.min(waitMs * 2, 5_000)) {
      try {
        await this.fill(signal);
        return;
      } catch (cause) {
        if (signal.aborted) return;
        this.#log.warn("cannot read the store", { why: errorText(cause) });
        await this.#clock.sleep(waitMs, signal).catch(() => {});
      }
    }
  }

  #apply(change: Change): void {
    if (change.type === "progress") return this.#advance(change.revision);
    const [key, revision] =
      change.type === "put" ? [change.entry.key, change.entry.modRevision] : [change.key, change.revision];
    const kind = this.#kindOf(key);
    if (kind !== undefined) {
      const now = change.type === "put" ? this.#tryParse(change.entry) : undefined;
      if (change.type === "delete" || now !== undefined)
        kind.apply(key, now, revision, this.#clock.monotonicMs());
    }
    this.#advance(revision);
  }

  #advance(revision: bigint): void {
    if (revision > this.#revision) this.#revision = revision;
    for (const waiter of this.#waiters) if (waiter.revision <= this.#revision) waiter.wake();
  }

  /** One unreadable value must not take the whole API away: it is left out and said. */
  #tryParse(entry: Entry): CachedObject | undefined {
    try {
      return new CachedObject(entry.key, this.#object(entry.value), entry.modRevision);
    } catch (cause) {
      this.#log.error("cannot read a stored object", { key: entry.key, why: errorText(cause) });
      return undefined;
    }
  }

  #object(value: Uint8Array): StoredObject {
    return this.#parsed.get(value) ?? (JSON.parse(Buffer.from(value).toString("utf8")) as StoredObject);
  }

  #kindOf(key: string): KindCache | undefined {
    for (let at = key.indexOf("/"); at >= 0; at = key.indexOf("/", at + 1)) {
      const kind = this.#kinds.get(key.slice(0, at));
      if (kind !== undefined) return kind;
    }
    return undefined;
  }
}
