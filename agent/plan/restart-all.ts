import type { Pod } from "#api/generated/kubernetes.ts";
import type { PodRuntime } from "../model.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { containerRecords } from "./container-records.ts";
import { containersOf } from "./containers-of.ts";
import { restartsAll } from "./restart-policy.ts";

/**
 * The container whose end makes all containers of the Pod run anew (KEP-5532); undefined when none does. The record of
 * its end is the only sign that this is under way: it is removed last, so that nobody who begins anew misses it.
 */
export function restartAllTrigger(pod: Pod, runtime: PodRuntime): ContainerStatus | undefined {
  const records = containerRecords(runtime.containers);
  for (const { kind, container } of containersOf(pod)) {
    const newest = records.get(container.name)?.newest;
    if (kind === "ephemeral" || newest?.state !== "exited") continue;
    if (restartsAll(container, newest.exitCode)) return newest;
  }
  return undefined;
}
