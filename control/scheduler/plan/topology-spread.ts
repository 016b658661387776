import type { Pod, TopologySpreadConstraint } from "#api/generated/kubernetes.ts";
import { matches, type Requirement, requirementsOf } from "#api/selectors.ts";
import { matchesNodeSelection } from "#api/node-affinity.ts";
import type { NodeInfo } from "./node-info.ts";
import { untolerated } from "#api/tolerations.ts";

const mismatch = "node(s) didn't match pod topology spread constraints";

/** Refuses nodes where one pod more would exceed `maxSkew` of a constraint that must hold. */
export function spreadFilter(pod: Pod, nodes: readonly NodeInfo[]): (info: NodeInfo) => string | undefined {
  const constraints = (pod.spec?.topologySpreadConstraints ?? [])
    .filter(({ whenUnsatisfiable }) => whenUnsatisfiable === "DoNotSchedule")
    .map((constraint) => ({ constraint, ...countDomains(constraint, pod, nodes) }));
  return (info) => {
    for (const { constraint, counts, requirements } of constraints) {
      const domain = info.node.metadata?.labels?.[constraint.topologyKey];
      if (domain === undefined) return `${mismatch} (missing required label)`;
      const tooFew = counts.size < (constraint.minDomains ?? 1);
      const least = tooFew ? 0 : Math.min(...counts.values());
      const self = matches(requirements, pod.metadata?.labels) ? 1 : 0;
      if ((counts.get(domain) ?? 0) + self - least > constraint.maxSkew) return mismatch;
    }
    return undefined;
  };
}

/**
 * How crowded each node's domains are with pods of the same kind: fewer is better. Constraints that may be
 * broken count; a pod without any is spread over hosts and zones among the pods `defaultSelector` selects.
 */
export function spreadCrowding(
  pod: Pod,
  nodes: readonly NodeInfo[],
  defaultSelector: readonly Requirement[] | undefined,
): (info: NodeInfo) => number {
  const own = pod.spec?.topologySpreadConstraints ?? [];
  const soft = own.filter(({ whenUnsatisfiable }) => whenUnsatisfiable === "ScheduleAnyway");
  const counted =
    own.length > 0
      ? soft.map((constraint) => ({ constraint, counts: countDomains(constraint, pod, nodes).counts }))
      : defaultSelector === undefined
        ? []
        : defaultConstraints.map((constraint) => ({
            constraint,
            counts: countDomains(constraint, pod, nodes, defaultSelector).counts,
          }));
  return (info) =>
    counted.reduce((sum, { constraint, counts }) => {
      const domain = info.node.metadata?.labels?.[constraint.topologyKey];
      // Weighted by the number of domains, so that three zones do not drown a hundred hosts.
      return domain === undefined ? sum : sum + (counts.get(domain) ?? 0) * Math.log(counts.size + 2);
    }, 0);
}

const defaultConstraints: readonly TopologySpreadConstraint[] = [
  { topologyKey: "kubernetes.io/hostname", maxSkew: 3, whenUnsatisfiable: "ScheduleAnyway" },
  { topologyKey: "topology.kubernetes.io/zone", maxSkew: 5, whenUnsatisfiable: "ScheduleAnyway" },
];

function countDomains(
  constraint: TopologySpreadConstraint,
  pod: Pod,
  nodes: readonly NodeInfo[],
  selector?: readonly Requirement[],
): { readonly counts: ReadonlyMap<string, number>; readonly requirements: readonly Requirement[] } {
  const requirements = selector ?? requirementsOfConstraint(constraint, pod);
  const counts = new Map<string, number>();
  for (const info of nodes) {
    const domain = info.node.metadata?.labels?.[constraint.topologyKey];
    if (domain === undefined || !takesPart(constraint, pod, info)) continue;
    let count = counts.get(domain) ?? 0;
    for (const other of info.pods.values()) {
      const isCounted =
        other.metadata?.namespace === pod.metadata?.namespace &&
        other.metadata?.deletionTimestamp === undefined &&
        matches(requirements, other.metadata?.labels);
      if (isCounted) count += 1;
    }
    counts.set(domain, count);
  }
  return { counts, requirements };
}

function takesPart(constraint: TopologySpreadConstraint, pod: Pod, info: NodeInfo): boolean {
  if ((constraint.nodeAffinityPolicy ?? "Honor") === "Honor" && !matchesNodeSelection(pod, info.node))
    return false;
  if (constraint.nodeTaintsPolicy !== "Honor") return true;
  const { taints = [] } = info.node.spec ?? {};
  return untolerated(taints, pod.spec?.tolerations ?? [], ["NoSchedule", "NoExecute"]) === undefined;
}

function requirementsOfConstraint(constraint: TopologySpreadConstraint, pod: Pod): readonly Requirement[] {
  const labels = pod.metadata?.labels ?? {};
  const keys = (constraint.matchLabelKeys ?? []).flatMap((key) => {
    const value = labels[key];
    return value === undefined ? [] : [{ key, operator: "=" as const, values: [value] }];
  });
  if (constraint.labelSelector === undefined) return [{ key: "\0", operator: "exists", values: [] }]; // selects nothing
  return [...requirementsOf(constraint.labelSelector), ...keys];
}
