import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { tolerates } from "#api/tolerations.ts";
import { timeMs } from "./times.ts";

/**
 * When a pod has to leave its node because of taints with effect NoExecute.
 * @returns milliseconds since the epoch; undefined when it may stay.
 */
export function evictionTime(pod: Pod, node: Node, nowMs: number): number | undefined {
  const taints = (node.spec?.taints ?? []).filter(({ effect }) => effect === "NoExecute");
  const times = taints.map((taint) => {
    const matching = (pod.spec?.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
    if (matching.length === 0) return nowMs;
    const seconds = matching.map(({ tolerationSeconds }) => tolerationSeconds ?? Number.POSITIVE_INFINITY);
    const since = taint.timeAdded === undefined ? nowMs : timeMs(taint.timeAdded);
    return since + Math.max(0, Math.min(...seconds)) * 1_000;
  });
  const earliest = Math.min(...times, Number.POSITIVE_INFINITY);
  return Number.isFinite(earliest) ? earliest : undefined;
}
