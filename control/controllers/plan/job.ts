import type { Job, JobCondition, JobSpec, JobStatus, Pod } from "#api/generated/kubernetes.ts";
import { formatIndexes, parseIndexes } from "./index-ranges.ts";
import { isPodReady, mostRestarts } from "./pod-state.ts";
import { isoTime, timeMs } from "./times.ts";

/** Keeps a finished pod in the API until it is counted. */
export const trackingFinalizer = "batch.kubernetes.io/job-tracking";
/** Which part of the work a pod of an indexed Job does. */
export const indexAnnotation = "batch.kubernetes.io/job-completion-index";
/** A pod that failed is replaced after this, doubled for each failure in a row. */
const backoff = { firstMs: 10_000, maxMs: 360_000 };

/** What a step does, in this order: write the status, release the pods that it counts, delete, create. */
export interface JobPlan {
  readonly status: JobStatus;
  /** Finished pods whose uids stand in the status: they lose the finalizer. */
  readonly release: readonly Pod[];
  readonly remove: readonly Pod[];
  /** One entry a pod; the index for an indexed Job. */
  readonly create: readonly (number | undefined)[];
  /** Milliseconds until time alone changes something. */
  readonly againInMs: number | undefined;
  /** The Job itself has outlived its `ttlSecondsAfterFinished`. */
  readonly expired: boolean;
}

/** @param pods every pod this Job manages. */
export function planJob(job: Job, pods: readonly Pod[], nowMs: number): JobPlan {
  const spec: JobSpec = job.spec ?? { template: {} };
  const count = countPods(job, spec, pods);
  const base = { release: count.release, remove: [], create: [], expired: false };
  const finished = finishedCondition(job.status);
  if (finished !== undefined) {
    const ttlMs =
      spec.ttlSecondsAfterFinished === undefined ? undefined : spec.ttlSecondsAfterFinished * 1_000;
    const left = ttlMs === undefined ? undefined : timeMs(finished.lastTransitionTime) + ttlMs - nowMs;
    const status = { ...job.status, ...count.numbers };
    return {
      ...base,
      status,
      remove: count.active,
      againInMs: left,
      expired: left !== undefined && left <= 0,
    };
  }
  const startTime = spec.suspend === true ? undefined : (job.status?.startTime ?? isoTime(nowMs));
  const { startTime: _, ...before } = job.status ?? {};
  const status: JobStatus = {
    ...before,
    ...count.numbers,
    ...(startTime === undefined ? {} : { startTime }),
    conditions: withSuspension(job.status?.conditions ?? [], spec.suspend === true, nowMs),
  };
  if (spec.suspend === true && count.verdict(nowMs) !== "complete")
    return { ...base, status, remove: count.active, againInMs: undefined };
  const verdict = count.verdict(nowMs);
  if (verdict !== "running") return concluded(base, status, count, verdict, nowMs);
  const deadlineMs =
    spec.activeDeadlineSeconds === undefined ? undefined : spec.activeDeadlineSeconds * 1_000;
  const deadline = deadlineMs === undefined ? undefined : timeMs(startTime) + deadlineMs - nowMs;
  const missing = count.wanted - count.active.length;
  if (missing < 0)
    return { ...base, status, remove: leastUseful(count.active).slice(0, -missing), againInMs: deadline };
  const wait = missing > 0 ? backoffLeftMs(pods, nowMs) : 0;
  const create = wait > 0 ? [] : nextIndexes(spec, count, missing);
  return { ...base, status, create, againInMs: earliest(deadline, wait > 0 ? wait : undefined) };
}

/** `Complete` or `Failed`, once it is true. */
export function finishedCondition(status: JobStatus | undefined): JobCondition | undefined {
  return status?.conditions?.find(
    ({ type, status: value }) => (type === "Complete" || type === "Failed") && value === "True",
  );
}

type Verdict = "running" | "complete" | "BackoffLimitExceeded" | "DeadlineExceeded";

interface Count {
  readonly numbers: JobStatus;
  readonly active: readonly Pod[];
  readonly release: readonly Pod[];
  /** Nothing is left to count. */
  readonly settled: boolean;
  readonly wanted: number;
  readonly done: ReadonlySet<number>;
  readonly verdict: (nowMs: number) => Verdict;
}

