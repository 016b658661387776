import type { Deployment, Pod, ReplicaSet } from "#api/generated/kubernetes.ts";
import {
  buildReplicaSet,
  byAge,
  newReplicaSet,
  revisionOf,
  setAnnotations,
  sizeAnnotations,
} from "./deployment-replica-sets.ts";
import type { RolloutNews } from "./deployment-status.ts";
import { deploymentStatus, isComplete } from "./deployment-status.ts";
import { isRecreate } from "./deployment-strategy.ts";
import { isPodFinished } from "./pod-state.ts";
import { isScaling, newSize, type Resize, scaleAll, shrinkOld, sizeOf } from "./rolling-update.ts";
import { isSameJson } from "./same.ts";

/** One write of a rollout. */
export type RolloutAction =
  | { readonly do: "create"; readonly set: ReplicaSet }
  /** `set` as it is now, `next` as it is to be. */
  | { readonly do: "update"; readonly set: ReplicaSet; readonly next: ReplicaSet }
  | { readonly do: "delete"; readonly set: ReplicaSet };

/** What a Deployment's step writes, before its status. */
export interface Rollout {
  readonly actions: readonly RolloutAction[];
  /** Number of the rollout to note on the Deployment; undefined when it stands there already. */
  readonly revision: number | undefined;
  readonly news: RolloutNews;
}

/** @param podsOf the pods of a ReplicaSet; only `Recreate` asks. */
export function planRollout(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
  podsOf: (set: ReplicaSet) => readonly Pod[],
  nowMs: number,
): Rollout {
  const current = newReplicaSet(deployment, sets);
  const olds = sets.filter((set) => set !== current);
  const paused = deployment.spec?.paused === true;
  if (deployment.metadata?.deletionTimestamp !== undefined) return quiet;
  if (paused || isScaling(deployment, sets)) {
    const actions = scaleAll(deployment, olds, current).map((resize) => resized(deployment, resize));
    return { ...quiet, actions: [...actions.filter(isChange), ...(paused ? surplus(deployment, olds) : [])] };
  }
  const revision = Math.max(0, ...olds.map(revisionOf)) + 1;
  const shrunk = isRecreate(deployment)
    ? olds.filter((set) => sizeOf(set) > 0).map((set) => ({ set, replicas: 0 }))
    : [];
  if (shrunk.length > 0) return { ...quiet, actions: shrunk.map((resize) => resized(deployment, resize)) };
  if (isRecreate(deployment) && olds.some((set) => podsOf(set).some((pod) => !isPodFinished(pod))))
    return quiet;
  if (current === undefined) {
    const set = buildReplicaSet(deployment, newSize(deployment, sets, undefined), revision);
    return { actions: [{ do: "create", set }], revision, news: { created: set.metadata?.name ?? "" } };
  }
  const noted = Math.max(revision, revisionOf(current));
  const base: Rollout = {
    actions: [],
    revision: revisionOf(deployment) === noted ? undefined : noted,
    news: { found: current.metadata?.name ?? "" },
  };
  const grown = withSize(deployment, current, newSize(deployment, sets, current), revision);
  if (isChange(grown)) return { ...base, actions: [grown] };
  const fewer = shrinkOld(deployment, olds, current).map((resize) => resized(deployment, resize));
  if (fewer.length > 0) return { ...base, actions: fewer };
  const status = deploymentStatus(deployment, olds, current, {}, nowMs);
  return { ...base, actions: isComplete(deployment, status) ? surplus(deployment, olds) : [] };
}

/** `Scaled up replica set web-abc from 0 to 2`; undefined when the size stays. */
export function scalingMessage(action: RolloutAction): string | undefined {
  if (action.do === "delete") return undefined;
  const from = action.do === "create" ? 0 : sizeOf(action.set);
  const to = sizeOf(action.do === "create" ? action.set : action.next);
  if (from === to) return undefined;
  return `Scaled ${to > from ? "up" : "down"} replica set ${action.set.metadata?.name} from ${from} to ${to}`;
}

const quiet: Rollout = { actions: [], revision: undefined, news: {} };

/** Old ReplicaSets beyond the history that is kept, oldest rollout first. */
function surplus(deployment: Deployment, olds: readonly ReplicaSet[]): readonly RolloutAction[] {
  const keep = deployment.spec?.revisionHistoryLimit ?? 10;
  const empty = olds.filter(
    (set) =>
      sizeOf(set) === 0 &&
      (set.status?.replicas ?? 0) === 0 &&
      (set.status?.observedGeneration ?? 0) >= (set.metadata?.generation ?? 0) &&
      set.metadata?.deletionTimestamp === undefined,
  );
  const count = Math.max(0, olds.length - keep);
  return byAge(empty)
    .toSorted((a, b) => revisionOf(a) - revisionOf(b))
    .slice(0, count)
    .map((set) => ({ do: "delete", set }));
}

function resized(deployment: Deployment, { set, replicas }: Resize): RolloutAction {
  const annotations = { ...set.metadata?.annotations, ...sizeAnnotations(deployment) };
  return {
    do: "update",
    set,
    next: { ...set, metadata: { ...set.metadata, annotations }, spec: specWith(set, { replicas }) },
  };
}

function withSize(
  deployment: Deployment,
  set: ReplicaSet,
  replicas: number,
  revision: number,
): RolloutAction {
  const annotations = setAnnotations(deployment, set, revision);
  const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
  const changes =
    (set.spec?.minReadySeconds ?? 0) === minReadySeconds ? { replicas } : { replicas, minReadySeconds };
  return {
    do: "update",
    set,
    next: { ...set, metadata: { ...set.metadata, annotations }, spec: specWith(set, changes) },
  };
}

function specWith(
  set: ReplicaSet,
  changes: { readonly replicas: number; readonly minReadySeconds?: number },
): NonNullable<ReplicaSet["spec"]> {
  return { selector: {}, ...set.spec, ...changes };
}

function isChange(action: RolloutAction): boolean {
  if (action.do !== "update") return true;
  const { set, next } = action;
  return (
    sizeOf(set) !== sizeOf(next) ||
    (set.spec?.minReadySeconds ?? 0) !== (next.spec?.minReadySeconds ?? 0) ||
    !isSameJson(set.metadata?.annotations, next.metadata?.annotations)
  );
}
