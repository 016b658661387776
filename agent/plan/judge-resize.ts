import type { Pod } from "#api/generated/kubernetes.ts";
import { podRequests } from "#api/pod-requests.ts";
import type { NodeRoom } from "./admission.ts";
import { allocationOf, sameAllocation } from "./allocation.ts";

/** What becomes of a resize that a Pod's spec asks for. */
export type ResizeJudgement =
  /** The Pod has what it asks for. */
  | { readonly state: "none" }
  | { readonly state: "granted" }
  /** It does not fit beside the others now. */
  | { readonly state: "deferred"; readonly message: string }
  /** It can never fit on this node. */
  | { readonly state: "infeasible"; readonly message: string };

/**
 * Whether a Pod gets the CPU and memory it asks for anew (KEP-1287). What is lowered always fits.
 * @param wanted the Pod as its source has it.
 * @param granted the same with what it was granted.
 * @param others Pods that have been admitted and have not ended, as granted.
 */
export function judgeResize(
  wanted: Pod,
  granted: Pod,
  others: readonly Pod[],
  room: NodeRoom,
): ResizeJudgement {
  if (sameAllocation(allocationOf(wanted), allocationOf(granted))) return { state: "none" };
  const own = podRequests(wanted);
  const had = podRequests(granted);
  const used = others.map(podRequests);
  const capacities = [
    ["cpu", room.cpuMilli],
    ["memory", room.memoryBytes],
  ] as const;
  const grown = capacities.filter(([name]) => (own[name] ?? 0) > (had[name] ?? 0));
  for (const [name, capacity] of grown) {
    const requested = own[name] ?? 0;
    if (requested > capacity) {
      const message = `Node didn't have enough capacity: ${name}, requested: ${requested}, capacity: ${capacity}`;
      return { state: "infeasible", message };
    }
  }
  for (const [name, capacity] of grown) {
    const requested = own[name] ?? 0;
    const taken = used.reduce((sum, one) => sum + (one[name] ?? 0), 0);
    if (requested + taken > capacity) {
      const message = `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${taken}, capacity: ${capacity}`;
      return { state: "deferred", message };
    }
  }
  return { state: "granted" };
}
