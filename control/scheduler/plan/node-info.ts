import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { type Amounts, amountsOf, heldRequests, plusAmounts } from "#api/pod-requests.ts";
import { type HostPort, hostPortsOf } from "./host-ports.ts";

/** What a pod without requests counts as when nodes are compared, so that such pods spread too. */
const assumedRequests: Amounts = { cpu: 100, memory: 200 * 1024 * 1024 };

/** A node and what is placed on it. Never changed in place: each change makes the next one. */
export interface NodeInfo {
  readonly node: Node;
  readonly allocatable: Amounts;
  /** By `namespace/name`. */
  readonly pods: ReadonlyMap<string, Pod>;
  readonly requested: Amounts;
  /** CPU and memory with {@link assumedRequests} for pods that ask for none; only for scores. */
  readonly assumed: Amounts;
  readonly ports: readonly HostPort[];
  /** Pods whose affinity or anti-affinity may speak against or for others. */
  readonly withAffinity: readonly Pod[];
}

/** The node with these pods on it. */
export function nodeInfo(node: Node, pods: ReadonlyMap<string, Pod>): NodeInfo {
  const empty: NodeInfo = {
    node,
    allocatable: amountsOf(node.status?.allocatable),
    pods: new Map(),
    requested: {},
    assumed: {},
    ports: [],
    withAffinity: [],
  };
  let info = empty;
  for (const [key, pod] of pods) info = withPod(info, key, pod);
  return info;
}

/** The same with one pod more; a pod of this key is replaced. */
export function withPod(before: NodeInfo, key: string, pod: Pod): NodeInfo {
  const info = before.pods.has(key) ? withoutPod(before, key) : before;
  const requests = heldRequests(pod);
  return {
    ...info,
    pods: new Map(info.pods).set(key, pod),
    requested: plusAmounts(info.requested, requests),
    assumed: plusAmounts(info.assumed, withAssumed(requests)),
    ports: [...info.ports, ...hostPortsOf(pod)],
    withAffinity: hasPodAffinity(pod) ? [...info.withAffinity, pod] : info.withAffinity,
  };
}

/** The same without the pod of this key. */
export function withoutPod(info: NodeInfo, key: string): NodeInfo {
  const pod = info.pods.get(key);
  if (pod === undefined) return info;
  const pods = new Map(info.pods);
  pods.delete(key);
  const requests = heldRequests(pod);
  const hasPorts = hostPortsOf(pod).length > 0;
  return {
    ...info,
    pods,
    requested: plusAmounts(info.requested, requests, -1),
    assumed: plusAmounts(info.assumed, withAssumed(requests), -1),
    ports: hasPorts ? [...pods.values()].flatMap(hostPortsOf) : info.ports,
    withAffinity: info.withAffinity.filter((other) => other !== pod),
  };
}

/** The same placed pods on a node whose object changed. */
export function withNode(info: NodeInfo, node: Node): NodeInfo {
  return { ...info, node, allocatable: amountsOf(node.status?.allocatable) };
}

/** CPU and memory as scores count them. */
export function withAssumed(requests: Amounts): Amounts {
  return {
    cpu: requests["cpu"] ?? assumedRequests["cpu"] ?? 0,
    memory: requests["memory"] ?? assumedRequests["memory"] ?? 0,
  };
}

/** True when the pod has rules about other pods. */
export function hasPodAffinity(pod: Pod): boolean {
  const affinity = pod.spec?.affinity;
  return affinity?.podAffinity !== undefined || affinity?.podAntiAffinity !== undefined;
}
