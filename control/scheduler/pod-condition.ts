import type { ApiClient } from "#api/client.ts";
import type { Pod, PodCondition } from "#api/generated/kubernetes.ts";
import { keyOf } from "#api/meta.ts";
import { pods } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";

/**
 * Says on the pod why it has no node, unless it says so already.
 * @returns the pod as it is now; undefined when nothing was written.
 */
export async function writeUnscheduled(
  client: ApiClient,
  pod: Pod,
  reason: "Unschedulable" | "SchedulerError" | "SchedulingGated",
  message: string,
  at: string,
  signal: AbortSignal,
): Promise<Pod | undefined> {
  const before = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  if (before?.status === "False" && before.reason === reason && before.message === message) return undefined;
  const condition: PodCondition = {
    type: "PodScheduled",
    status: "False",
    reason,
    message,
    lastTransitionTime: before?.status === "False" ? (before.lastTransitionTime ?? at) : at,
  };
  try {
    const status = { conditions: [condition] };
    return await client.patch(pods, keyOf(pod), "strategic", { status }, { subresource: "status" }, signal);
  } catch (cause) {
    if (isReason(cause, "NotFound")) return undefined;
    throw cause;
  }
}
