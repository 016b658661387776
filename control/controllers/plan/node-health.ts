import type { Node, NodeCondition, Pod, PodCondition, Taint } from "#api/generated/kubernetes.ts";
import { isSameJson } from "./same.ts";
import { isoTime } from "./times.ts";

/** Conditions that nobody but the agent knows: they become Unknown when it is silent. */
const agentConditions = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/** Taints that mirror conditions: type, status, taint. */
const conditionTaints: readonly (readonly [string, string, string])[] = [
  ["Ready", "False", "node.kubernetes.io/not-ready"],
  ["Ready", "Unknown", "node.kubernetes.io/unreachable"],
  ["MemoryPressure", "True", "node.kubernetes.io/memory-pressure"],
  ["DiskPressure", "True", "node.kubernetes.io/disk-pressure"],
  ["PIDPressure", "True", "node.kubernetes.io/pid-pressure"],
  ["NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"],
];
const unschedulable = "node.kubernetes.io/unschedulable";
const evicting = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/** The conditions of a node whose agent is silent; undefined when they say so already. */
export function silentConditions(node: Node, nowMs: number): readonly NodeCondition[] | undefined {
  const before = node.status?.conditions ?? [];
  const at = isoTime(nowMs);
  const next = [
    ...before.map((condition) =>
      agentConditions.includes(condition.type) && condition.status !== "Unknown"
        ? {
            ...condition,
            status: "Unknown",
            reason: "NodeStatusUnknown",
            message: "Kubelet stopped posting node status.",
            lastTransitionTime: at,
          }
        : condition,
    ),
    ...agentConditions
      .filter((type) => !before.some((condition) => condition.type === type))
      .map((type) => ({
        type,
        status: "Unknown",
        reason: "NodeStatusNeverUpdated",
        message: "Kubelet never posted node status.",
        lastHeartbeatTime: node.metadata?.creationTimestamp ?? at,
        lastTransitionTime: at,
      })),
  ];
  return isSameJson(before, next) ? undefined : next;
}

/** `True`, `False` or `Unknown`; undefined before the agent's first word. */
export function readyStatus(node: Node): string | undefined {
  return node.status?.conditions?.find(({ type }) => type === "Ready")?.status;
}

/** The node's taints as its conditions ask for; undefined when they stand. Taints of others stay. */
export function planTaints(node: Node, nowMs: number): readonly Taint[] | undefined {
  const before = node.spec?.taints ?? [];
  const wanted = new Map<string, Taint>();
  for (const [type, status, key] of conditionTaints) {
    const condition = node.status?.conditions?.find((each) => each.type === type);
    if (condition?.status !== status) continue;
    wanted.set(`${key} NoSchedule`, { key, effect: "NoSchedule" });
    if (evicting.includes(key)) wanted.set(`${key} NoExecute`, { key, effect: "NoExecute" });
  }
  // Before the agent's first word the node is not ready; admission has tainted it, and that taint stays.
  const isUnheard = readyStatus(node) === undefined;
  if (node.spec?.unschedulable === true)
    wanted.set(`${unschedulable} NoSchedule`, { key: unschedulable, effect: "NoSchedule" });
  const ours = new Set([...conditionTaints.map(([, , key]) => key), unschedulable]);
  const kept = before.filter((taint) => {
    if (!ours.has(taint.key) || !["NoSchedule", "NoExecute"].includes(taint.effect)) return true;
    return wanted.has(`${taint.key} ${taint.effect}`) || (isUnheard && taint.key !== unschedulable);
  });
  const has = new Set(kept.map((taint) => `${taint.key} ${taint.effect}`));
  const added = [...wanted]
    .filter(([name]) => !has.has(name))
    .map(([, taint]) => ({ ...taint, timeAdded: isoTime(nowMs) }));
  return added.length === 0 && kept.length === before.length ? undefined : [...kept, ...added];
}

/** Conditions of a pod on a node that is not ready; undefined when it does not count as ready anyway. */
export function podConditionsOnLostNode(pod: Pod, nowMs: number): readonly PodCondition[] | undefined {
  const conditions = pod.status?.conditions ?? [];
  if (conditions.find(({ type }) => type === "Ready")?.status !== "True") return undefined;
  return conditions.map((condition) =>
    condition.type === "Ready"
      ? { ...condition, status: "False", reason: "NodeNotReady", lastTransitionTime: isoTime(nowMs) }
      : condition,
  );
}
