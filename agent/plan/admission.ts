import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { matchesNodeSelection } from "#api/node-affinity.ts";
import { amountsOf, podRequests } from "#api/pod-requests.ts";
import { untolerated } from "#api/tolerations.ts";
import type { PodVerdict } from "../model.ts";
import { appArmorRefusal } from "./apparmor.ts";
import { sysctlRefusal } from "./pod-sysctls.ts";
import { portMappings } from "./sandbox-config.ts";
import { securityRefusal } from "./security-refusal.ts";

/** What a Pod has to fit into. */
export interface NodeRoom {
  readonly cpuMilli: number;
  readonly memoryBytes: number;
  readonly ephemeralStorageBytes: number;
  readonly pods: number;
  /** The Node object as far as it is known; its labels and taints decide. */
  readonly node: Node;
  readonly allowedUnsafeSysctls: readonly string[];
  readonly appArmorEnabled: boolean;
  readonly strictGroups: boolean;
}

/**
 * Whether a Pod that was bound to this node may run here.
 * @param others Pods that have been admitted and have not ended.
 * @returns why not, as the Pod's final status.
 */
export function admissionRefusal(pod: Pod, others: readonly Pod[], room: NodeRoom): PodVerdict | undefined {
  const os = pod.spec?.os?.name;
  if (os !== undefined && os !== "linux")
    return refused("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
  if ((pod.spec?.nodeSelector?.["kubernetes.io/os"] ?? "linux") !== "linux")
    return refused(
      "PodOSSelectorNodeLabelDoesNotMatch",
      "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
    );
  const misplaced = placement(pod, room.node);
  if (misplaced !== undefined) return misplaced;
  const sysctl = sysctlRefusal(pod, room.allowedUnsafeSysctls);
  if (sysctl !== undefined) return refused("SysctlForbidden", sysctl);
  const open = appArmorRefusal(pod, room.appArmorEnabled);
  if (open !== undefined) return refused("AppArmor", open);
  const insecure = securityRefusal(pod, room.strictGroups);
  if (insecure !== undefined) return refused(insecure.reason, insecure.message);
  const taken = new Set(others.flatMap(hostPorts));
  if (hostPorts(pod).some((port) => taken.has(port)))
    return refused(
      "NodePorts",
      "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    );
  if (others.length + 1 > room.pods) return outOf("pods", 1, others.length, room.pods);
  const own = podRequests(pod);
  const used = others.map(podRequests);
  for (const [name, capacity] of capacities(room)) {
    const wanted = own[name] ?? 0;
    const taken = used.reduce((sum, one) => sum + (one[name] ?? 0), 0);
    if (wanted > 0 && taken + wanted > capacity) return outOf(name, wanted, taken, capacity);
  }
  return undefined;
}

/**
 * What the node has to give, by resource, in the order in which the kubelet looks. A resource that the node does
 * not name is absent and refuses nobody: what offers it may not have told of it yet.
 */
function capacities(room: NodeRoom): readonly (readonly [string, number])[] {
  const {
    cpu: _cpu,
    memory: _memory,
    "ephemeral-storage": _disk,
    pods: _pods,
    ...others
  } = amountsOf(room.node.status?.allocatable);
  return [
    ["cpu", room.cpuMilli],
    ["memory", room.memoryBytes],
    ["ephemeral-storage", room.ephemeralStorageBytes],
    ...Object.entries(others),
  ];
}

/** Everything that the node has to give, the number of Pods first. */
export function roomOf(room: NodeRoom): readonly (readonly [string, number])[] {
  return [["pods", room.pods], ...capacities(room)];
}

/** Whether the Pod belongs on another node. Static Pods tolerate everything that would turn them out. */
function placement(pod: Pod, node: Node): PodVerdict | undefined {
  if ((pod.spec?.nodeName ?? "") !== "" && pod.spec?.nodeName !== node.metadata?.name)
    return refused("NodeName", "Predicate NodeName failed: node(s) didn't match the requested node name");
  if (!matchesNodeSelection(pod, node))
    return refused(
      "NodeAffinity",
      "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    );
  // The scheduler's own taints are its business: only those that would evict the Pod again count here.
  if (untolerated(node.spec?.taints ?? [], pod.spec?.tolerations ?? [], ["NoExecute"]) !== undefined)
    return refused(
      "TaintToleration",
      "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
    );
  return undefined;
}

function hostPorts(pod: Pod): readonly string[] {
  const own =
    pod.spec?.hostNetwork === true
      ? (pod.spec.containers ?? []).flatMap((container) =>
          (container.ports ?? []).map((port) => `${port.protocol ?? "TCP"}/${port.containerPort}`),
        )
      : [];
  return [...own, ...portMappings(pod).map(({ protocol, hostPort }) => `${protocol}/${hostPort}`)];
}

function outOf(resource: string, requested: number, used: number, capacity: number): PodVerdict {
  return refused(
    `OutOf${resource}`,
    `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  );
}

function refused(reason: string, message: string): PodVerdict {
  return { phase: "Failed", reason, message: `Pod was rejected: ${message}` };
}
