import type { Pod, PodCondition } from "#api/generated/kubernetes.ts";

/** The condition of this type, if the pod has one. */
export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

/** The agent says that the pod may get traffic. */
export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, "Ready")?.status === "True";
}

/** Ready for at least `minReadySeconds`. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, nowMs: number): boolean {
  return availableInMs(pod, minReadySeconds, nowMs) === 0;
}

/** Milliseconds until the pod counts as available when it stays ready; undefined when it is not ready. */
export function availableInMs(pod: Pod, minReadySeconds: number, nowMs: number): number | undefined {
  const ready = podCondition(pod, "Ready");
  if (ready?.status !== "True") return undefined;
  if (minReadySeconds === 0) return 0;
  const since = Date.parse(ready.lastTransitionTime ?? "");
  if (Number.isNaN(since)) return undefined;
  return Math.max(0, since + minReadySeconds * 1_000 - nowMs);
}

/** The pod has ended for good: its containers never run again. */
export function isPodFinished(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Not finished and not being deleted: it counts as a replica. */
export function isPodActive(pod: Pod): boolean {
  return !isPodFinished(pod) && pod.metadata?.deletionTimestamp === undefined;
}

/** Restarts of the container that restarted most. */
export function mostRestarts(pod: Pod): number {
  return Math.max(0, ...(pod.status?.containerStatuses ?? []).map((status) => status.restartCount));
}
