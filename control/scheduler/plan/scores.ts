import type { Pod } from "#api/generated/kubernetes.ts";
import { preferredNodeWeight } from "#api/node-affinity.ts";
import { type NodeInfo, withAssumed } from "./node-info.ts";
import { podRequests } from "#api/pod-requests.ts";
import { untolerated } from "#api/tolerations.ts";

/** The best a node can get in one score. */
export const maxScore = 100;

/** Images below this are worth nothing, in bytes, and above the other worth everything, per container. */
const imageBytes = { min: 23 * 1024 * 1024, max: 1_000 * 1024 * 1024 };

/** 0 to 100: the share of CPU and memory that stays free with the pod on the node. */
export function leastAllocated(pod: Pod, info: NodeInfo): number {
  const shares = sharesWith(pod, info);
  return shares.length === 0
    ? 0
    : (maxScore * shares.reduce((sum, share) => sum + 1 - share, 0)) / shares.length;
}

/** 0 to 100: how evenly CPU and memory are used with the pod on the node. */
export function balancedAllocation(pod: Pod, info: NodeInfo): number {
  const shares = sharesWith(pod, info);
  const mean = shares.reduce((sum, share) => sum + share, 0) / Math.max(1, shares.length);
  const spread = Math.sqrt(
    shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / Math.max(1, shares.length),
  );
  return maxScore * (1 - spread);
}

/** Taints of effect PreferNoSchedule that the pod does not tolerate: fewer is better. */
export function preferredTaints(pod: Pod, info: NodeInfo): number {
  return (info.node.spec?.taints ?? []).filter(
    (taint) => untolerated([taint], pod.spec?.tolerations ?? [], ["PreferNoSchedule"]) !== undefined,
  ).length;
}

/** Weights of the preferred node affinity: more is better. */
export function preferredNode(pod: Pod, info: NodeInfo): number {
  return preferredNodeWeight(pod, info.node);
}

/** 0 to 100: how much of the pod's images the node has already. */
export function imageLocality(pod: Pod, info: NodeInfo): number {
  const containers = pod.spec?.containers ?? [];
  const present = new Map(
    (info.node.status?.images ?? []).flatMap((image) =>
      (image.names ?? []).map((name) => [name, image.sizeBytes ?? 0] as const),
    ),
  );
  const bytes = containers.reduce(
    (sum, { image = "" }) => sum + (present.get(fullName(image)) ?? present.get(image) ?? 0),
    0,
  );
  const max = imageBytes.max * containers.length;
  if (max <= imageBytes.min) return 0;
  return (
    (maxScore * (Math.min(max, Math.max(imageBytes.min, bytes)) - imageBytes.min)) / (max - imageBytes.min)
  );
}

/** Scales raw values to 0..100. `reverse` when less is better. All equal values give the best score. */
export function normalized(values: readonly number[], reverse: boolean): readonly number[] {
  const most = Math.max(...values, 0);
  const least = Math.min(...values, 0);
  if (most === least) return values.map(() => (reverse ? maxScore : 0));
  return values.map((value) => {
    const score = (maxScore * (value - least)) / (most - least);
    return reverse ? maxScore - score : score;
  });
}

function sharesWith(pod: Pod, info: NodeInfo): readonly number[] {
  const requests = withAssumed(podRequests(pod));
  return ["cpu", "memory"].flatMap((name) => {
    const total = info.allocatable[name] ?? 0;
    return total === 0 ? [] : [Math.min(1, ((info.assumed[name] ?? 0) + (requests[name] ?? 0)) / total)];
  });
}

function fullName(image: string): string {
  const last = image.slice(image.lastIndexOf("/") + 1);
  return last.includes(":") || last.includes("@") ? image : `${image}:latest`;
}
