import { type AgentContext, podEvent } from "../agent-context.ts";
import type { NodeRoom } from "../plan/admission.ts";
import { allocationOf, begunAllocation } from "../plan/allocation.ts";
import { judgeResize } from "../plan/judge-resize.ts";
import { resizeWords } from "../plan/resize-words.ts";
import type { PodEntry } from "../pod-entry.ts";
import { beginResize } from "./resize-pod.ts";

/** What a judgement needs to know of the node and tell it. */
export interface GrantPorts {
  readonly others: (uid: string) => readonly PodEntry["pod"][];
  readonly room: () => NodeRoom;
  readonly wakeAt: (uid: string, atMs: number) => void;
  /** Something of the node is free again: those that wait for room are looked at. */
  readonly roomFreed: () => void;
}

/** The waits between two looks at a deferred resize that no event asked for. */
const firstWaitMs = 30_000;
const longestWaitMs = 180_000;

/**
 * Judges what a Pod's spec asks for anew, and grants it where there is room. What is granted is on the disk before
 * anything of it is done; what is not stays as it was, and the Pod's status says why.
 */
export async function grantResources(
  context: AgentContext,
  entry: PodEntry,
  ports: GrantPorts,
): Promise<void> {
  if (entry.source === "orphan") return;
  if (entry.allocation === undefined) {
    const { containers } = entry.runtime;
    entry.grant(context.allocations.of(entry.uid) ?? begunAllocation(entry.wanted, containers));
    // Nothing runs: it will begin with what it has.
    if (containers.length === 0) entry.settled = entry.allocation;
  }
  if (!entry.admitted || entry.verdict !== undefined || entry.terminatingSinceMs !== undefined) return;
  const judgement = judgeResize(entry.wanted, entry.pod, ports.others(entry.uid), ports.room());
  switch (judgement.state) {
    case "none":
      entry.pendingResize = undefined;
      entry.resizeWaitMs = 0;
      return;
    case "granted": {
      entry.pendingResize = undefined;
      entry.resizeWaitMs = 0;
      const allocation = allocationOf(entry.wanted);
      entry.grant(allocation);
      // What went wrong with an earlier one says nothing of this one.
      entry.resizeProgress = undefined;
      beginResize(context, entry);
      await context.allocations.set(entry.uid, allocation);
      ports.roomFreed();
      return;
    }
    case "deferred":
    case "infeasible": {
      const reason = judgement.state === "deferred" ? "Deferred" : "Infeasible";
      const isNew = entry.saysNew("resize", `${reason} ${entry.wanted.metadata?.generation}`);
      entry.pendingResize = { reason, message: judgement.message };
      if (isNew) {
        const words = resizeWords(entry.wanted, judgement.message);
        podEvent(context, entry.pod, "Warning", `Resize${reason}`, `Pod resize ${reason}: ${words}`);
      }
      if (reason === "Infeasible") return;
      entry.resizeWaitMs = Math.min(longestWaitMs, entry.resizeWaitMs * 2 || firstWaitMs);
      ports.wakeAt(entry.uid, context.clock.now() + entry.resizeWaitMs);
      return;
    }
    default:
      judgement satisfies never;
  }
}
