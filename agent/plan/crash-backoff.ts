import type { ContainerStatus } from "../runtime/runtime.ts";
import { annotation } from "./names.ts";

const firstMs = 10_000;
/** The longest wait unless the node is told another, in milliseconds. */
export const defaultMaxMs = 300_000;
/** A run longer than this clears the record. */
const resetAfterMs = 600_000;

/**
 * When a container that ended may start again: at once the first time, then 10 s, 20 s, ... 300 s after its end.
 * The wait is read from the ended container itself, so a restarted agent keeps it.
 * @returns wall time in milliseconds.
 */
export function restartAtMs(ended: ContainerStatus): number {
  return ended.finishedAtMs + waitAfterMs(ended);
}

/**
 * The wait to note on the container that follows `ended`, in milliseconds.
 * @param maxMs the longest, `crashLoopBackOff.maxContainerRestartPeriod` of the kubelet's configuration (KEP-4603).
 */
export function nextWaitMs(ended: ContainerStatus | undefined, maxMs: number): number {
  if (ended === undefined) return 0;
  return Math.min(maxMs, Math.max(firstMs, 2 * waitAfterMs(ended)));
}

function waitAfterMs(ended: ContainerStatus): number {
  if (ended.startedAtMs > 0 && ended.finishedAtMs - ended.startedAtMs > resetAfterMs) return 0;
  const noted = Number(ended.annotations[annotation.backoffMs]);
  if (Number.isFinite(noted) && noted >= 0) return Math.min(defaultMaxMs, noted);
  return ended.attempt === 0 ? 0 : firstMs; // started by another agent, which noted nothing
}
