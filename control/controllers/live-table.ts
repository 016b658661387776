import type { KubeObject, Resource } from "#api/meta.ts";
import { keyOf, keyText } from "#api/meta.ts";
import type { Changed, WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";

/** Deleted uids that are remembered, so that a late answer to a create does not bring the object back. */
const goneLimit = 4_096;
/** How long the watch may take to show an object that we wrote, in milliseconds. */
const confirmMs = 30_000;

/** The objects of one table under a value, such as the pods on a node; kept up to date change by change. */
export interface TableIndex<T> {
  of(value: string): readonly T[];
  /** How many there are, without making a list. */
  size(value: string): number;
}

/**
 * One resource as the watch told it or as our own writes left it, whichever is newer. A controller that
 * reads it sees what it wrote a moment ago, so no step acts twice on a picture that is behind.
 * Versions are compared as numbers, which Kubernetes promises since 1.35 (KEP-5504).
 */
export class LiveTable<T extends KubeObject> {
  readonly resource: Resource<T>;
  readonly cache: WatchCache<T>;
  readonly #clock: Clock;
  readonly #rows = new Map<string, T>();
  readonly #readers = new Set<Changed<T>>();
  readonly #indexes = new Map<string, Index<T>>();
  readonly #gone = new Set<string>();
  readonly #unconfirmed = new Map<string, number>();

  constructor(cache: WatchCache<T>, clock: Clock) {
    this.resource = cache.resource;
    this.cache = cache;
    this.#clock = clock;
    cache.subscribe((key, now, before) => this.#watched(key, now, before));
  }

  get(key: string): T | undefined {
    return this.#rows.get(key);
  }

  values(): IterableIterator<T> {
    return this.#rows.values();
  }

  get size(): number {
    return this.#rows.size;
  }

  /** Calls back on every change from now on, and once for everything already known. Returns the way out. */
  subscribe(changed: Changed<T>): () => void {
    this.#readers.add(changed);
    for (const [key, object] of this.#rows) changed(key, object, undefined);
    return () => this.#readers.delete(changed);
  }

  /** The index of this name; made on first use, from what is known by then. */
  index(name: string, valuesOf: (object: T) => readonly string[]): TableIndex<T> {
    const found = this.#indexes.get(name);
    if (found !== undefined) return found;
    const index = new Index<T>(valuesOf);
    for (const [key, object] of this.#rows) index.set(key, object, undefined);
    this.#indexes.set(name, index);
    return index;
  }

  /** The API answered a write of ours with this object. */
  wrote(object: T): void {
    const uid = object.metadata?.uid ?? "";
    if (this.#gone.has(uid)) return;
    const key = keyText(keyOf(object));
    const known = this.#rows.get(key);
    if (known !== undefined && known.metadata?.uid === uid && versionOf(known) >= versionOf(object)) return;
    this.#set(key, object);
    this.#expectWatch(key, uid);
  }

  /** The API accepted a delete of ours; until the watch says more, the object counts as terminating. */
  deleting(object: T): void {
    const key = keyText(keyOf(object));
    const known = this.#rows.get(key);
    if (known === undefined || known.metadata?.uid !== object.metadata?.uid) return;
    if (known.metadata?.deletionTimestamp !== undefined) return;
    const deletionTimestamp = new Date(this.#clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
    this.#set(key, { ...known, metadata: { ...known.metadata, deletionTimestamp } });
  }

  #watched(key: string, now: T | undefined, before: T | undefined): void {
    this.#unconfirmed.delete(key);
    const known = this.#rows.get(key);
    if (now === undefined) {
      const uid = before?.metadata?.uid ?? "";
      this.#remember(uid);
      if (known?.metadata?.uid === uid) this.#set(key, undefined);
      return;
    }
    const older =
      known !== undefined && known.metadata?.uid === now.metadata?.uid && versionOf(known) > versionOf(now);
    if (!older) this.#set(key, now);
  }

  #set(key: string, now: T | undefined): void {
    const before = this.#rows.get(key);
    if (now === undefined) this.#rows.delete(key);
    else this.#rows.set(key, now);
    for (const index of this.#indexes.values()) index.set(key, now, before);
    for (const changed of this.#readers) changed(key, now, before);
  }

  #remember(uid: string): void {
    this.#gone.add(uid);
    if (this.#gone.size <= goneLimit) return;
    const oldest = this.#gone.values().next().value;
    if (oldest !== undefined) this.#gone.delete(oldest);
  }

  /** An object that came and went while the watch was broken is never reported; drop it when it stays unseen. */
  #expectWatch(key: string, uid: string): void {
    if (this.cache.get(key)?.metadata?.uid === uid) return;
    if (this.#unconfirmed.size === 0) this.#clock.after(confirmMs, () => this.#dropUnconfirmed());
    this.#unconfirmed.set(key, this.#clock.monotonicMs());
  }

  #dropUnconfirmed(): void {
    const limit = this.#clock.monotonicMs() - confirmMs;
    for (const [key, since] of this.#unconfirmed) {
      if (since > limit) continue;
      this.#unconfirmed.delete(key);
      this.#set(key, this.cache.get(key));
    }
    if (this.#unconfirmed.size > 0) this.#clock.after(confirmMs, () => this.#dropUnconfirmed());
  }
}

/** The version of an object as a number; 0 when it has none. */
export function versionOf(object: KubeObject): number {
  const version = Number(object.metadata?.resourceVersion ?? "0");
  return Number.isFinite(version) ? version : 0;
}

class Index<T> implements TableIndex<T> {
  readonly #valuesOf: (object: T) => readonly string[];
  readonly #byValue = new Map<string, Map<string, T>>();

  constructor(valuesOf: (object: T) => readonly string[]) {
    this.#valuesOf = valuesOf;
  }

  of(value: string): readonly T[] {
    return [...(this.#byValue.get(value)?.values() ?? [])];
  }

  size(value: string): number {
    return this.#byValue.get(value)?.size ?? 0;
  }

  set(key: string, now: T | undefined, before: T | undefined): void {
    const keep = new Set(now === undefined ? [] : this.#valuesOf(now));
    for (const value of before === undefined ? [] : this.#valuesOf(before)) {
      if (keep.has(value)) continue;
      const rows = this.#byValue.get(value);
      rows?.delete(key);
      if (rows?.size === 0) this.#byValue.delete(value);
    }
    if (now === undefined) return;
    for (const value of keep) {
      const rows = this.#byValue.get(value) ?? new Map<string, T>();
      rows.set(key, now);
      this.#byValue.set(value, rows);
    }
  }
}
