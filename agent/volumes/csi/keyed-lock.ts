import { Turnstile } from "#lib/turnstile.ts";

/** One at a time for each key. */
export class KeyedLock {
  readonly #locks = new Map<string, { readonly turnstile: Turnstile; users: number }>();

  /** @throws the signal's reason when that is aborted before its turn, and what `work` throws. */
  async run<T>(key: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const lock = this.#locks.get(key) ?? { turnstile: new Turnstile(1), users: 0 };
    this.#locks.set(key, lock);
    lock.users += 1;
    try {
      return await lock.turnstile.pass(work, signal);
    } finally {
      lock.users -= 1;
      if (lock.users === 0) this.#locks.delete(key);
    }
  }
}
