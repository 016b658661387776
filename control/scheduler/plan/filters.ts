import type { Pod } from "#api/generated/kubernetes.ts";
import { hostPortsOf, portsConflict } from "./host-ports.ts";
import { matchesNodeSelection } from "#api/node-affinity.ts";
import type { NodeInfo } from "./node-info.ts";
import { podRequests } from "#api/pod-requests.ts";
import { untolerated } from "#api/tolerations.ts";

/** Why a node cannot take the pod. */
export interface Refusal {
  readonly reasons: readonly string[];
  /** True when removing other pods might help. */
  readonly preemptible: boolean;
}

/** A check of one node. It is made once a pod, so that what depends on the pod alone is computed once. */
export type NodeFilter = (info: NodeInfo) => Refusal | undefined;

/** The checks that need nothing but the node and what is on it, in the order that names the cause best. */
export function nodeFilters(pod: Pod): readonly NodeFilter[] {
  return [isSchedulable(pod), isNamed(pod), isTolerated(pod), isSelected(pod), hasFreePorts(pod), fits(pod)];
}

function isSchedulable(pod: Pod): NodeFilter {
  const taint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };
  const isTolerant = untolerated([taint], pod.spec?.tolerations ?? [], ["NoSchedule"]) === undefined;
  return (info) =>
    info.node.spec?.unschedulable === true && !isTolerant
      ? { reasons: ["node(s) were unschedulable"], preemptible: false }
      : undefined;
}

function isNamed(pod: Pod): NodeFilter {
  const wanted = pod.spec?.nodeName ?? "";
  return (info) =>
    wanted !== "" && wanted !== info.node.metadata?.name
      ? { reasons: ["node(s) didn't match the requested node name"], preemptible: false }
      : undefined;
}

function isTolerated(pod: Pod): NodeFilter {
  return (info) => {
    const taint = untolerated(info.node.spec?.taints ?? [], pod.spec?.tolerations ?? [], [
      "NoSchedule",
      "NoExecute",
    ]);
    return taint === undefined
      ? undefined
      : {
          reasons: [`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`],
          preemptible: false,
        };
  };
}

function isSelected(pod: Pod): NodeFilter {
  return (info) =>
    matchesNodeSelection(pod, info.node)
      ? undefined
      : { reasons: ["node(s) didn't match Pod's node affinity/selector"], preemptible: false };
}

function hasFreePorts(pod: Pod): NodeFilter {
  const wanted = hostPortsOf(pod);
  return (info) =>
    wanted.some((port) => info.ports.some((taken) => portsConflict(port, taken)))
      ? { reasons: ["node(s) didn't have free ports for the requested pod ports"], preemptible: true }
      : undefined;
}

function fits(pod: Pod): NodeFilter {
  const requests = Object.entries(podRequests(pod)).filter(([, amount]) => amount > 0);
  return (info) => {
    const reasons: string[] = [];
    let preemptible = true;
    if (info.pods.size + 1 > (info.allocatable["pods"] ?? 0)) reasons.push("Too many pods");
    for (const [name, amount] of requests) {
      const total = info.allocatable[name] ?? 0;
      if (amount <= total - (info.requested[name] ?? 0)) continue;
      reasons.push(`Insufficient ${name}`);
      if (amount > total) preemptible = false; // the node would be too small even when empty
    }
    return reasons.length === 0 ? undefined : { reasons, preemptible };
  };
}
