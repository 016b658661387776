import { type AgentContext, podEvent } from "../agent-context.ts";
import type { PodVerdict } from "../model.ts";
import type { NodeRoom } from "../plan/admission.ts";
import { isCritical, podsToPreempt, shortage } from "../plan/preemption.ts";
import type { PodEntry } from "../pod-entry.ts";

/** The reason of Pods that end so that a critical one has room. */
const reason = "Preempting";
const message = "Preempted in order to admit critical pod";

/**
 * Ends Pods so that a critical one that does not fit has room.
 * @param refusal why it does not fit.
 * @param entries every Pod of the node.
 * @returns "wait" while they end; else the Pod's verdict.
 */
export function makeRoom(
  context: AgentContext,
  entry: PodEntry,
  refusal: PodVerdict,
  entries: Iterable<PodEntry>,
  room: NodeRoom,
): "wait" | PodVerdict {
  if (!refusal.reason.startsWith("OutOf") || !isCritical(entry.pod)) return refusal;
  const others = [...entries].filter(
    ({ uid, admitted, cleaned }) => uid !== entry.uid && admitted && !cleaned,
  );
  if (others.some(({ verdict }) => verdict?.reason === reason)) return "wait";
  const running = others.filter(({ verdict, source }) => verdict === undefined && source !== "orphan");
  const pods = running.map(({ pod }) => pod);
  const victims = podsToPreempt(entry.pod, pods, room);
  if (victims === undefined) {
    const short = Object.entries(shortage(entry.pod, pods, room)).map(
      ([name, q]) => `(res: ${name}, q: ${q}), `,
    );
    return {
      phase: "Failed",
      reason: "UnexpectedAdmissionError",
      message: `Pod was rejected: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [${short.join("")}]`,
    };
  }
  for (const victim of running.filter(({ pod }) => victims.includes(pod))) {
    victim.verdict = { phase: "Failed", reason, message };
    victim.terminatingSinceMs ??= context.clock.now();
    podEvent(context, victim.pod, "Warning", reason, message);
    context.log.warn("a pod ends so that a critical one has room", { uid: victim.uid, for: entry.uid });
    context.markDirty(victim.uid);
  }
  return "wait";
}
