import type { Container } from "#api/generated/kubernetes.ts";
import { amountsOf } from "#api/pod-requests.ts";
import type { PodMemory } from "../model.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { containerResourcesAtStart, plain, type Resources, sameResources } from "./allocation.ts";

/** What a running container needs to have what it was granted. */
export type ResizeNeed = "none" | "update" | "restart";

/** Limits of the Pod's cgroup; undefined where there is none. */
export interface PodLimits {
  readonly cpuShares: number | undefined;
  /** Microseconds of a 100 ms period. */
  readonly cpuQuota: number | undefined;
  readonly memoryBytes: number | undefined;
}

/** What the container has now: what it was changed to, else what it was made with; undefined when nobody knows. */
export function actuatedResources(
  memory: Pick<PodMemory, "actuated">,
  container: ContainerStatus,
): Resources | undefined {
  return memory.actuated.get(container.id) ?? containerResourcesAtStart(container);
}

/** What a resize asks of a container, by its `resizePolicy`: only CPU and memory are looked at. */
export function resizeNeed(granted: Container, actuated: Resources | undefined): ResizeNeed {
  if (actuated === undefined) return "none"; // made by another agent, with what the spec said then
  const wanted = plain(granted.resources);
  if (sameResources(wanted, actuated)) return "none";
  const changed = (["cpu", "memory"] as const).filter(
    (name) => amountText(wanted, name) !== amountText(actuated, name),
  );
  if (changed.length === 0) return "none";
  const policies = granted.resizePolicy ?? [];
  return changed.some((name) =>
    policies.some((policy) => policy.resourceName === name && policy.restartPolicy === "RestartContainer"),
  )
    ? "restart"
    : "update";
}

/** The Pod's limits while its containers change: never below what it had or what it gets. */
export function limitsMeanwhile(before: PodLimits, after: PodLimits): PodLimits {
  return {
    cpuShares: larger(before.cpuShares, after.cpuShares),
    cpuQuota: larger(before.cpuQuota, after.cpuQuota),
    memoryBytes: larger(before.memoryBytes, after.memoryBytes),
  };
}

/** Those that get less come first: together the containers never have more than the Pod. */
export function shrinksFirst<T extends { readonly before: Resources; readonly after: Resources }>(
  changes: readonly T[],
): readonly T[] {
  const isGrowth = ({ before, after }: T): number =>
    (["cpu", "memory"] as const).some(
      (name) =>
        (amountsOf(after.limits)[name] ?? Number.POSITIVE_INFINITY) >
        (amountsOf(before.limits)[name] ?? Number.POSITIVE_INFINITY),
    )
      ? 1
      : 0;
  return changes.toSorted((a, b) => isGrowth(a) - isGrowth(b));
}

/** Without a limit is more than any. */
function larger(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? undefined : Math.max(a, b);
}

function amountText({ limits, requests }: Resources, name: string): string {
  return `${amountsOf(limits)[name] ?? ""}/${amountsOf(requests)[name] ?? ""}`;
}
