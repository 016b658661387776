import type { Pod } from "#api/generated/kubernetes.ts";
import { allocationOf } from "./allocation.ts";

/** What a resize is about, for its events: the resources by container, as JSON. */
export function resizeWords(pod: Pod, error?: string): string {
  const { containers, pod: whole } = allocationOf(pod);
  return JSON.stringify({
    containers: Object.entries(containers).map(([name, resources]) => ({ name, resources })),
    ...(whole === undefined ? {} : { podResources: whole }),
    generation: pod.metadata?.generation ?? 0,
    ...(error === undefined ? {} : { error }),
  });
}
