import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";

/** How long a pod that found no node waits before the next try, at least. */
const backoff = { firstMs: 1_000, maxMs: 10_000 };
/** A pod that nothing woke is tried again after this, in case an event was missed. */
const flushMs = 5 * 60_000;
/**
 * While nothing else waits, pods that changes woke are tried before their back-off ends, unless there are more
 * of them than this: then the back-off keeps a busy cluster from trying all of them at every change.
 */
const earlyLimit = 100;
/** Pods that may wait; the largest cluster has 150,000. */
const limit = 500_000;

interface Waiting {
  readonly key: string;
  priority: number;
  /** Order of arrival: equal priorities are served first come, first served. */
  readonly order: number;
  failures: number;
  /** No try before this moment, monotonic milliseconds. */
  notBefore: number;
}

/**
 * Pods that wait for a node: the highest priority first, then the oldest. A pod that found none is parked
 * until something changes in the cluster, and then waits out its back-off (1 s to 10 s) while others are served.
 */
export class SchedulingQueue {
  readonly #clock: Clock;
  readonly #pods = new Map<string, Waiting>();
  readonly #active = new Set<Waiting>();
  readonly #parked = new Set<Waiting>();
  /** Woken by a change, and still in their back-off. */
  readonly #early = new Set<Waiting>();
  #heap: Waiting[] = [];
  #order = 0;
  #wake: (() => void) | undefined;
  #timer: { readonly at: number; readonly cancel: () => void } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Pods waiting for a try, and pods parked until something changes. */
  get depth(): { readonly active: number; readonly parked: number } {
    return { active: this.#active.size, parked: this.#parked.size };
  }

  /** A pod without a node; one that is known already keeps its place, and is tried again as it changed. */
  add(key: string, priority: number): void {
    const known = this.#pods.get(key);
    if (known !== undefined) {
      if (this.#parked.has(known)) this.#activate(known, true);
      return;
    }
    if (this.#pods.size >= limit)
      throw new RangeError(`cannot queue pod "${key}": ${limit} pods wait already; delete some`);
    this.#order += 1;
    const waiting = { key, priority, order: this.#order, failures: 0, notBefore: 0 };
    this.#pods.set(key, waiting);
    this.#activate(waiting, false);
  }

  /** The pod has a node or is gone. */
  remove(key: string): void {
    const known = this.#pods.get(key);
    if (known === undefined) return;
    this.#pods.delete(key);
    this.#active.delete(known);
    this.#parked.delete(known);
    this.#early.delete(known);
  }

  /** No node took the pod: it waits for a change. */
  park(key: string): void {
    const known = this.#pods.get(key);
    if (known === undefined) return;
    known.failures += 1;
    known.notBefore = this.#clock.monotonicMs() + backoffMs(known.failures, backoff);
    this.#active.delete(known);
    this.#parked.add(known);
    this.#schedule(this.#clock.monotonicMs() + flushMs, () => this.wakeAll());
  }

  /** Something failed that will pass, such as the binding: tried again after the back-off. */
  retry(key: string): void {
    const known = this.#pods.get(key);
    if (known === undefined) return;
    known.failures += 1;
    known.notBefore = this.#clock.monotonicMs() + backoffMs(known.failures, backoff);
    this.#activate(known, false);
  }

  /** The cluster changed in a way that may make room: every parked pod gets another try. */
  wakeAll(): void {
    for (const waiting of this.#parked) this.#activate(waiting, true);
  }

  /** The next pod to try; it stays in the queue until it is removed or parked. Undefined when the signal ends. */
  async next(signal: AbortSignal): Promise<string | undefined> {
    while (!signal.aborted) {
      const key = this.#pop();
      if (key !== undefined) return key;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const stop = (): void => resolve();
      signal.addEventListener("abort", stop, { once: true });
      await promise;
      signal.removeEventListener("abort", stop);
    }
    return undefined;
  }

  close(): void {
    this.#timer?.cancel();
  }

  #activate(waiting: Waiting, mayBeEarly: boolean): void {
    this.#parked.delete(waiting);
    if (this.#active.has(waiting)) return;
    this.#active.add(waiting);
    const waitMs = waiting.notBefore - this.#clock.monotonicMs();
    if (waitMs <= 0) {
      this.#push(waiting);
      return;
    }
    this.#clock.after(waitMs, () => this.#push(waiting));
    if (!mayBeEarly) return;
    this.#early.add(waiting);
    this.#wake?.();
    this.#wake = undefined;
  }

  #push(waiting: Waiting): void {
    if (!this.#active.has(waiting)) return;
    this.#early.delete(waiting);
    const heap = this.#heap;
    heap.push(waiting);
    for (let at = heap.length - 1; at > 0; ) {
      const parent = (at - 1) >> 1;
      if (!this.#swapIfBefore(at, parent)) break;
      at = parent;
    }
    this.#wake?.();
    this.#wake = undefined;
  }

  #pop(): string | undefined {
    for (let top = this.#heap[0]; top !== undefined; top = this.#heap[0]) {
      const last = this.#heap.pop();
      if (last !== undefined && last !== top) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (!this.#active.delete(top)) continue; // removed while it waited
      return top.key;
    }
    const [early] = this.#early.size > earlyLimit ? [] : this.#early;
    if (early === undefined) return undefined;
    this.#early.delete(early);
    this.#active.delete(early);
    return early.key;
  }

  #sink(): void {
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const child = isBefore(this.#heap[right], this.#heap[left]) ? right : left;
      if (!this.#swapIfBefore(child, at)) return;
      at = child;
    }
  }

  #swapIfBefore(a: number, b: number): boolean {
    const [first, second] = [this.#heap[a], this.#heap[b]];
    if (first === undefined || second === undefined || !isBefore(first, second)) return false;
    this.#heap[a] = second;
    this.#heap[b] = first;
    return true;
  }

  #schedule(at: number, callback: () => void): void {
    if (this.#timer !== undefined) return;
    const cancel = this.#clock.after(at - this.#clock.monotonicMs(), () => {
      this.#timer = undefined;
      callback();
    });
    this.#timer = { at, cancel };
  }
}

function isBefore(a: Waiting | undefined, b: Waiting | undefined): boolean {
  if (a === undefined) return false;
  if (b === undefined) return true;
  return a.priority === b.priority ? a.order < b.order : a.priority > b.priority;
}
