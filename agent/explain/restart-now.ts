import { type AgentContext, podEvent } from "../agent-context.ts";
import { containersOf, fieldPathOf } from "../plan/containers-of.ts";
import { type BackOff, backOffs, cutWords } from "../plan/explain/back-offs.ts";
import { planPod } from "../plan/pod-actions.ts";
import type { PodEntry } from "../pod-entry.ts";
import { memoryOf } from "../sync-pod.ts";

/** What was cut short, in words too; or why nothing was. */
export type CutShort =
  | { readonly found: true; readonly backOffs: readonly BackOff[]; readonly words: readonly string[] }
  | { readonly found: false; readonly message: string };

/**
 * Ends the back-offs of a Pod now: what waits is tried at once. A next failure backs off as long as it would have, so
 * that nobody who asks again and again makes a node restart without end.
 */
export function restartNow(context: AgentContext, entry: PodEntry, container: string | undefined): CutShort {
  const pod = entry.withStatus();
  const memory = memoryOf(context, entry);
  const nowMs = context.clock.now();
  const plan = planPod(pod, entry.runtime, memory, nowMs);
  const found = backOffs(pod, entry.runtime, memory, plan, container, nowMs);
  if (!found.found) return found;
  const specs = new Map(containersOf(pod).map((spec) => [spec.container.name, spec]));
  const words = found.backOffs.map((backOff) => {
    cut(entry, backOff);
    const message = cutWords(backOff, nowMs);
    const spec = specs.get(backOff.container);
    podEvent(context, entry.pod, "Normal", "RestartNow", message, spec && fieldPathOf(spec));
    return message;
  });
  context.markDirty(entry.uid);
  return { ...found, words };
}

function cut(entry: PodEntry, { of, container, containerId }: BackOff): void {
  switch (of) {
    case "crash": {
      const there = new Set(entry.runtime.containers.map(({ id }) => id));
      for (const id of entry.cutShort) if (!there.has(id)) entry.cutShort.delete(id);
      entry.cutShort.add(containerId);
      return;
    }
    case "start":
      entry.startFailures.delete(container);
      return;
    case "image":
      entry.forgetImages(container);
      return;
    default:
      of satisfies never;
  }
}
