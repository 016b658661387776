import { systemClock } from "#lib/clock.ts";

/**
 * Waits until it holds, for what tells nobody of its changes: a kernel, a file, another program. Long enough for a
 * machine that does many other things; whoever waits for an event of our own should wait for that.
 * @param what it is that should come, for the message.
 * @returns what `holds` has found.
 * @throws Error when it does not come within the time.
 */
export async function until<T>(
  what: string,
  holds: () => T | Promise<T>,
  withinMs = 30_000,
): Promise<Exclude<T, false | undefined>> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    const found = await holds();
    if (isThere(found)) return found;
    if (performance.now() > deadlineMs)
      throw new Error(
        `it did not come to this in ${withinMs} ms: ${what}; the last look found ${String(found)}`,
      );
    await systemClock.sleep(20, AbortSignal.timeout(withinMs + 1_000));
  }
}

function isThere<T>(found: T): found is Exclude<T, false | undefined> {
  return found !== false && found !== undefined;
}
