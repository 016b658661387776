import type { Node } from "#api/generated/kubernetes.ts";
import { keyOf } from "#api/meta.ts";
import { leases, nodes, pods as podsResource } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { planTaints, podConditionsOnLostNode, readyStatus, silentConditions } from "./plan/node-health.ts";
import { asTarget } from "./plan/owners.ts";
import { podIndexes } from "./pod-indexes.ts";

/** A node that renews no lease for this long is unknown, unless configured otherwise. */
const defaultGraceMs = 50_000;
const leaseNamespace = "kube-node-lease";

/** What a node last said, and when we heard it by our own clock: clocks of nodes are not trusted. */
interface Heard {
  readonly what: string;
  readonly atMs: number;
}

/** Notices nodes that fell silent, keeps their condition taints, and takes traffic from their pods. */
export function nodeLifecycleController(ports: ControllerPorts): Controller {
  const { client, clock, config, events, log, tables } = ports;
  const graceMs = config.nodeMonitorGraceMs ?? defaultGraceMs;
  const table = tables.of(nodes);
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);
  const heard = new Map<string, Heard>();

  tables.of(leases).subscribe((_, now) => {
    if (now?.metadata?.namespace === leaseNamespace)
      hear(now.metadata.name ?? "", `lease ${now.spec?.renewTime}`);
  });
  table.subscribe((key, now, before) => {
    if (now === undefined) {
      heard.delete(key);
      return;
    }
    const beat = now.status?.conditions?.find(({ type }) => type === "Ready")?.lastHeartbeatTime;
    const beatBefore = before?.status?.conditions?.find(({ type }) => type === "Ready")?.lastHeartbeatTime;
    if (before === undefined || beat !== beatBefore) hear(key, `status ${beat}`);
    queue.add(key);
  });

  return {
    name: "node-lifecycle",
    queue,
    workers: 4,
    step: async (key, signal) => {
      let node = table.get(key);
      if (node === undefined) return;
      const silentMs = clock.monotonicMs() - (heard.get(key)?.atMs ?? clock.monotonicMs());
      const before = readyStatus(node);
      if (silentMs >= graceMs) node = await markSilent(node, signal);
      else queue.addAfter(key, graceMs - silentMs);
      const ready = readyStatus(node);
      node = await writeTaints(node, signal);
      if (ready === "False" || ready === "Unknown") await markPodsNotReady(node, signal);
      if (before === "True" && ready !== "True") {
        events.event(
          asTarget(nodes, node),
          "Normal",
          "NodeNotReady",
          `Node ${key} status is now: NodeNotReady`,
        );
        log.warn("node is not ready", { node: key, silentMs });
      }
    },
  };

  function hear(name: string, what: string): void {
    if (heard.get(name)?.what === what) return;
    const wasSilent = clock.monotonicMs() - (heard.get(name)?.atMs ?? 0) >= graceMs;
    heard.set(name, { what, atMs: clock.monotonicMs() });
    if (wasSilent && table.get(name) !== undefined) queue.add(name);
  }

  async function markSilent(node: Node, signal: AbortSignal): Promise<Node> {
    const conditions = silentConditions(node, clock.now());
    if (conditions === undefined) return node;
    const next = { ...node, status: { ...node.status, conditions } };
    const written = await client.update(nodes, next, { subresource: "status" }, signal);
    table.wrote(written);
    return written;
  }

  async function writeTaints(node: Node, signal: AbortSignal): Promise<Node> {
    const taints = planTaints(node, clock.now());
    if (taints === undefined) return node;
    const { uid, resourceVersion } = node.metadata ?? {};
    const patch = {
      metadata: { uid, resourceVersion },
      spec: { taints: taints.length === 0 ? null : taints },
    };
    const written = await client.patch(nodes, keyOf(node), "merge", patch, {}, signal);
    table.wrote(written);
    return written;
  }

  async function markPodsNotReady(node: Node, signal: AbortSignal): Promise<void> {
    for (const pod of pods.byNode.of(node.metadata?.name ?? "")) {
      const conditions = podConditionsOnLostNode(pod, clock.now());
      if (conditions === undefined) continue;
      try {
        const next = { ...pod, status: { ...pod.status, conditions } };
        pods.table.wrote(await client.update(podsResource, next, { subresource: "status" }, signal));
        events.event(asTarget(podsResource, pod), "Warning", "NodeNotReady", "Node is not ready");
      } catch (cause) {
        if (!isReason(cause, "NotFound")) throw cause;
      }
    }
  }
}
