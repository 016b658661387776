import type { Pod, PodCondition, PodStatus } from "#api/generated/kubernetes.ts";
import type { PodMemory } from "../model.ts";
import { plain } from "./allocation.ts";
import { newestSandbox } from "./container-records.ts";
import { apiTime, containerStatuses, isInitialized, type StatusInput } from "./container-statuses.ts";
import { mustStop } from "./pod-actions.ts";
import { ownedConditions, podConditions } from "./pod-conditions.ts";
import { type Phase, podPhase } from "./pod-phase.ts";
import { qosClass } from "./qos.ts";
import { restartAllTrigger } from "./restart-all.ts";
import { sortPodIps } from "./sort-pod-ips.ts";

/** What a Pod's status is made from. */
export interface PodStatusInput extends StatusInput {
  /** The node's addresses, primary family first. */
  readonly hostIps: readonly string[];
  /** Wall time at which the agent first saw the Pod. */
  readonly firstSeenMs: number;
}

/** The whole status of a Pod as the API should have it. `pod.status` is what the API has now. */
export function podStatus(pod: Pod, input: PodStatusInput): PodStatus {
  const { memory, runtime } = input;
  const statuses = {
    init: containerStatuses(pod, ["init", "sidecar"], input),
    app: containerStatuses(pod, ["app"], input),
    ephemeral: containerStatuses(pod, ["ephemeral"], input),
  };
  const all = [...statuses.init, ...statuses.app];
  const stopping = mustStop(pod, memory);
  const phase = visiblePhase(pod, input, podPhase(pod, all, stopping, memory));
  const sandbox = newestSandbox(runtime);
  const sandboxReady = sandbox?.state === "ready" && (sandbox.network === "node" || sandbox.ips.length > 0);
  const podIps =
    pod.spec?.hostNetwork === true
      ? sandboxReady
        ? input.hostIps
        : []
      : sandboxReady
        ? sortPodIps(sandbox.ips, input.hostIps[0])
        : [];
  const keptIps = podIps.length > 0 ? podIps : stopping ? (pod.status?.podIPs ?? []).map(({ ip }) => ip) : [];
  const verdict = memory.verdict;
  const reason = verdict?.reason ?? pod.status?.reason;
  const message = verdict?.message ?? pod.status?.message;
  const generation = pod.metadata?.generation;
  const conditions = podConditions(pod, {
    phase,
    statuses: all,
    initialized: isInitialized(pod, input),
    sandboxReady,
    resize: memory.resize,
    disruption: verdict?.reason === "Preempting" ? preempted : undefined,
    restartingAll: !stopping && restartAllTrigger(pod, runtime) !== undefined,
  });
  return {
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    phase,
    conditions: mergeConditions(pod.status?.conditions ?? [], conditions, input.nowMs),
    ...(reason === undefined || reason === "" ? {} : { reason }),
    ...(message === undefined || message === "" ? {} : { message }),
    ...(input.hostIps[0] === undefined ? {} : { hostIP: input.hostIps[0] }),
    ...(input.hostIps.length === 0 ? {} : { hostIPs: input.hostIps.map((ip) => ({ ip })) }),
    ...(keptIps[0] === undefined ? {} : { podIP: keptIps[0], podIPs: keptIps.map((ip) => ({ ip })) }),
    startTime: pod.status?.startTime ?? apiTime(input.firstSeenMs),
    ...(statuses.init.length === 0 ? {} : { initContainerStatuses: statuses.init }),
    containerStatuses: statuses.app,
    ...(statuses.ephemeral.length === 0 ? {} : { ephemeralContainerStatuses: statuses.ephemeral }),
    ...wholeResources(pod, memory),
    qosClass: pod.status?.qosClass ?? qosClass(pod),
  };
}

const preempted = "Pod was preempted by Kubelet to accommodate a critical pod.";

/** What the Pod as a whole was granted and has (KEP-2837, KEP-5419). */
function wholeResources(pod: Pod, memory: PodMemory): Pick<PodStatus, "allocatedResources" | "resources"> {
  const granted = pod.spec?.resources;
  if (granted?.limits === undefined && granted?.requests === undefined) return {};
  return {
    allocatedResources: { ...granted.limits, ...granted.requests },
    resources: memory.resize.inEffect ?? plain(granted),
  };
}

/** A final phase stays, and is not shown before nothing runs any more: controllers replace what is final. */
function visiblePhase(pod: Pod, { memory, runtime }: PodStatusInput, computed: Phase): Phase {
  const before = pod.status?.phase;
  if (before === "Succeeded" || before === "Failed") return before;
  const wanted = memory.verdict?.phase ?? computed;
  if (wanted === "Pending" || wanted === "Running") return wanted;
  const runs = runtime.containers.some(({ state }) => state === "running" || state === "unknown");
  if (!runs) return wanted;
  return before === "Pending" ? "Pending" : "Running";
}

/** Ours with their times, in our order, then everybody else's, untouched. */
function mergeConditions(
  before: readonly PodCondition[],
  ours: readonly Omit<PodCondition, "lastTransitionTime">[],
  nowMs: number,
): readonly PodCondition[] {
  const merged = ours.map((condition) => {
    const old = before.find(({ type }) => type === condition.type);
    const since = old?.status === condition.status ? old.lastTransitionTime : undefined;
    return { ...condition, lastTransitionTime: since ?? apiTime(nowMs) };
  });
  const isOurs = (type: string): boolean =>
    ownedConditions.includes(type) || ours.some((condition) => condition.type === type);
  return [...merged, ...before.filter(({ type }) => !isOurs(type))];
}
