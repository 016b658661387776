import { type BackoffPolicy, backoffMs, jittered } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";

/** How a queue behaves; every number is a limit or a time in milliseconds. */
export interface WorkQueueOptions {
  /** Keys held at once; one more throws, because a key space larger than this is a bug in the caller. */
  readonly limit: number;
  readonly backoff?: BackoffPolicy;
  readonly clock?: Clock;
  /** In [0, 1): spreads the retries of keys that failed together; none unless given. */
  readonly random?: () => number;
}

/**
 * Dirty keys, each at most once. A key that is marked while it is being worked on is given out again
 * afterwards, never twice at the same time; a key that failed waits longer each time.
 */
export class WorkQueue<K extends string> {
  readonly #ready = new Set<K>();
  readonly #working = new Set<K>();
  readonly #again = new Set<K>();
  readonly #failures = new Map<K, { count: number; cause: unknown }>();
  readonly #timers = new Map<K, { at: number; cancel: () => void }>();
  readonly #waiters: (() => void)[] = [];
  readonly #limit: number;
  readonly #backoff: BackoffPolicy;
  readonly #clock: Clock;
  readonly #random: (() => number) | undefined;

  constructor(options: WorkQueueOptions) {
    this.#limit = options.limit;
    this.#backoff = options.backoff ?? { firstMs: 100, maxMs: 60_000 };
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random;
  }

  /** Keys that wait to be worked on, not counting those whose time has not come. */
  get length(): number {
    return this.#ready.size + this.#again.size;
  }

  /** The keys whose last step failed, with the cause. Health shows them. */
  get failing(): ReadonlyMap<K, { readonly count: number; readonly cause: unknown }> {
    return this.#failures;
  }

  /** Marks a key dirty: it is worked on as soon as a worker is free, even if it was backing off. */
  add(key: K): void {
    this.#cancelTimer(key);
    if (this.#working.has(key)) {
      this.#again.add(key);
      return;
    }
    if (!this.#ready.has(key) && this.#ready.size >= this.#limit) {
      throw new RangeError(
        `cannot queue "${key}": ${this.#limit} keys are waiting; raise the limit of this queue`,
      );
    }
    this.#ready.add(key);
    this.#waiters.shift()?.();
  }

  /** Marks a key dirty after `ms`, unless it becomes dirty before. The earlier of two times wins. */
  addAfter(key: K, ms: number): void {
    if (ms <= 0) {
      this.add(key);
      return;
    }
    if (this.#ready.has(key)) return;
    const at = this.#clock.monotonicMs() + ms;
    const pending = this.#timers.get(key);
    if (pending !== undefined && pending.at <= at) return;
    pending?.cancel();
    const cancel = this.#clock.after(ms, () => {
      this.#timers.delete(key);
      this.add(key);
    });
    this.#timers.set(key, { at, cancel });
  }

  /** The keys as they become dirty, until the signal is aborted. Several readers share the keys between them. */
  async *take(signal: AbortSignal): AsyncGenerator<K, void, undefined> {
    while (!signal.aborted) {
      const key = this.#ready.values().next().value;
      if (key === undefined) {
        await this.#wait(signal);
        continue;
      }
      this.#ready.delete(key);
      this.#working.add(key);
      yield key;
    }
  }

  /** The step for this key succeeded. */
  done(key: K): void {
    this.#failures.delete(key);
    this.#release(key);
  }

  /** The step for this key failed: it comes again, later each time. */
  retry(key: K, cause: unknown): void {
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    this.#failures.set(key, { count, cause });
    const again = this.#again.has(key);
    this.#release(key);
    if (again) return;
    const waitMs = backoffMs(count, this.#backoff);
    this.addAfter(key, this.#random === undefined ? waitMs : jittered(waitMs, this.#random()));
  }

  /** Stops every timer. */
  close(): void {
    for (const { cancel } of this.#timers.values()) cancel();
    this.#timers.clear();
  }

  #release(key: K): void {
    this.#working.delete(key);
    if (this.#again.delete(key)) this.add(key);
  }

  #cancelTimer(key: K): void {
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
  }

  #wait(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = (): void => {
      signal.removeEventListener("abort", wake);
      const place = this.#waiters.indexOf(wake);
      if (place >= 0) this.#waiters.splice(place, 1);
      resolve();
    };
    this.#waiters.push(wake);
    signal.addEventListener("abort", wake, { once: true });
    return promise;
  }
}
