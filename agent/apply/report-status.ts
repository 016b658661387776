import type { Pod } from "#api/generated/kubernetes.ts";
import { keyOf } from "#api/meta.ts";
import { pods } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import type { AgentContext } from "../agent-context.ts";
import { statusPatch } from "../plan/status-patch.ts";
import type { PodEntry } from "../pod-entry.ts";
import { versionOf } from "../pod-table.ts";

/**
 * Brings one Pod's status to the API; and when nothing of a deleted Pod is left, lets the API forget it.
 * @param target the object in the API: the Pod, or a static Pod's mirror.
 */
export async function reportStatus(
  context: AgentContext,
  entry: PodEntry,
  target: Pod,
  signal: AbortSignal,
): Promise<void> {
  const { client } = context;
  const wanted = entry.status;
  if (client === undefined || wanted === undefined) return;
  try {
    // Against what the API was last seen to have; `reported` is ahead of the watch.
    const patch = statusPatch(target, entry.reported ?? target.status, wanted);
    if (patch !== undefined) {
      const after = await client.patch(
        pods,
        keyOf(target),
        "strategic",
        patch,
        { subresource: "status" },
        signal,
      );
      entry.reported = after.status;
      entry.reportedVersion = versionOf(after);
    }
    if (entry.source === "api" && entry.cleaned && entry.pod.metadata?.deletionTimestamp !== undefined) {
      await client.delete(
        pods,
        keyOf(target),
        {
          gracePeriodSeconds: 0,
          ...(target.metadata?.uid === undefined ? {} : { uid: target.metadata.uid }),
        },
        signal,
      );
    }
  } catch (cause) {
    if (isReason(cause, "NotFound")) return; // it is gone: the watch will say so
    if (isReason(cause, "Conflict")) {
      entry.reported = undefined;
      context.markDirty(entry.uid);
      return;
    }
    throw cause;
  }
}
