import { type FSWatcher, watch } from "node:fs";
import type { Clock } from "#lib/clock.ts";

/** Waits for changes in a directory. Hints can be lost, and a machine may have no watch left: it also looks by time. */
export class DirectoryWatch implements Disposable {
  readonly #clock: Clock;
  #watcher: FSWatcher | undefined;
  #changed = false;
  #wake: (() => void) | undefined;

  constructor(directory: string, clock: Clock) {
    this.#clock = clock;
    const changed = (): void => {
      this.#changed = true;
      this.#wake?.();
    };
    try {
      this.#watcher = watch(directory, { persistent: false }, changed);
      this.#watcher.on("error", changed);
    } catch {
      this.#watcher = undefined; // no inotify watch to be had (ENOSPC): time alone tells
    }
  }

  /** Resolves when something has changed since the last call, after `ms`, or with the signal. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#changed && !signal.aborted) {
      const { promise, resolve: done } = Promise.withResolvers<void>();
      const resolve = (): void => done();
      this.#wake = resolve;
      const cancel = this.#clock.after(ms, resolve);
      signal.addEventListener("abort", resolve, { once: true });
      await promise;
      signal.removeEventListener("abort", resolve);
      cancel();
      this.#wake = undefined;
    }
    this.#changed = false;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
  }
}
