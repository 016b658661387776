import { Turnstile } from "#lib/turnstile.ts";

/** One at a time for each key. */
export class KeyedLock {
  readonly #locks = new Map<string, { readonly turnstile: Turnstile; users: number }>();

  /**
   * Runs `work` when it is its turn. Who waits may leave by the signal; `work` that has begun goes on to its end
   * and nobody else has the key before, for what it asked of others goes on too.
   * @throws the signal's reason when that is aborted before the end, and what `work` throws.
   */
  async run<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const lock = this.#locks.get(key) ?? { turnstile: new Turnstile(1), users: 0 };
    this.#locks.set(key, lock);
    lock.users += 1;
    const held = lock.turnstile.pass(work, signal).finally(() => {
      lock.users -= 1;
      if (lock.users === 0) this.#locks.delete(key);
    });
    const { promise: left, reject: leave } = Promise.withResolvers<never>();
    const stop = (): void => leave(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await Promise.race([held, left]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }
}
