import type { PodRuntime } from "../model.ts";
import { containerRecords } from "./container-records.ts";

/**
 * What may be removed of a Pod that goes on: ended runs beyond those kept, and sandboxes that were replaced.
 * @param keep ended runs of each container besides its newest; below zero for all of them.
 */
export function deadOf(
  runtime: PodRuntime,
  keep: number,
): {
  readonly containers: readonly string[];
  readonly sandboxes: readonly string[];
} {
  const containers = [...containerRecords(runtime.containers).values()].flatMap(({ older }) =>
    // The newest of them is what `logs --previous` and lastState show.
    keep < 0 ? [] : older.filter(({ state }) => state === "exited").slice(keep),
  );
  const removed = new Set(containers.map(({ id }) => id));
  const newest = runtime.sandboxes.toSorted(
    (a, b) => b.attempt - a.attempt || b.createdAtMs - a.createdAtMs,
  )[0];
  const sandboxes = runtime.sandboxes.filter(
    ({ id, state }) =>
      id !== newest?.id &&
      state === "not-ready" &&
      !runtime.containers.some((container) => container.sandboxId === id && !removed.has(container.id)),
  );
  return { containers: containers.map(({ id }) => id), sandboxes: sandboxes.map(({ id }) => id) };
}
