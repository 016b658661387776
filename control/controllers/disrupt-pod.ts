import type { ApiClient } from "#api/client.ts";
import type { Pod } from "#api/generated/kubernetes.ts";
import { keyOf } from "#api/meta.ts";
import { pods } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { isoTime } from "./plan/times.ts";

/** Why the control plane deletes a pod that nobody asked to delete. */
export interface Disruption {
  readonly reason: "DeletionByTaintManager" | "DeletionByPodGC";
  readonly message: string;
  /** Deleted at once, without waiting for an agent that does not answer. */
  readonly atOnce: boolean;
  /** Phase to leave behind for a pod that no agent can end. */
  readonly phase?: "Failed";
}

/** Notes the reason on the pod (condition `DisruptionTarget`) and deletes it; a pod that is gone is fine. */
export async function disruptPod(
  client: ApiClient,
  pod: Pod,
  disruption: Disruption,
  nowMs: number,
  signal: AbortSignal,
): Promise<void> {
  const condition = {
    type: "DisruptionTarget",
    status: "True",
    reason: disruption.reason,
    message: disruption.message,
    lastTransitionTime: isoTime(nowMs),
  };
  const uid = pod.metadata?.uid;
  const status = {
    conditions: [condition],
    ...(disruption.phase === undefined ? {} : { phase: disruption.phase }),
  };
  try {
    await client.patch(
      pods,
      keyOf(pod),
      "strategic",
      { metadata: { uid }, status },
      { subresource: "status" },
      signal,
    );
    await client.delete(
      pods,
      keyOf(pod),
      { ...(uid === undefined ? {} : { uid }), ...(disruption.atOnce ? { gracePeriodSeconds: 0 } : {}) },
      signal,
    );
  } catch (cause) {
    if (!isReason(cause, "NotFound", "Conflict")) throw cause; // gone, or another pod of the same name
  }
}