function countPods(job: Job, spec: JobSpec, pods: readonly Pod[]): Count {
  const before = job.status ?? {};
  const isIndexed = spec.completionMode === "Indexed";
  const tracked = pods.filter((pod) => pod.metadata?.finalizers?.includes(trackingFinalizer) === true);
  const trackedUids = new Set(tracked.map(uidOf));
  const ended = (pod: Pod): "succeeded" | "failed" | undefined => endOf(pod, spec);
  // Pods counted in the last round have lost the finalizer by now: their uids become plain numbers.
  const pending = (kind: "succeeded" | "failed"): readonly string[] =>
    before.uncountedTerminatedPods?.[kind] ?? [];
  const flushed = (kind: "succeeded" | "failed"): number =>
    pending(kind).filter((uid) => !trackedUids.has(uid)).length;
  const uncounted = (kind: "succeeded" | "failed"): readonly string[] =>
    tracked.filter((pod) => ended(pod) === kind).map(uidOf);
  const done = new Set(parseIndexes(before.completedIndexes));
  for (const pod of pods) if (isIndexed && ended(pod) === "succeeded") done.add(indexOf(pod));
  const lists = { succeeded: uncounted("succeeded"), failed: uncounted("failed") };
  const failed = (before.failed ?? 0) + flushed("failed");
  const plainSucceeded = (before.succeeded ?? 0) + flushed("succeeded");
  const succeeded = isIndexed ? done.size : plainSucceeded;
  const allSucceeded = isIndexed ? done.size : plainSucceeded + lists.succeeded.length;
  const active = pods.filter(
    (pod) => ended(pod) === undefined && pod.metadata?.deletionTimestamp === undefined,
  );
  const terminating = pods.filter(
    (pod) =>
      pod.metadata?.deletionTimestamp !== undefined &&
      !["Succeeded", "Failed"].includes(pod.status?.phase ?? ""),
  );
  const isEmpty = lists.succeeded.length + lists.failed.length === 0;
  const parallelism = spec.parallelism ?? 1;
  const wanted =
    spec.completions === undefined
      ? allSucceeded > 0
        ? Math.min(active.length, parallelism)
        : parallelism
      : Math.min(parallelism, Math.max(0, spec.completions - allSucceeded));
  return {
    numbers: {
      active: active.length,
      ready: active.filter(isPodReady).length,
      terminating: terminating.length,
      succeeded,
      failed,
      uncountedTerminatedPods: isEmpty
        ? {}
        : {
            ...(lists.succeeded.length === 0 ? {} : { succeeded: lists.succeeded }),
            ...(lists.failed.length === 0 ? {} : { failed: lists.failed }),
          },
      ...(isIndexed ? { completedIndexes: formatIndexes(done) } : {}),
    },
    active,
    release: tracked.filter((pod) => ended(pod) !== undefined),
    settled: isEmpty,
    wanted,
    done,
    verdict: (nowMs) => {
      const limit = spec.backoffLimit ?? 6;
      const restarts = active.reduce((sum, pod) => sum + mostRestarts(pod), 0);
      const isRestarting = spec.template.spec?.restartPolicy === "OnFailure";
      if (failed + lists.failed.length > limit || (isRestarting && restarts > limit))
        return "BackoffLimitExceeded";
      const deadline = spec.activeDeadlineSeconds;
      const isLate =
        deadline !== undefined &&
        before.startTime !== undefined &&
        nowMs - timeMs(before.startTime) >= deadline * 1_000;
      if (isLate && spec.suspend !== true) return "DeadlineExceeded";
      const isDone =
        spec.completions === undefined
          ? allSucceeded > 0 && active.length === 0
          : allSucceeded >= spec.completions;
      return isDone ? "complete" : "running";
    },
  };
}

