import type {
  Pod,
  PodTemplateSpec,
  ReplicaSetCondition,
  ReplicaSetStatus,
} from "#api/generated/kubernetes.ts";
import { type Labels, matches, type Requirement } from "#api/selectors.ts";
import { controllerOf } from "./owners.ts";
import {
  availableInMs,
  isPodActive,
  isPodAvailable,
  isPodReady,
  mostRestarts,
  podCondition,
} from "./pod-state.ts";
import { isoTime, timeMs } from "./times.ts";

/** Pods created or deleted in one step at most. */
const burst = 500;

/** A ReplicaSet or a ReplicationController, seen as what they share. */
export interface ReplicaOwner {
  readonly uid: string;
  readonly replicas: number;
  readonly minReadySeconds: number;
  readonly requirements: readonly Requirement[];
  readonly template: PodTemplateSpec | undefined;
  readonly deleting: boolean;
  readonly generation: number;
  readonly status: ReplicaSetStatus;
}

/** Which pods change hands. */
export interface Claims {
  readonly adopt: readonly Pod[];
  readonly release: readonly Pod[];
  readonly keep: readonly Pod[];
}

/**
 * @param owned pods whose managing owner this is.
 * @param orphans pods of the namespace that nobody manages.
 */
export function planClaims(owner: ReplicaOwner, owned: readonly Pod[], orphans: readonly Pod[]): Claims {
  const isOurs = (pod: Pod): boolean => matches(owner.requirements, pod.metadata?.labels);
  const kept = owned.filter((pod) => controllerOf(pod)?.uid === owner.uid);
  return {
    adopt: owner.deleting ? [] : orphans.filter((pod) => isOurs(pod) && isPodActive(pod)),
    release: owner.deleting ? [] : kept.filter((pod) => !isOurs(pod) && isPodActive(pod)),
    keep: kept.filter(isOurs),
  };
}

/** What brings the number of active pods to the wanted one. */
export type ReplicaAction =
  | { readonly do: "nothing" }
  | { readonly do: "create"; readonly count: number }
  | { readonly do: "delete"; readonly pods: readonly Pod[] };

/** @param related active pods of the same application, for spreading what stays over the nodes. */
export function planReplicas(
  owner: ReplicaOwner,
  pods: readonly Pod[],
  related: readonly Pod[],
  nowMs: number,
): ReplicaAction {
  const active = pods.filter(isPodActive);
  const surplus = active.length - owner.replicas;
  if (owner.deleting || surplus === 0) return { do: "nothing" };
  if (surplus < 0) return { do: "create", count: Math.min(burst, -surplus) };
  return { do: "delete", pods: inDeletionOrder(active, related, nowMs).slice(0, Math.min(burst, surplus)) };
}

/**
 * Pods with the most dispensable first: without a node, pending, not ready, cheap by annotation, sharing a
 * node with more of their kind, ready for less long, restarted more, younger.
 */
export function inDeletionOrder(
  pods: readonly Pod[],
  related: readonly Pod[],
  nowMs: number,
): readonly Pod[] {
  const onNode = new Map<string, number>();
  for (const pod of related) {
    const node = pod.spec?.nodeName ?? "";
    onNode.set(node, (onNode.get(node) ?? 0) + 1);
  }
  const ranks = pods.map((pod) => ({ pod, rank: deletionRank(pod, onNode, nowMs) }));
  return ranks
    .sort((a, b) => {
      const at = a.rank.findIndex((value, place) => value !== b.rank[place]);
      return at < 0 ? 0 : (a.rank[at] ?? 0) - (b.rank[at] ?? 0);
    })
    .map(({ pod }) => pod);
}

/** The n-th batch of a slow start: 1, 2, 4, ... so that a quota refuses one pod and not five hundred. */
export function slowStartBatch(done: number, left: number): number {
  return Math.min(left, Math.max(1, done + 1));
}

/** The status these pods give. A failure of this step stands in condition `ReplicaFailure`. */
export function replicaStatus(
  owner: ReplicaOwner,
  pods: readonly Pod[],
  failure: { readonly reason: string; readonly message: string } | undefined,
  nowMs: number,
): ReplicaSetStatus {
  const active = pods.filter(isPodActive);
  const labels: Labels = owner.template?.metadata?.labels ?? {};
  const wanted = Object.entries(labels);
  const terminating = pods.filter(
    (pod) =>
      pod.metadata?.deletionTimestamp !== undefined &&
      !["Succeeded", "Failed"].includes(pod.status?.phase ?? ""),
  );
  const conditions = replicaConditions(owner.status.conditions ?? [], failure, nowMs);
  return {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) =>
      wanted.every(([key, value]) => pod.metadata?.labels?.[key] === value),
    ).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) => isPodAvailable(pod, owner.minReadySeconds, nowMs)).length,
    terminatingReplicas: terminating.length,
    observedGeneration: owner.generation,
    ...(conditions.length === 0 ? {} : { conditions }),
  };
}

/** Milliseconds until the next pod becomes available by age alone; undefined when none will. */
export function nextAvailableMs(
  owner: ReplicaOwner,
  pods: readonly Pod[],
  nowMs: number,
): number | undefined {
  const waits = pods
    .filter(isPodActive)
    .map((pod) => availableInMs(pod, owner.minReadySeconds, nowMs))
    .filter((wait) => wait !== undefined && wait > 0);
  return waits.length === 0 ? undefined : Math.min(...waits.map((wait) => wait ?? 0));
}

function deletionRank(pod: Pod, onNode: ReadonlyMap<string, number>, nowMs: number): readonly number[] {
  const phases: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };
  const readySince = isPodReady(pod) ? timeMs(podCondition(pod, "Ready")?.lastTransitionTime) : 0;
  const cost = Number(pod.metadata?.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? "0");
  return [
    (pod.spec?.nodeName ?? "") === "" ? 0 : 1,
    phases[pod.status?.phase ?? "Pending"] ?? 0,
    isPodReady(pod) ? 1 : 0,
    Number.isFinite(cost) ? cost : 0,
    -(onNode.get(pod.spec?.nodeName ?? "") ?? 0),
    readySince === 0 ? 0 : nowMs - readySince,
    -mostRestarts(pod),
    nowMs - timeMs(pod.metadata?.creationTimestamp),
  ];
}

function replicaConditions(
  before: readonly ReplicaSetCondition[],
  failure: { readonly reason: string; readonly message: string } | undefined,
  nowMs: number,
): readonly ReplicaSetCondition[] {
  const others = before.filter((condition) => condition.type !== "ReplicaFailure");
  if (failure === undefined) return others;
  const known = before.find((condition) => condition.type === "ReplicaFailure");
  if (known?.reason === failure.reason && known.status === "True") return before;
  return [
    ...others,
    { type: "ReplicaFailure", status: "True", lastTransitionTime: isoTime(nowMs), ...failure },
  ];
}
