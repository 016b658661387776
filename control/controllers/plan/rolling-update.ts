import type { Deployment, ReplicaSet } from "#api/generated/kubernetes.ts";
import { byAge, desiredAnnotation, maxReplicasOf } from "./deployment-replica-sets.ts";
import { isRecreate, rollingLimits, wantedReplicas } from "./deployment-strategy.ts";

/** A ReplicaSet and the size it is to get. */
export interface Resize {
  readonly set: ReplicaSet;
  readonly replicas: number;
}

/** Size asked of a ReplicaSet. */
export const sizeOf = (set: ReplicaSet): number => set.spec?.replicas ?? 1;
/** Pods of it that are available. */
export const availableOf = (set: ReplicaSet): number => set.status?.availableReplicas ?? 0;
export const total = (sets: readonly ReplicaSet[], of: (set: ReplicaSet) => number): number =>
  sets.reduce((sum, set) => sum + of(set), 0);

/** The size the new ReplicaSet may have now: as large as `maxSurge` lets it beside the old ones. */
export function newSize(
  deployment: Deployment,
  all: readonly ReplicaSet[],
  current: ReplicaSet | undefined,
): number {
  const wanted = wantedReplicas(deployment);
  if (isRecreate(deployment)) return wanted;
  const has = current === undefined ? 0 : sizeOf(current);
  if (has >= wanted) return wanted;
  const room = wanted + rollingLimits(deployment).maxSurge - total(all, sizeOf);
  return room <= 0 ? has : has + Math.min(room, wanted - has);
}

/**
 * Old ReplicaSets that may shrink now, so that enough pods stay available: first pods that are not available
 * anyway, then the oldest.
 */
export function shrinkOld(
  deployment: Deployment,
  olds: readonly ReplicaSet[],
  current: ReplicaSet,
): readonly Resize[] {
  const all = [...olds, current];
  const least = wantedReplicas(deployment) - rollingLimits(deployment).maxUnavailable;
  const newMissing = Math.max(0, sizeOf(current) - availableOf(current));
  let budget = total(all, sizeOf) - least - newMissing;
  if (budget <= 0 || total(olds, sizeOf) === 0) return [];
  const sizes = new Map(olds.map((set) => [set, sizeOf(set)]));
  for (const set of byAge(olds)) {
    const broken = Math.min(budget, Math.max(0, sizeOf(set) - availableOf(set)));
    sizes.set(set, sizeOf(set) - broken);
    budget -= broken;
  }
  let spare = Math.max(0, total(all, availableOf) - least);
  for (const set of byAge(olds)) {
    const size = sizes.get(set) ?? 0;
    const fewer = Math.min(size, spare);
    sizes.set(set, size - fewer);
    spare -= fewer;
  }
  return resizes(sizes);
}

/** True when the Deployment was scaled since its ReplicaSets were last sized. */
export function isScaling(deployment: Deployment, all: readonly ReplicaSet[]): boolean {
  return all.some((set) => {
    const desired = set.metadata?.annotations?.[desiredAnnotation];
    return sizeOf(set) > 0 && desired !== undefined && Number(desired) !== wantedReplicas(deployment);
  });
}

/**
 * Sizes after a scaling: the only active ReplicaSet gets it all; in the middle of a rollout every one gets
 * its share, so that a rollout that is broken does not get all the new pods.
 */
export function scaleAll(
  deployment: Deployment,
  olds: readonly ReplicaSet[],
  current: ReplicaSet | undefined,
): readonly Resize[] {
  const all = current === undefined ? olds : [...olds, current];
  const active = all.filter((set) => sizeOf(set) > 0);
  const wanted = wantedReplicas(deployment);
  if (active.length <= 1) {
    const only = active[0] ?? current ?? byAge(olds).at(-1);
    return only === undefined ? [] : resizes(new Map([[only, wanted]]), true);
  }
  if (current !== undefined && isSaturated(deployment, current)) {
    return resizes(new Map(olds.map((set) => [set, 0])));
  }
  if (isRecreate(deployment)) return [];
  return proportional(deployment, active, wanted);
}

function proportional(
  deployment: Deployment,
  active: readonly ReplicaSet[],
  wanted: number,
): readonly Resize[] {
  const allowed = wanted > 0 ? wanted + rollingLimits(deployment).maxSurge : 0;
  const toAdd = allowed - total(active, sizeOf);
  const newestFirst = byAge(active).toReversed();
  // Growing starts with the newest of the largest, shrinking with the oldest of the largest.
  const ordered = (toAdd > 0 ? newestFirst : byAge(active)).toSorted((a, b) => sizeOf(b) - sizeOf(a));
  const sizes = new Map<ReplicaSet, number>();
  let added = 0;
  for (const set of ordered) {
    const before = maxReplicasOf(set) === 0 ? wanted : maxReplicasOf(set);
    const share = toAdd === 0 ? 0 : Math.round((sizeOf(set) * allowed) / before) - sizeOf(set);
    const left = toAdd - added;
    const change = toAdd > 0 ? Math.min(Math.max(0, share), left) : Math.max(Math.min(0, share), left);
    sizes.set(set, sizeOf(set) + change);
    added += change;
  }
  const [first] = ordered;
  if (first !== undefined) sizes.set(first, Math.max(0, (sizes.get(first) ?? 0) + toAdd - added));
  return resizes(sizes, true);
}

function isSaturated(deployment: Deployment, set: ReplicaSet): boolean {
  const wanted = wantedReplicas(deployment);
  const desired = Number(set.metadata?.annotations?.[desiredAnnotation] ?? "-1");
  return sizeOf(set) === wanted && desired === wanted && availableOf(set) === wanted;
}

/** @param touch keeps those that stay as they are, because their annotations still change. */
function resizes(sizes: ReadonlyMap<ReplicaSet, number>, touch: boolean = false): readonly Resize[] {
  return [...sizes]
    .map(([set, replicas]) => ({ set, replicas }))
    .filter(({ set, replicas }) => touch || replicas !== sizeOf(set));
}
