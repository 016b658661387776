import type {
  Deployment,
  DeploymentCondition,
  DeploymentStatus,
  ReplicaSet,
} from "#api/generated/kubernetes.ts";
import { rollingLimits, wantedReplicas } from "./deployment-strategy.ts";
import { availableOf, sizeOf, total } from "./rolling-update.ts";
import { isoTime, timeMs } from "./times.ts";

/** `progressDeadlineSeconds` of this or more means that there is none. */
const noDeadline = 2_147_483_647;

/** What a rollout's step did, for the condition `Progressing`. */
export interface RolloutNews {
  /** The ReplicaSet that this step created or found without any condition yet. */
  readonly created?: string;
  readonly found?: string;
}

/** The status as the ReplicaSets' own statuses add up, with conditions as `kubectl rollout status` reads them. */
export function deploymentStatus(
  deployment: Deployment,
  olds: readonly ReplicaSet[],
  current: ReplicaSet | undefined,
  news: RolloutNews,
  nowMs: number,
): DeploymentStatus {
  const all = current === undefined ? olds : [...olds, current];
  const wanted = wantedReplicas(deployment);
  const available = total(all, availableOf);
  const before = deployment.status ?? {};
  const counts = {
    observedGeneration: deployment.metadata?.generation ?? 0,
    replicas: total(all, (set) => set.status?.replicas ?? 0),
    updatedReplicas: current?.status?.replicas ?? 0,
    readyReplicas: total(all, (set) => set.status?.readyReplicas ?? 0),
    availableReplicas: available,
    terminatingReplicas: total(all, (set) => set.status?.terminatingReplicas ?? 0),
    unavailableReplicas: Math.max(0, total(all, sizeOf) - available),
    ...(before.collisionCount === undefined ? {} : { collisionCount: before.collisionCount }),
  };
  let conditions = before.conditions ?? [];
  const enough = available >= wanted - rollingLimits(deployment).maxUnavailable;
  conditions = withCondition(
    conditions,
    enough
      ? ["Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability."]
      : [
          "Available",
          "False",
          "MinimumReplicasUnavailable",
          "Deployment does not have minimum availability.",
        ],
    nowMs,
  );
  conditions = withProgress(deployment, { ...counts, conditions }, current, news, nowMs);
  const failure = all
    .flatMap((set) => set.status?.conditions ?? [])
    .find((condition) => condition.type === "ReplicaFailure" && condition.status === "True");
  conditions =
    failure === undefined
      ? conditions.filter(({ type }) => type !== "ReplicaFailure")
      : withCondition(
          conditions,
          ["ReplicaFailure", "True", failure.reason ?? "", failure.message ?? ""],
          nowMs,
        );
  return { ...counts, conditions };
}

/** Everything updated, everything available, nothing old left. */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = wantedReplicas(deployment);
  return (
    status.updatedReplicas === wanted &&
    status.replicas === wanted &&
    status.availableReplicas === wanted &&
    (status.observedGeneration ?? 0) >= (deployment.metadata?.generation ?? 0)
  );
}

/** Milliseconds until the rollout counts as stuck; undefined when it is complete, paused or has no deadline. */
export function deadlineInMs(
  deployment: Deployment,
  status: DeploymentStatus,
  nowMs: number,
): number | undefined {
  const seconds = deployment.spec?.progressDeadlineSeconds ?? 600;
  const progress = status.conditions?.find(({ type }) => type === "Progressing");
  if (seconds >= noDeadline || deployment.spec?.paused === true || progress === undefined) return undefined;
  if (progress.reason === "NewReplicaSetAvailable" || progress.status === "False") return undefined;
  return Math.max(0, timeMs(progress.lastUpdateTime) + seconds * 1_000 - nowMs);
}

function withProgress(
  deployment: Deployment,
  status: DeploymentStatus,
  current: ReplicaSet | undefined,
  news: RolloutNews,
  nowMs: number,
): readonly DeploymentCondition[] {
  const conditions = status.conditions ?? [];
  const before = deployment.status ?? {};
  const progress = conditions.find(({ type }) => type === "Progressing");
  if ((deployment.spec?.progressDeadlineSeconds ?? 600) >= noDeadline)
    return conditions.filter(({ type }) => type !== "Progressing");
  const say = (value: string, reason: string, message: string): readonly DeploymentCondition[] =>
    withCondition(conditions, ["Progressing", value, reason, message], nowMs);
  if (deployment.spec?.paused === true) return say("Unknown", "DeploymentPaused", "Deployment is paused");
  const resumed = progress?.reason === "DeploymentPaused";
  const name = current?.metadata?.name;
  const subject = name === undefined ? `Deployment "${deployment.metadata?.name}"` : `ReplicaSet "${name}"`;
  // A finished rollout stays finished: pods that come and go later are no progress of it.
  const wasComplete =
    status.replicas === status.updatedReplicas && progress?.reason === "NewReplicaSetAvailable";
  if (news.created !== undefined)
    return say("True", "NewReplicaSetCreated", `Created new replica set "${news.created}"`);
  if (wasComplete && (progress.message ?? "").includes(`"${name}"`)) return conditions;
  if (isComplete(deployment, status))
    return say("True", "NewReplicaSetAvailable", `${subject} has successfully progressed.`);
  if (isProgressing(before, status)) {
    const updated = withCondition(
      conditions,
      ["Progressing", "True", "ReplicaSetUpdated", `${subject} is progressing.`],
      nowMs,
    );
    return updated.map((condition) =>
      condition.type === "Progressing" ? { ...condition, lastUpdateTime: isoTime(nowMs) } : condition,
    );
  }
  if (resumed) return say("Unknown", "DeploymentResumed", "Deployment is resumed");
  if (progress === undefined) {
    return news.found === undefined
      ? conditions
      : say("True", "FoundNewReplicaSet", `Found new replica set "${news.found}"`);
  }
  const wait = deadlineInMs(deployment, status, nowMs);
  return wait === 0
    ? say("False", "ProgressDeadlineExceeded", `${subject} has timed out progressing.`)
    : conditions;
}

function isProgressing(before: DeploymentStatus, now: DeploymentStatus): boolean {
  const oldBefore = (before.replicas ?? 0) - (before.updatedReplicas ?? 0);
  const oldNow = (now.replicas ?? 0) - (now.updatedReplicas ?? 0);
  return (
    (now.updatedReplicas ?? 0) > (before.updatedReplicas ?? 0) ||
    oldNow < oldBefore ||
    (now.readyReplicas ?? 0) > (before.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before.availableReplicas ?? 0)
  );
}

function withCondition(
  conditions: readonly DeploymentCondition[],
  [type, status, reason, message]: readonly [string, string, string, string],
  nowMs: number,
): readonly DeploymentCondition[] {
  const before = conditions.find((condition) => condition.type === type);
  if (before?.status === status && before.reason === reason && before.message === message) return conditions;
  const at = isoTime(nowMs);
  const lastTransitionTime = before?.status === status ? (before.lastTransitionTime ?? at) : at;
  const next = { type, status, reason, message, lastUpdateTime: at, lastTransitionTime };
  return [...conditions.filter((condition) => condition.type !== type), next];
}
