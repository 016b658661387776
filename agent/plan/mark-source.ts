import type { Pod } from "#api/generated/kubernetes.ts";
import { annotation } from "./names.ts";

/**
 * A Pod of the API with the marks that the kubelet puts on it: tools and downward API files read them. They stay on
 * this node; the API's object does not have them.
 * @param seenMs wall time at which the agent first saw the Pod.
 */
export function markApiSource(pod: Pod, seenMs: number): Pod {
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      annotations: {
        ...pod.metadata?.annotations,
        [annotation.source]: "api",
        [annotation.sourceSeen]: new Date(seenMs).toISOString(),
      },
    },
  };
}
