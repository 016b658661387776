import { ChangeQueue } from "../../store/change-queue.ts";
import { StoreError } from "../../store/store.ts";
import { CachedObject } from "./cached-object.ts";

/** One change of one object, with the lines that watchers get, made at most once for all of them. */
export class CacheEvent {
  readonly revision: bigint;
  /** Undefined after a delete. */
  readonly now: CachedObject | undefined;
  readonly before: CachedObject | undefined;
  /** When the cache learned of it, by the monotonic clock. */
  readonly atMs: number;
  #lines = new Map<string, Uint8Array>();
  #gone: CachedObject | undefined;

  constructor(
    revision: bigint,
    now: CachedObject | undefined,
    before: CachedObject | undefined,
    atMs: number,
  ) {
    this.atMs = atMs;
    this.revision = revision;
    this.now = now;
    this.before = before;
  }

  /** The last state of an object that left, under the revision at which it left. */
  get gone(): CachedObject | undefined {
    if (this.before === undefined) return undefined;
    this.#gone ??= new CachedObject(this.before.key, this.before.object, this.revision);
    return this.#gone;
  }

  /** The watch line for this event. */
  line(type: "ADDED" | "MODIFIED" | "DELETED"): Uint8Array {
    const known = this.#lines.get(type);
    if (known !== undefined) return known;
    const object = type === "DELETED" ? this.gone : this.now;
    const line = watchLine(type, object?.bytes ?? new Uint8Array());
    this.#lines.set(type, line);
    return line;
  }
}

/** What a watcher's queue holds: an event, or the wish to tell it how far it is. */
export type Delivery =
  | { readonly kind: "event"; readonly event: CacheEvent }
  | { readonly kind: "bookmark"; readonly revision: bigint };

/** Events that are kept for watches that start in the past, for each kind: at most so many, and so long. */
const historyLimit = 10_000;
const historyAgeMs = 300_000;
/** So many are kept however old they are: a kind that rarely changes costs nothing. */
const historyKept = 100;
/** Deliveries that may wait for one watcher. */
const watcherLimit = 10_000;

/** All objects of one storage prefix, and what happened to them lately. */
export class KindCache {
  readonly #objects = new Map<string, CachedObject>();
  #sorted: CachedObject[] | undefined;
  #history: CacheEvent[] = [];
  /** A watch can start after this revision or any later one. */
  #historyFrom = 0n;
  readonly #watchers = new Set<ChangeQueue<Delivery>>();

  get size(): number {
    return this.#objects.size;
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  get(key: string): CachedObject | undefined {
    return this.#objects.get(key);
  }

  /** Everything whose key starts with `prefix`, in order of key. */
  list(prefix: string): readonly CachedObject[] {
    this.#sorted ??= [...this.#objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    const sorted = this.#sorted;
    const from = lowerBound(sorted, prefix);
    let to = from;
    while (to < sorted.length && (sorted[to]?.key.startsWith(prefix) ?? false)) to += 1;
    return from === 0 && to === sorted.length ? sorted : sorted.slice(from, to);
  }

  /** Starts over with what the store holds at `revision`; whoever watches must list again. */
  reset(objects: readonly CachedObject[], revision: bigint): void {
    this.#objects.clear();
    for (const object of objects) this.#objects.set(object.key, object);
    this.#sorted = undefined;
    this.#history = [];
    this.#historyFrom = revision;
    for (const watcher of this.#watchers)
      watcher.fail(new StoreError("unavailable", "the watch was lost; list again"));
    this.#watchers.clear();
  }

  /** @param atMs the monotonic time. */
  apply(key: string, now: CachedObject | undefined, revision: bigint, atMs: number): void {
    const event = new CacheEvent(revision, now, this.#objects.get(key), atMs);
    if (now === undefined) {
      this.#objects.delete(key);
      this.#sorted = undefined;
    } else {
      this.#objects.set(key, now);
      // A change keeps its place in the order; only a new key moves others.
      const at = this.#sorted === undefined ? -1 : lowerBound(this.#sorted, key);
      if (this.#sorted !== undefined && this.#sorted[at]?.key === key) {
        this.#sorted = this.#sorted.with(at, now);
      } else this.#sorted = undefined;
    }
    this.#history.push(event);
    this.#trim(atMs);
    for (const watcher of this.#watchers) watcher.push({ kind: "event", event });
  }

  /**
   * Events after `from` and a queue of those to come, without a gap between them; `undefined` when that far
   * back is no longer known.
   */
  subscribe(
    from: bigint,
  ): { readonly past: readonly CacheEvent[]; readonly queue: ChangeQueue<Delivery> } | undefined {
    if (from < this.#historyFrom) return undefined;
    const queue = new ChangeQueue<Delivery>(watcherLimit);
    this.#watchers.add(queue);
    let at = this.#history.length;
    while (at > 0 && (this.#history[at - 1]?.revision ?? 0n) > from) at -= 1;
    return { past: this.#history.slice(at), queue };
  }

  #trim(nowMs: number): void {
    const isOld = (at: number): boolean =>
      at < this.#history.length - historyKept && (this.#history[at]?.atMs ?? nowMs) < nowMs - historyAgeMs;
    let count = this.#history.length > historyLimit ? historyLimit / 10 : 0;
    while (isOld(count)) count += 1;
    if (count === 0) return;
    const dropped = this.#history.splice(0, count);
    this.#historyFrom = dropped.at(-1)?.revision ?? this.#historyFrom;
  }

  unsubscribe(queue: ChangeQueue<Delivery>): void {
    this.#watchers.delete(queue);
  }
}

/** `{"type":"ADDED","object":...}` and a line end. */
export function watchLine(type: string, object: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, Buffer.from("}\n")]);
}

function lowerBound(sorted: readonly CachedObject[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle]?.key ?? "") < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
