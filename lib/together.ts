/** A piece of work that stops when its signal says so. */
export type Task = (signal: AbortSignal) => Promise<void>;

/** Runs tasks side by side. The first failure stops the rest, and nothing outlives the call. */
export async function together(signal: AbortSignal, ...tasks: readonly Task[]): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const run = async (task: Task): Promise<void> => {
    try {
      await task(either);
    } catch (cause) {
      if (!either.aborted) stop.abort(cause);
    }
  };
  await Promise.all(tasks.map(run));
  stop.signal.throwIfAborted();
}
