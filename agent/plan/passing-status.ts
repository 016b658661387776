import type { PodStatus } from "#api/generated/kubernetes.ts";

/** What a container that is about to be made waits with. */
const passing: ReadonlySet<string | undefined> = new Set(["ContainerCreating", "PodInitializing"]);

/**
 * Whether a status says only that a Pod is being started: most start within a quarter of a second, and then what it
 * says next is all that anybody wants to know.
 */
export function isPassingStatus(status: PodStatus): boolean {
  if (status.phase !== "Pending" || status.reason !== undefined) return false;
  const containers = [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])];
  return (
    containers.length > 0 &&
    containers.every(({ restartCount, state }) => restartCount === 0 && passing.has(state?.waiting?.reason))
  );
}
