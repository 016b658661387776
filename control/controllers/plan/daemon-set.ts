import type {
  DaemonSet,
  DaemonSetStatus,
  Node,
  Pod,
  PodTemplateSpec,
  Toleration,
} from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";
import { matchesNodeSelection } from "#api/node-affinity.ts";
import { untolerated } from "#api/tolerations.ts";
import { controllerReference } from "./owners.ts";
import { isPodAvailable, isPodFinished, isPodReady } from "./pod-state.ts";
import { timeMs } from "./times.ts";

/** Tells the pods of one template from those of another. */
export const revisionHashLabel = "controller-revision-hash";

/** Conditions of a node that a daemon runs through: it is there to mend them, or at least to watch. */
const always: readonly Toleration[] = [
  ...["not-ready", "unreachable"].map((name) => ({ key: name, effect: "NoExecute" })),
  ...["disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"].map((name) => ({
    key: name,
    effect: "NoSchedule",
  })),
].map(({ key, effect }) => ({ key: `node.kubernetes.io/${key}`, operator: "Exists", effect }));
const forHostNetwork: Toleration = {
  key: "node.kubernetes.io/network-unavailable",
  operator: "Exists",
  effect: "NoSchedule",
};

/** What brings a DaemonSet to one pod on every node it is for. */
export interface DaemonPlan {
  /** Names of nodes that get a pod. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
  /** Those of `remove` that failed, which is worth an event. */
  readonly failed: readonly Pod[];
  readonly status: DaemonSetStatus;
}

/** @param hash of the template that pods are to have. */
export function planDaemonSet(
  set: DaemonSet,
  nodes: readonly Node[],
  pods: readonly Pod[],
  hash: string,
  nowMs: number,
): DaemonPlan {
  const byNode = Map.groupBy(pods, nodeOf);
  const create: string[] = [];
  const remove: Pod[] = [];
  const failed: Pod[] = [];
  const running: Pod[] = [];
  let misscheduled = 0;
  let desired = 0;
  const names = new Set(nodes.map((node) => node.metadata?.name ?? ""));
  for (const node of nodes) {
    const name = node.metadata?.name ?? "";
    const here = byNode.get(name) ?? [];
    const living = oldestFirst(here.filter((pod) => !isPodFinished(pod)));
    const wanted = fitness(set, node);
    if (wanted !== "no" && (wanted === "yes" || living.length > 0)) {
      if (wanted === "yes") desired += 1;
      const ended = here.filter((pod) => isPodFinished(pod) && pod.metadata?.deletionTimestamp === undefined);
      failed.push(...ended.filter(({ status }) => status?.phase === "Failed"));
      remove.push(...ended, ...living.slice(1));
      const [keeper] = living;
      if (keeper !== undefined) running.push(keeper);
      else if (here.length === 0) create.push(name);
    } else {
      misscheduled += living.length > 0 ? 1 : 0;
      remove.push(...here);
    }
  }
  // Pods on nodes that are gone are the pod collector's, but one that was never placed is ours.
  remove.push(...pods.filter((pod) => !names.has(nodeOf(pod)) && (pod.spec?.nodeName ?? "") === ""));
  const deleting = set.metadata?.deletionTimestamp !== undefined;
  const updated = running.filter((pod) => pod.metadata?.labels?.[revisionHashLabel] === hash);
  const isUp = (pod: Pod): boolean =>
    pod.metadata?.deletionTimestamp === undefined &&
    isPodAvailable(pod, set.spec?.minReadySeconds ?? 0, nowMs);
  const available = running.filter(isUp).length;
  const old = running.filter(
    (pod) => !updated.includes(pod) && pod.metadata?.deletionTimestamp === undefined,
  );
  const replaced =
    remove.length === 0 && create.length === 0 ? outdated(set, old, desired, available, isUp) : [];
  return {
    create: deleting ? [] : create,
    remove: deleting
      ? []
      : [...remove, ...replaced].filter((pod) => pod.metadata?.deletionTimestamp === undefined),
    failed: deleting ? [] : failed,
    status: {
      desiredNumberScheduled: desired,
      currentNumberScheduled: running.length,
      numberMisscheduled: misscheduled,
      numberReady: running.filter(isPodReady).length,
      numberAvailable: available,
      numberUnavailable: Math.max(0, desired - available),
      updatedNumberScheduled: updated.length,
      observedGeneration: set.metadata?.generation ?? 0,
    },
  };
}

