/**
 * A container that changes its volume all the time, for tests: exchanges two names, each time in one step, on a
 * thread of its own, until it is disposed of.
 */
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import koffi from "koffi";

/** Begins to exchange what the two paths name. */
export async function swapping(one: string, other: string): Promise<AsyncDisposable> {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(import.meta.filename, { workerData: { one, other, stop } });
  await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
  return {
    [Symbol.asyncDispose]: async () => {
      Atomics.store(stop, 0, 1);
      await new Promise((resolve) => worker.once("exit", resolve));
    },
  };
}

if (!isMainThread) swap(workerData as Parameters<typeof swap>[0]);

function swap({
  one,
  other,
  stop,
}: {
  one: string;
  other: string;
  stop: Int32Array<SharedArrayBuffer>;
}): void {
  const renameat2 = koffi
    .load("libc.so.6")
    .func("int renameat2(int from, const char *one, int to, const char *other, unsigned int flags)");
  const [atCwd, exchange] = [-100, 2];
  parentPort?.postMessage("ready");
  while (Atomics.load(stop, 0) === 0) {
    if (Number(renameat2(atCwd, one, atCwd, other, exchange)) !== 0) throw new Error("cannot exchange");
    Atomics.wait(stop, 0, 0, Math.random());
  }
}
