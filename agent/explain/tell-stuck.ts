import type { Clock } from "#lib/clock.ts";
import type { PodExplanation } from "../plan/explain/pod-explanation.ts";
import { stuckWords } from "../plan/explain/stuck-words.ts";
import type { PodEntry } from "../pod-entry.ts";

/** What looking after Pods that end stands on. */
export interface TellStuckPorts {
  readonly clock: Clock;
  readonly entries: () => Iterable<PodEntry>;
  readonly explain: (podUid: string) => PodExplanation | undefined;
  readonly say: (entry: PodEntry, message: string) => void;
}

/** How often Pods that end are looked at; a Pod that runs costs nothing. */
const lookMs = 10_000;

/**
 * Says of every Pod that should have ended by now which step holds it, once for as long as it is the same: whoever sees
 * Terminating for an hour finds the reason among the Pod's events.
 */
export async function tellStuck(ports: TellStuckPorts, signal: AbortSignal): Promise<void> {
  const { clock, entries, explain, say } = ports;
  while (!signal.aborted) {
    for (const entry of entries()) {
      if (entry.terminatingSinceMs === undefined) continue;
      const explanation = explain(entry.uid);
      const words = explanation && stuckWords(explanation, entry.pod, entry.terminatingSinceMs);
      if (words !== undefined && entry.saysNew("stuck", words.step)) say(entry, words.message);
    }
    await clock.sleep(lookMs, signal).catch(() => undefined);
  }
}
