import { type Endpoint, isExternallyAccessible, type NodeFacts, type ServicePort } from "../model.ts";

/** Which endpoints of a port traffic may reach from this node, by traffic policy. */
export interface ChosenEndpoints {
  /** For traffic policy `Cluster`; empty also when no policy of the port asks for it. */
  readonly cluster: readonly Endpoint[];
  /** For traffic policy `Local`. */
  readonly local: readonly Endpoint[];
  /** Both, each once. */
  readonly reachable: readonly Endpoint[];
  /** Somewhere in the cluster something could answer: tells "drop here" from "refuse". */
  readonly any: boolean;
}

/**
 * Chooses endpoints as KEP-1669 (terminating endpoints) and KEP-2433/4444 (topology hints) say:
 * ready ones; if there is none, those that still serve while they terminate.
 */
export function chooseEndpoints(port: ServicePort, node: NodeFacts): ChosenEndpoints {
  const external = isExternallyAccessible(port);
  const usesCluster = !port.internalLocal || external;
  const usesLocal = port.internalLocal || (port.externalLocal && external);
  const ready = port.endpoints.filter((endpoint) => endpoint.ready);
  const draining = port.endpoints.filter((endpoint) => endpoint.serving && endpoint.terminating);
  // Hints never choose among terminating endpoints: when nothing is ready, anything that answers will do.
  const cluster = !usesCluster ? [] : ready.length > 0 ? byTopology(ready, node) : draining;
  const local = !usesLocal ? [] : firstFilled(ready.filter(isLocal), draining.filter(isLocal));
  const inCluster = new Set(cluster);
  return {
    cluster,
    local,
    reachable: [...cluster, ...local.filter((endpoint) => !inCluster.has(endpoint))],
    any: ready.length > 0 || draining.length > 0,
  };
}

/** Hints count only when every ready endpoint carries them and some name us: else a node could be left with nothing. */
function byTopology(ready: readonly Endpoint[], node: NodeFacts): readonly Endpoint[] {
  if (ready.every((endpoint) => endpoint.nodeHints.length > 0)) {
    const ours = ready.filter((endpoint) => endpoint.nodeHints.includes(node.name));
    if (ours.length > 0) return ours;
  }
  if (node.zone !== "" && ready.every((endpoint) => endpoint.zoneHints.length > 0)) {
    const ours = ready.filter((endpoint) => endpoint.zoneHints.includes(node.zone));
    if (ours.length > 0) return ours;
  }
  return ready;
}

function firstFilled<T>(first: readonly T[], second: readonly T[]): readonly T[] {
  return first.length > 0 ? first : second;
}

function isLocal(endpoint: Endpoint): boolean {
  return endpoint.local;
}
