import type { Pod } from "#api/generated/kubernetes.ts";
import type { Labels, Requirement } from "#api/selectors.ts";
import { nodeFilters, type Refusal } from "./filters.ts";
import type { NodeInfo } from "./node-info.ts";
import { affinityFilter, affinityWeight } from "./pod-affinity.ts";
import {
  balancedAllocation,
  imageLocality,
  leastAllocated,
  normalized,
  preferredNode,
  preferredTaints,
} from "./scores.ts";
import { spreadCrowding, spreadFilter } from "./topology-spread.ts";

/** Everything a placement depends on. */
export interface SchedulingWorld {
  readonly nodes: readonly NodeInfo[];
  readonly namespaceLabels: (namespace: string) => Labels;
  /** Selects the pods this one is to be spread among by default: those of its Services and its owner. */
  readonly spreadSelector: (pod: Pod) => readonly Requirement[] | undefined;
  /** In [0, 1); chooses among equally good nodes. */
  readonly random: number;
}

/** Where a pod goes, or why it cannot. */
export type Placement =
  | { readonly state: "placed"; readonly node: string; readonly score: number }
  | { readonly state: "unschedulable"; readonly message: string };

/**
 * Chooses the best of the nodes that can take the pod. Weights of the scores: taints 3, node affinity 2,
 * spread 2, pod affinity 2, the others 1.
 */
export function chooseNode(pod: Pod, world: SchedulingWorld): Placement {
  const { feasible, refusals } = filterNodes(pod, world);
  if (feasible.length === 0)
    return { state: "unschedulable", message: unschedulableMessage(world.nodes.length, refusals) };
  const scores = scoreNodes(pod, feasible, world);
  const best = Math.max(...scores);
  const winners = feasible.filter((_, at) => (scores[at] ?? 0) >= best - 1e-9);
  const winner = winners[Math.floor(world.random * winners.length)] ?? winners[0];
  return { state: "placed", node: winner?.node.metadata?.name ?? "", score: best };
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable. preemption: ...` */
export function unschedulableMessage(nodes: number, refusals: readonly Refusal[]): string {
  if (nodes === 0) return "no nodes available to schedule pods";
  const preemption = refusals.map(({ preemptible }) =>
    preemptible ? "No preemption victims found for incoming pod" : "Preemption is not helpful for scheduling",
  );
  const available = `0/${nodes} nodes are available:`;
  return `${available} ${counted(refusals.flatMap(({ reasons }) => reasons))}. preemption: ${available} ${counted(preemption)}.`;
}

function filterNodes(
  pod: Pod,
  world: SchedulingWorld,
): { readonly feasible: readonly NodeInfo[]; readonly refusals: readonly Refusal[] } {
  const filters = nodeFilters(pod);
  const spread = spreadFilter(pod, world.nodes);
  const affinity = affinityFilter(pod, world);
  const feasible: NodeInfo[] = [];
  const refusals: Refusal[] = [];
  for (const info of world.nodes) {
    const refusal = firstOf(filters, info) ?? byPods(spread(info) ?? affinity(info));
    if (refusal === undefined) feasible.push(info);
    else refusals.push(refusal);
  }
  return { feasible, refusals };
}

function firstOf(
  filters: readonly ((info: NodeInfo) => Refusal | undefined)[],
  info: NodeInfo,
): Refusal | undefined {
  for (const filter of filters) {
    const refusal = filter(info);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

function byPods(reason: string | undefined): Refusal | undefined {
  return reason === undefined
    ? undefined
    : { reasons: [reason], preemptible: !reason.includes("missing required label") };
}

function scoreNodes(pod: Pod, nodes: readonly NodeInfo[], world: SchedulingWorld): readonly number[] {
  if (nodes.length === 1) return [0];
  const affinity = affinityWeight(pod, world);
  const crowding = spreadCrowding(pod, world.nodes, world.spreadSelector(pod));
  const parts: readonly (readonly [weight: number, scores: readonly number[]])[] = [
    [1, nodes.map((info) => leastAllocated(pod, info))],
    [1, nodes.map((info) => balancedAllocation(pod, info))],
    [1, nodes.map((info) => imageLocality(pod, info))],
    [
      3,
      normalized(
        nodes.map((info) => preferredTaints(pod, info)),
        true,
      ),
    ],
    [
      2,
      normalized(
        nodes.map((info) => preferredNode(pod, info)),
        false,
      ),
    ],
    [2, normalized(nodes.map(crowding), true)],
    [2, normalized(nodes.map(affinity), false)],
  ];
  return nodes.map((_, at) => parts.reduce((sum, [weight, scores]) => sum + weight * (scores[at] ?? 0), 0));
}

/** Reasons with how many nodes gave them, in the order of the text, as Kubernetes sorts them. */
function counted(reasons: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  return [...counts]
    .map(([reason, count]) => `${count} ${reason}`)
    .sort((a, b) => (a < b ? -1 : 1))
    .join(", ");
}
