import { isDeepStrictEqual } from "node:util";
import type { Pod, PodStatus } from "#api/generated/kubernetes.ts";
import { ownedConditions } from "./pod-conditions.ts";

/**
 * The strategic merge patch that brings a Pod's status in the API to `wanted`: only what differs, and the uid,
 * so that a Pod of the same name is never touched. undefined when nothing differs.
 */
export function statusPatch(pod: Pod, before: PodStatus | undefined, wanted: PodStatus): unknown {
  const changes: Record<string, unknown> = {};
  const old: Readonly<Record<string, unknown>> = { ...before };
  const now: Readonly<Record<string, unknown>> = { ...wanted };
  for (const key of owned) {
    if (isDeepStrictEqual(normal(old[key]), normal(now[key]))) continue;
    changes[key] = now[key] ?? null;
  }
  // Addresses merge by address: to take one away the list has to be replaced.
  if (changes["podIPs"] !== undefined && before?.podIPs !== undefined && before.podIPs.length > 0) {
    changes["podIPs"] = [{ $patch: "replace" }, ...(wanted.podIPs ?? [])];
  }
  // Conditions merge by type, so only ours are sent and everybody else's stay.
  if (wanted.conditions !== undefined && changes["conditions"] !== undefined) {
    const differ = wanted.conditions.filter(
      (condition) => !before?.conditions?.some((same) => isDeepStrictEqual(same, condition)),
    );
    const gone = (before?.conditions ?? [])
      .filter(({ type }) => ownedConditions.includes(type))
      .filter(({ type }) => !wanted.conditions?.some((condition) => condition.type === type))
      .map(({ type }) => ({ $patch: "delete", type }));
    if (differ.length + gone.length > 0) changes["conditions"] = [...differ, ...gone];
    else delete changes["conditions"];
  }
  if (Object.keys(changes).length === 0) return undefined;
  return { metadata: { uid: pod.metadata?.uid }, status: changes };
}

/** Fields that the agent writes; every other one stays as it is. */
const owned = [
  "observedGeneration",
  "phase",
  "conditions",
  "reason",
  "message",
  "hostIP",
  "hostIPs",
  "podIP",
  "podIPs",
  "startTime",
  "initContainerStatuses",
  "containerStatuses",
  "ephemeralContainerStatuses",
  "allocatedResources",
  "resources",
  "qosClass",
] as const;

/** An empty list and nothing are the same to the API. */
function normal(value: unknown): unknown {
  return Array.isArray(value) && value.length === 0 ? undefined : value;
}
