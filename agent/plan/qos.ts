import { milliValue, quantityValue } from "#api/quantity.ts";
import type { Pod, ResourceRequirements } from "#api/generated/kubernetes.ts";

/** How the node treats a Pod when resources get short. */
export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/** CPU in thousandths and memory in bytes; undefined where nothing is said. */
export interface Amounts {
  readonly cpuMilli: number | undefined;
  readonly memoryBytes: number | undefined;
}

/** The class by requests and limits of every container, init containers included, and of the Pod itself. */
export function qosClass(pod: Pod): QosClass {
  const own = pod.spec?.resources;
  const all =
    own !== undefined && (own.limits !== undefined || own.requests !== undefined)
      ? [own]
      : [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])].map(
          ({ resources }) => resources ?? {},
        );
  const both = all.map((resources) => ({ requests: requestsOf(resources), limits: limitsOf(resources) }));
  const isSet = ({ cpuMilli, memoryBytes }: Amounts): boolean =>
    (cpuMilli ?? 0) > 0 || (memoryBytes ?? 0) > 0;
  if (!both.some(({ requests, limits }) => isSet(requests) || isSet(limits))) return "BestEffort";
  const guaranteed = both.every(
    ({ requests, limits }) =>
      (limits.cpuMilli ?? 0) > 0 &&
      (limits.memoryBytes ?? 0) > 0 &&
      requests.cpuMilli === limits.cpuMilli &&
      requests.memoryBytes === limits.memoryBytes,
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** What is asked for; a limit stands in for a request that is not there. */
export function requestsOf(resources: ResourceRequirements | undefined): Amounts {
  return amounts({ ...resources?.limits, ...resources?.requests });
}

/** What may not be exceeded. */
export function limitsOf(resources: ResourceRequirements | undefined): Amounts {
  return amounts(resources?.limits ?? {});
}

function amounts(list: Readonly<Record<string, string>>): Amounts {
  const { cpu, memory } = list;
  return {
    cpuMilli: cpu === undefined ? undefined : milliValue(cpu),
    memoryBytes: memory === undefined ? undefined : quantityValue(memory),
  };
}
