import type { Pod, StatefulSet, StatefulSetStatus } from "#api/generated/kubernetes.ts";
import { revisionHashLabel } from "./daemon-set.ts";
import { isPodAvailable, isPodFinished, isPodReady } from "./pod-state.ts";

/** Names of two ControllerRevisions: what pods had, and what they are to get. */
export interface StatefulRevisions {
  readonly current: string;
  readonly update: string;
}

/** What brings a StatefulSet one step nearer; the next change of a pod asks again. */
export interface StatefulPlan {
  /** Ordinals to create, with the revision of each. */
  readonly create: readonly { readonly ordinal: number; readonly revision: string }[];
  readonly remove: readonly Pod[];
  readonly status: StatefulSetStatus;
}

/** @param pods those the set manages, in any order. */
export function planStatefulSet(
  set: StatefulSet,
  pods: readonly Pod[],
  revisions: StatefulRevisions,
  nowMs: number,
): StatefulPlan {
  const status = statusOf(set, pods, revisions, nowMs);
  const nothing: StatefulPlan = { create: [], remove: [], status };
  if (set.metadata?.deletionTimestamp !== undefined) return nothing;
  const ordered = set.spec?.podManagementPolicy !== "Parallel";
  const start = set.spec?.ordinals?.start ?? 0;
  const end = start + (set.spec?.replicas ?? 1);
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod), pod]));
  const isUp = (pod: Pod): boolean => isHealthy(set, pod, nowMs);
  const create: { ordinal: number; revision: string }[] = [];
  const remove: Pod[] = [];
  for (let ordinal = start; ordinal < end; ordinal += 1) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) create.push({ ordinal, revision: revisionFor(set, ordinal - start, revisions) });
    else if (isPodFinished(pod) && pod.metadata?.deletionTimestamp === undefined) remove.push(pod);
    else if (isUp(pod)) continue;
    // One after another: the next waits until this one is up.
    if (ordered) return { ...nothing, create, remove };
  }
  const surplus = pods
    .filter((pod) => ordinalOf(set, pod) < start || ordinalOf(set, pod) >= end)
    .toSorted((a, b) => ordinalOf(set, b) - ordinalOf(set, a));
  if (surplus.length > 0) {
    const doomed = (ordered ? surplus.slice(0, 1) : surplus).filter(
      ({ metadata }) => metadata?.deletionTimestamp === undefined,
    );
    return { ...nothing, create, remove: [...remove, ...doomed] };
  }
  if (create.length + remove.length > 0 || set.spec?.updateStrategy?.type === "OnDelete")
    return { ...nothing, create, remove };
  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  for (let ordinal = end - 1; ordinal >= start + partition; ordinal -= 1) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined || pod.metadata?.deletionTimestamp !== undefined) return nothing;
    if (revisionOf(pod) !== revisions.update) return { ...nothing, remove: [pod] };
    if (!isUp(pod)) return nothing;
  }
  return nothing;
}

/** The number at the end of a pod's name; -1 when the name is not one of this set's. */
export function ordinalOf(set: StatefulSet, pod: Pod): number {
  const prefix = `${set.metadata?.name}-`;
  const name = pod.metadata?.name ?? "";
  const digits = name.startsWith(prefix) ? name.slice(prefix.length) : "";
  return /^\d+$/.test(digits) ? Number(digits) : -1;
}

function isHealthy(set: StatefulSet, pod: Pod, nowMs: number): boolean {
  return (
    pod.metadata?.deletionTimestamp === undefined &&
    !isPodFinished(pod) &&
    isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs)
  );
}

function revisionOf(pod: Pod): string {
  return pod.metadata?.labels?.[revisionHashLabel] ?? "";
}

/** Below the partition pods stay what they were, even when they are made anew. */
function revisionFor(set: StatefulSet, place: number, revisions: StatefulRevisions): string {
  const partition = set.spec?.updateStrategy?.rollingUpdate?.partition ?? 0;
  return place < partition ? revisions.current : revisions.update;
}

function statusOf(
  set: StatefulSet,
  pods: readonly Pod[],
  revisions: StatefulRevisions,
  nowMs: number,
): StatefulSetStatus {
  const replicas = set.spec?.replicas ?? 1;
  const living = pods.filter((pod) => !isPodFinished(pod) && pod.metadata?.deletionTimestamp === undefined);
  const updated = living.filter((pod) => revisionOf(pod) === revisions.update);
  const ready = pods.filter(isPodReady);
  const isDone = updated.length === replicas && pods.length === replicas && updated.every(isPodReady);
  const current = isDone ? revisions.update : revisions.current;
  return {
    observedGeneration: set.metadata?.generation ?? 0,
    replicas: pods.length,
    readyReplicas: ready.length,
    availableReplicas: pods.filter((pod) => isHealthy(set, pod, nowMs)).length,
    currentReplicas: living.filter((pod) => revisionOf(pod) === current).length,
    updatedReplicas: updated.length,
    currentRevision: current,
    updateRevision: revisions.update,
    collisionCount: 0,
  };
}
