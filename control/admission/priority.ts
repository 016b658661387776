import type { PriorityClass } from "#api/generated/kubernetes.ts";
import { asPod } from "./plan/typed.ts";
import { type AdmissionPorts, type PluginFactory, pluginFor, refuse } from "./plugin.ts";

/** The classes that exist even before their objects do. */
export const systemPriorityClasses: readonly PriorityClass[] = [
  {
    metadata: { name: "system-node-critical" },
    value: 2_000_001_000,
    description: "Used for system critical pods that must not be moved from their current node.",
  },
  {
    metadata: { name: "system-cluster-critical" },
    value: 2_000_000_000,
    description:
      "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
  },
];

/** Gives a Pod the number that its priority class stands for. */
export const priority: PluginFactory = (ports) =>
  pluginFor("Priority", { operations: ["CREATE"], resource: "pods" }, async (request, object, signal) => {
    const pod = asPod(object);
    const name = pod.spec.priorityClassName ?? "";
    const found = name === "" ? defaultClass(ports) : await classNamed(name, ports, signal);
    if (name !== "" && found === undefined)
      throw refuse(request, `no PriorityClass with name ${name} was found`);
    const value = found?.value ?? 0;
    const policy = found?.preemptionPolicy ?? "PreemptLowerPriority";
    if (pod.spec.priority !== undefined && pod.spec.priority !== value) {
      throw refuse(
        request,
        `the integer value of priority (${pod.spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`,
      );
    }
    if (pod.spec.preemptionPolicy !== undefined && pod.spec.preemptionPolicy !== policy) {
      throw refuse(
        request,
        `the string value of PreemptionPolicy (${pod.spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`,
      );
    }
    const className = found?.metadata?.name;
    return {
      ...object,
      spec: {
        ...pod.spec,
        priority: value,
        preemptionPolicy: policy,
        ...(className === undefined ? {} : { priorityClassName: className }),
      },
    };
  });

async function classNamed(
  name: string,
  ports: AdmissionPorts,
  signal: AbortSignal,
): Promise<PriorityClass | undefined> {
  return (
    (await ports.priorityClass("", name, signal)) ??
    systemPriorityClasses.find((one) => one.metadata?.name === name)
  );
}

/** The class for Pods that name none; of several, the lowest, so that an accident preempts nobody. */
function defaultClass(ports: AdmissionPorts): PriorityClass | undefined {
  const all = [...ports.priorityClasses.values()].filter((one) => one.globalDefault === true);
  return all.sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
}
