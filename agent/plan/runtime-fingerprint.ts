import type { PodRuntime } from "../model.ts";

/**
 * What the runtime has of one Pod, as far as a look at the whole node can tell whether it changed.
 * Pure; the order in which the runtime lists does not count.
 */
export function runtimeFingerprint({ sandboxes, containers }: PodRuntime): string {
  return [...sandboxes, ...containers]
    .map(({ id, state }) => `${id} ${state}`)
    .toSorted()
    .join("\n");
}
