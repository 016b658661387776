import type { AgentContext } from "../agent-context.ts";
import { containersOf } from "../plan/containers-of.ts";
import { explainPod } from "../plan/explain/explain-pod.ts";
import type { PodExplanation } from "../plan/explain/pod-explanation.ts";
import { planPod } from "../plan/pod-actions.ts";
import type { PodEntry } from "../pod-entry.ts";
import { memoryOf } from "../sync-pod.ts";

/** What is away that the whole node stands on, in words; undefined while it is there. */
export interface NodeTroubles {
  readonly runtime: () => string | undefined;
  readonly api: () => string | undefined;
}

/** Explains a Pod from what the agent knows of it now; asks neither the runtime nor the API, so it answers when both hang. */
export function explainEntry(context: AgentContext, entry: PodEntry, troubles: NodeTroubles): PodExplanation {
  const { clock, journals, prober, puller } = context;
  const pod = entry.withStatus();
  const journal = journals.of(entry.uid);
  const memory = memoryOf(context, entry);
  const nowMs = clock.now();
  const images = new Set(containersOf(pod).map(({ container }) => container.image ?? ""));
  return explainPod({
    nowMs,
    node: context.nodeName,
    source: entry.source,
    pod,
    firstSeenMs: entry.firstSeenMs,
    runtime: entry.runtime,
    memory,
    plan: planPod(pod, entry.runtime, memory, nowMs),
    isAdmitted: entry.admitted,
    isGone: entry.gone,
    isCleaned: entry.cleaned,
    open: journal.open,
    steps: journal.steps,
    errors: journal.errors,
    probes: new Map(entry.runtime.containers.map(({ id }) => [id, prober.details(id)])),
    pulls: new Map(
      [...images].flatMap((image) => {
        const pull = puller.running(image);
        return pull === undefined ? [] : [[image, pull]];
      }),
    ),
    unwritten: journal.unwritten,
    runtimeTrouble: troubles.runtime(),
    apiTrouble: troubles.api(),
  });
}
