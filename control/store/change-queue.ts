import { StoreError } from "./store.ts";

/**
 * Changes on their way to one reader of a watch. Holds at most `limit`; one more and the reader is told that it
 * is too slow, because memory must not grow with the slowest reader.
 */
export class ChangeQueue<T> {
  #waiting: T[] = [];
  #failure: StoreError | undefined;
  #wake: (() => void) | undefined;
  readonly #limit: number;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Never waits. */
  push(change: T): void {
    if (this.#failure !== undefined) return;
    if (this.#waiting.length >= this.#limit) {
      this.#waiting = [];
      this.fail(
        new StoreError("slow", `the reader of a watch fell ${this.#limit} changes behind; start anew`),
      );
      return;
    }
    this.#waiting.push(change);
    this.#wake?.();
  }

  /** What waits is still delivered; then the reader gets `cause`. */
  fail(cause: StoreError): void {
    this.#failure ??= cause;
    this.#wake?.();
  }

  /** Everything that waits, at least one change. Ends with `undefined` when the signal is aborted. */
  async take(signal: AbortSignal): Promise<readonly T[] | undefined> {
    while (this.#waiting.length === 0) {
      if (signal.aborted) return undefined;
      if (this.#failure !== undefined) throw this.#failure;
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = (): void => resolve();
      this.#wake = wake;
      signal.addEventListener("abort", wake, { once: true });
      await promise;
      signal.removeEventListener("abort", wake);
      this.#wake = undefined;
    }
    const changes = this.#waiting;
    this.#waiting = [];
    return changes;
  }
}
