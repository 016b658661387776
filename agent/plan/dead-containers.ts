import type { PodRuntime } from "../model.ts";
import { containerRecords } from "./container-records.ts";

/** What may be removed of a Pod that goes on: runs before the last ended one, and sandboxes that were replaced. */
export function deadOf(runtime: PodRuntime): {
  readonly containers: readonly string[];
  readonly sandboxes: readonly string[];
} {
  const containers = [...containerRecords(runtime.containers).values()].flatMap(({ older }) =>
    // One ended run is kept besides the newest, for `logs --previous` and lastState.
    older.filter(({ state }) => state === "exited").slice(1),
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