/** The pod of a DaemonSet for one node: the scheduler places it, and can place it nowhere else. */
export function buildDaemonPod(resource: Resource, set: DaemonSet, node: string, hash: string): Pod {
  const template: PodTemplateSpec = set.spec?.template ?? {};
  const { name = "", namespace = "" } = set.metadata ?? {};
  const metadata = {
    ...template.metadata,
    namespace,
    generateName: `${name}-`,
    labels: { ...template.metadata?.labels, [revisionHashLabel]: hash },
    ownerReferences: [controllerReference(resource, set)],
  };
  if (template.spec === undefined) return { metadata };
  const required = {
    nodeSelectorTerms: [{ matchFields: [{ key: "metadata.name", operator: "In", values: [node] }] }],
  };
  const { affinity } = template.spec;
  return {
    metadata,
    spec: {
      ...template.spec,
      tolerations: tolerationsOf(set),
      affinity: {
        ...affinity,
        nodeAffinity: { ...affinity?.nodeAffinity, requiredDuringSchedulingIgnoredDuringExecution: required },
      },
    },
  };
}

/** The node a daemon's pod is on, or is meant for. */
export function nodeOf(pod: Pod): string {
  const terms =
    pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  const meant = terms[0]?.matchFields?.find(({ key }) => key === "metadata.name")?.values?.[0];
  return (pod.spec?.nodeName ?? "") === "" ? (meant ?? "") : (pod.spec?.nodeName ?? "");
}

/** `stay`: a pod that is there may stay, but none is started. */
function fitness(set: DaemonSet, node: Node): "yes" | "stay" | "no" {
  const spec = set.spec?.template.spec;
  if (spec === undefined || !matchesNodeSelection({ spec }, node)) return "no";
  const taints = node.spec?.taints ?? [];
  const tolerations = tolerationsOf(set);
  if (untolerated(taints, tolerations, ["NoExecute"]) !== undefined) return "no";
  return untolerated(taints, tolerations, ["NoSchedule"]) === undefined ? "yes" : "stay";
}

function tolerationsOf(set: DaemonSet): readonly Toleration[] {
  const spec = set.spec?.template.spec;
  return [...(spec?.tolerations ?? []), ...always, ...(spec?.hostNetwork === true ? [forHostNetwork] : [])];
}

/** Pods of an old template that may go now: those that are down anyway, and as many more as may be missing. */
function outdated(
  set: DaemonSet,
  old: readonly Pod[],
  desired: number,
  available: number,
  isUp: (pod: Pod) => boolean,
): readonly Pod[] {
  const strategy = set.spec?.updateStrategy;
  if (strategy?.type === "OnDelete") return [];
  const value = strategy?.rollingUpdate?.maxUnavailable ?? 1;
  const limit =
    typeof value === "number" ? value : Math.ceil(((Number.parseInt(value, 10) || 0) * desired) / 100);
  const down = old.filter((pod) => !isUp(pod));
  const spare = Math.max(0, Math.max(1, limit) - Math.max(0, desired - available));
  return [...down, ...oldestFirst(old.filter(isUp)).slice(0, spare)];
}

function oldestFirst(pods: readonly Pod[]): readonly Pod[] {
  return pods.toSorted(
    (a, b) =>
      Number((b.spec?.nodeName ?? "") !== "") - Number((a.spec?.nodeName ?? "") !== "") ||
      timeMs(a.metadata?.creationTimestamp) - timeMs(b.metadata?.creationTimestamp),
  );
}
