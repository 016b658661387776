import type { WorkQueue } from "./work-queue.ts";

/** One step: read the world for this key, plan, apply. Idempotent. */
export type Step<K extends string> = (key: K, signal: AbortSignal) => Promise<void>;

/**
 * Works on dirty keys until the signal is aborted. N workers are N calls over one queue.
 * @param failed told of every failure, with the number of failures in a row; it logs.
 */
export async function reconcile<K extends string>(
  dirty: WorkQueue<K>,
  step: Step<K>,
  failed: (key: K, cause: unknown) => void,
  signal: AbortSignal,
): Promise<void> {
  for await (const key of dirty.take(signal)) {
    try {
      await step(key, signal);
      dirty.done(key);
    } catch (cause) {
      if (signal.aborted) return;
      dirty.retry(key, cause); // longer each time; the last cause is what health shows
      failed(key, cause);
    }
  }
}
