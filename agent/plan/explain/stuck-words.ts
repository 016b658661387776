import type { Pod } from "#api/generated/kubernetes.ts";
import { podGraceSeconds } from "../grace-period.ts";
import type { PodExplanation } from "./pod-explanation.ts";
import { spanWords } from "./words.ts";

/** After its grace period a Pod has this long to be cleaned up before it counts as stuck. */
const patienceMs = 30_000;

/**
 * What is said of a Pod that should have ended by now.
 * @returns undefined while it is in time; `step` stays the same while the same step holds it.
 */
export function stuckWords(
  { nowMs, waits }: PodExplanation,
  pod: Pod,
  terminatingSinceMs: number,
): { readonly step: string; readonly message: string } | undefined {
  const lateMs = nowMs - terminatingSinceMs - podGraceSeconds(pod) * 1_000;
  const [wait] = waits;
  if (lateMs < patienceMs || wait === undefined) return undefined;
  const container = wait.container === undefined ? "" : ` of container ${wait.container}`;
  return {
    step: `${wait.on} ${wait.container ?? ""}`,
    message: `the pod should have ended ${spanWords(lateMs)} ago and waits for ${wait.on}${container}: ${wait.detail}`,
  };
}