/** The end is announced first, and stands once no pod runs and every pod is counted. */
function concluded(
  base: Omit<JobPlan, "status" | "againInMs">,
  status: JobStatus,
  count: Count,
  verdict: Exclude<Verdict, "running">,
  nowMs: number,
): JobPlan {
  const texts = {
    complete: ["CompletionsReached", "Reached expected number of succeeded pods"],
    BackoffLimitExceeded: ["BackoffLimitExceeded", "Job has reached the specified backoff limit"],
    DeadlineExceeded: ["DeadlineExceeded", "Job was active longer than specified deadline"],
  } as const;
  const [reason, message] = texts[verdict];
  const [announced, final] =
    verdict === "complete"
      ? (["SuccessCriteriaMet", "Complete"] as const)
      : (["FailureTarget", "Failed"] as const);
  const add = (conditions: readonly JobCondition[], type: string): readonly JobCondition[] =>
    conditions.some((condition) => condition.type === type)
      ? conditions
      : [
          ...conditions,
          {
            type,
            status: "True",
            reason,
            message,
            lastProbeTime: isoTime(nowMs),
            lastTransitionTime: isoTime(nowMs),
          },
        ];
  let conditions = add(status.conditions ?? [], announced);
  const isOver = count.active.length === 0 && (count.numbers.terminating ?? 0) === 0 && count.settled;
  if (isOver) conditions = add(conditions, final);
  const completion = isOver && verdict === "complete" ? { completionTime: isoTime(nowMs) } : {};
  return {
    ...base,
    status: { ...status, conditions, ...completion },
    remove: count.active,
    againInMs: undefined,
  };
}

function endOf(pod: Pod, spec: JobSpec): "succeeded" | "failed" | undefined {
  if (pod.status?.phase === "Succeeded") return "succeeded";
  if (pod.status?.phase === "Failed") return "failed";
  const isReplacedAtOnce = (spec.podReplacementPolicy ?? "TerminatingOrFailed") === "TerminatingOrFailed";
  return pod.metadata?.deletionTimestamp !== undefined && isReplacedAtOnce ? "failed" : undefined;
}

function nextIndexes(spec: JobSpec, count: Count, missing: number): readonly (number | undefined)[] {
  if (spec.completionMode !== "Indexed") return Array.from({ length: missing }, () => undefined);
  const taken = new Set([...count.done, ...count.active.map(indexOf)]);
  const free: number[] = [];
  for (let index = 0; index < (spec.completions ?? 0) && free.length < missing; index += 1) {
    if (!taken.has(index)) free.push(index);
  }
  return free;
}

/** Milliseconds until a failed pod may be replaced: later with each failure since the last success. */
function backoffLeftMs(pods: readonly Pod[], nowMs: number): number {
  const ends = (phase: string): readonly number[] =>
    pods.filter(({ status }) => status?.phase === phase).map(endTime);
  const lastSuccess = Math.max(0, ...ends("Succeeded"));
  const failures = ends("Failed").filter((time) => time >= lastSuccess);
  if (failures.length === 0) return 0;
  const waitMs = Math.min(backoff.maxMs, backoff.firstMs * 2 ** (failures.length - 1));
  return Math.max(0, Math.max(...failures) + waitMs - nowMs);
}

function endTime(pod: Pod): number {
  const times = (pod.status?.containerStatuses ?? []).map(({ state }) =>
    timeMs(state?.terminated?.finishedAt),
  );
  return Math.max(timeMs(pod.metadata?.creationTimestamp), ...times);
}

function withSuspension(
  conditions: readonly JobCondition[],
  suspended: boolean,
  nowMs: number,
): readonly JobCondition[] {
  const before = conditions.find(({ type }) => type === "Suspended");
  if (before === undefined ? !suspended : (before.status === "True") === suspended) return conditions;
  const at = isoTime(nowMs);
  const next = suspended
    ? { type: "Suspended", status: "True", reason: "JobSuspended", message: "Job suspended" }
    : { type: "Suspended", status: "False", reason: "JobResumed", message: "Job resumed" };
  return [
    ...conditions.filter(({ type }) => type !== "Suspended"),
    { ...next, lastProbeTime: at, lastTransitionTime: at },
  ];
}

function leastUseful(pods: readonly Pod[]): readonly Pod[] {
  return pods.toSorted(
    (a, b) =>
      Number(isPodReady(a)) - Number(isPodReady(b)) ||
      timeMs(b.metadata?.creationTimestamp) - timeMs(a.metadata?.creationTimestamp),
  );
}

function indexOf(pod: Pod): number {
  return Number(pod.metadata?.annotations?.[indexAnnotation] ?? "-1");
}

function uidOf(pod: Pod): string {
  return pod.metadata?.uid ?? "";
}

function earliest(...times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}
