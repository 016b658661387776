import type { Clock } from "./clock.ts";

interface Entry<K> {
  readonly key: K;
  readonly atMs: number;
  /** Counts up: what was set first comes first of those that are due at the same time. */
  readonly place: number;
}

/** The longest that one timer is set for; a later deadline is looked at again then. */
const longestMs = 2 ** 30;
/** The machine's timers fire up to this much early: what is due within it is due now, not after another timer. */
const slackMs = 1;

/**
 * Many deadlines on one timer: a heap, so that a deadline costs the logarithm of their number and an idle set
 * costs nothing. Times are those of `clock.monotonicMs()`, so that setting the machine's clock moves nothing.
 */
export class Deadlines<K> {
  readonly #clock: Clock;
  readonly #due: (key: K, atMs: number) => void;
  readonly #heap: Entry<K>[] = [];
  /** The entry of each key that counts; others of it in the heap were replaced and are passed over. */
  readonly #current = new Map<K, Entry<K>>();
  #places = 0;
  #armedMs = Number.POSITIVE_INFINITY;
  #cancel: (() => void) | undefined;

  /** @param due called once for each deadline when it has come, with the time that was set. */
  constructor(clock: Clock, due: (key: K, atMs: number) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  get size(): number {
    return this.#current.size;
  }

  /** Sets or replaces the deadline of a key. */
  set(key: K, atMs: number): void {
    const entry = { key, atMs, place: this.#places++ };
    this.#current.set(key, entry);
    this.#push(entry);
    this.#arm();
  }

  delete(key: K): void {
    this.#current.delete(key);
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#current.size) this.#compact();
  }

  /** Forgets every deadline. */
  close(): void {
    this.#current.clear();
    this.#heap.length = 0;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#armedMs = Number.POSITIVE_INFINITY;
  }

  #arm(): void {
    const first = this.#first();
    if (first === undefined || first.atMs >= this.#armedMs) return;
    this.#cancel?.();
    this.#armedMs = first.atMs;
    const waitMs = Math.min(longestMs, Math.max(0, first.atMs - this.#clock.monotonicMs()));
    this.#cancel = this.#clock.after(waitMs, () => this.#turn());
  }

  #turn(): void {
    this.#armedMs = Number.POSITIVE_INFINITY;
    this.#cancel = undefined;
    const nowMs = this.#clock.monotonicMs() + slackMs;
    const due: Entry<K>[] = [];
    for (let first = this.#first(); first !== undefined && first.atMs <= nowMs; first = this.#first()) {
      this.#pop();
      this.#current.delete(first.key);
      due.push(first);
    }
    // All are taken out before the first is called: what a call sets anew waits for the next turn.
    for (const { key, atMs } of due) this.#due(key, atMs);
    this.#arm();
  }

  /** The earliest entry that still counts. */
  #first(): Entry<K> | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      if (this.#current.get(top.key) === top) return top;
      this.#pop();
    }
    return undefined;
  }

  #compact(): void {
    this.#heap.length = 0;
    for (const entry of this.#current.values()) this.#push(entry);
  }

  #push(entry: Entry<K>): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || isBefore(parent, entry)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = heap[2 * at + 1];
      const right = heap[2 * at + 2];
      if (left === undefined) break;
      const isRight = right !== undefined && isBefore(right, left);
      const child = isRight ? right : left;
      if (isBefore(last, child)) break;
      heap[at] = child;
      at = 2 * at + (isRight ? 2 : 1);
    }
    heap[at] = last;
  }
}

function isBefore<K>(one: Entry<K>, other: Entry<K>): boolean {
  return one.atMs < other.atMs || (one.atMs === other.atMs && one.place < other.place);
}
