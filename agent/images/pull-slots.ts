import type { Clock } from "#lib/clock.ts";

/** How many pulls there may be. */
export interface PullLimits {
  /** At the same time. */
  readonly parallel: number;
  /** Begun per second in the long run; 0 for any number. */
  readonly perSecond: number;
  /** Begun at once after a quiet time. */
  readonly burst: number;
}

const maxWaiting = 4_096;

/**
 * Pulls wait here for their turn, first come first served. Unlike the kubelet, which fails a pull that comes too
 * fast for its registry ("pull QPS exceeded") and lets it back off, this one waits the moment that is missing.
 */
export class PullSlots {
  readonly #limits: PullLimits;
  readonly #clock: Clock;
  readonly #waiting: (() => void)[] = [];
  #active = 0;
  #tokens: number;
  #filledMs: number;

  constructor(limits: PullLimits, clock: Clock) {
    this.#limits = { ...limits, parallel: Math.max(1, limits.parallel), burst: Math.max(1, limits.burst) };
    this.#clock = clock;
    this.#tokens = this.#limits.burst;
    this.#filledMs = clock.monotonicMs();
  }

  /** @throws Error when too many wait, and what the signal was aborted with. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#enter();
    try {
      await this.#token(signal);
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#active -= 1;
      else next(); // the slot passes on, so that nobody overtakes
    }
  }

  async #enter(): Promise<void> {
    if (this.#active < this.#limits.parallel) {
      this.#active += 1;
      return;
    }
    if (this.#waiting.length >= maxWaiting)
      throw new Error(`cannot pull now: ${maxWaiting} pulls wait; raise --max-parallel-image-pulls`);
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Takes a token now, or the one that comes next: the count may go below zero, by those who wait. */
  async #token(signal: AbortSignal): Promise<void> {
    const { perSecond, burst } = this.#limits;
    signal.throwIfAborted();
    if (perSecond <= 0) return;
    const now = this.#clock.monotonicMs();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledMs) / 1_000) * perSecond);
    this.#filledMs = now;
    this.#tokens -= 1;
    if (this.#tokens < 0) await this.#clock.sleep((-this.#tokens / perSecond) * 1_000, signal);
  }
}
