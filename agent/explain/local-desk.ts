import { isMirror } from "../plan/mirror-pod.ts";
import type { AgentContext } from "../agent-context.ts";
import { findPod, type PodFound, type PodNames, type PodWish } from "../plan/explain/find-pod.ts";
import type { PodExplanation } from "../plan/explain/pod-explanation.ts";
import type { PodEntry } from "../pod-entry.ts";
import type { PodTable } from "../pod-table.ts";
import { explainEntry, type NodeTroubles } from "./explain-entry.ts";
import { type CutShort, restartNow } from "./restart-now.ts";

/** What this machine's administrator may ask of the agent, over its local socket. */
export interface LocalDesk {
  find(wish: PodWish): PodFound;
  /** undefined when the Pod has gone since it was found. */
  explain(podUid: string): PodExplanation | undefined;
  /** Every Pod of the node. */
  explainAll(): readonly PodExplanation[];
  /** Cuts the back-offs of a Pod, or of one container of it, short. undefined as above. */
  restartNow(podUid: string, container: string | undefined): CutShort | undefined;
}

/** The desk of this agent. */
export function localDesk(context: AgentContext, table: PodTable, troubles: NodeTroubles): LocalDesk {
  return {
    find: (wish) => {
      // The API knows a static Pod by its mirror's uid.
      const mirror = [...table.mirrors].find(
        ([, pod]) => isMirror(pod) && pod.metadata?.uid === wish.name,
      )?.[0];
      const own = mirror === undefined ? undefined : table.staticByKey(mirror)?.uid;
      const known = [...table.entries.values()].map((entry) => namesOf(entry, context.nodeName));
      return findPod(own === undefined ? wish : { ...wish, name: own }, context.nodeName, known);
    },
    explain: (podUid) => {
      const entry = table.entries.get(podUid);
      return entry && explainEntry(context, entry, troubles);
    },
    explainAll: () => [...table.entries.values()].map((entry) => explainEntry(context, entry, troubles)),
    restartNow: (podUid, container) => {
      const entry = table.entries.get(podUid);
      return entry && restartNow(context, entry, container);
    },
  };
}

function namesOf({ uid, pod, source, gone }: PodEntry, node: string): PodNames {
  const { name = "", namespace = "" } = pod.metadata ?? {};
  const suffix = `-${node}`;
  const shortName = source === "file" && name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
  return { uid, namespace, name, shortName, isGone: gone };
}
