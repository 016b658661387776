import { isDeepStrictEqual } from "node:util";
import type { Lease, Node, NodeStatus } from "#api/generated/kubernetes.ts";
import { nodes } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import type { AgentContext } from "../agent-context.ts";
import { nodeEvents } from "../plan/node-events.ts";
import { newNode, nodeStatus, parseTaint, standardLabels, type NodeReport } from "../plan/node-status.ts";
import { renewNodeLease } from "./node-lease.ts";

/** Status that only repeats itself is written this often. */
const repeatMs = 300_000;
const renewMs = 10_000;
const registerRetry = { firstMs: 100, maxMs: 7_000 };

/** What keeping the Node object needs. */
export interface NodeObjectPorts {
  readonly report: (signal: AbortSignal) => Promise<NodeReport>;
  /** The Node as it was last seen in the API. */
  readonly seen: (node: Node) => void;
  /** Resolves early when something about readiness changed. */
  readonly changed: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** Registers the node, then keeps its status and its heartbeat until the signal. */
export async function keepNode(
  context: AgentContext,
  ports: NodeObjectPorts,
  signal: AbortSignal,
): Promise<void> {
  const { client, clock, log, nodeName } = context;
  if (client === undefined) return;
  let node: Node | undefined;
  let waitMs = registerRetry.firstMs;
  while (node === undefined && !signal.aborted) {
    try {
      node = await register(context, await ports.report(signal), signal);
      ports.seen(node);
    } catch (cause) {
      if (signal.aborted) return;
      log.warn("cannot register the node", { cause: errorText(cause), retryInMs: waitMs });
      await clock.sleep(waitMs, signal).catch(() => undefined);
      waitMs = Math.min(registerRetry.maxMs, waitMs * 2);
    }
  }
  let lease: Lease | undefined;
  const heartbeat = async (): Promise<void> => {
    while (!signal.aborted) {
      let pauseMs = renewMs;
      try {
        lease = await renewNodeLease(client, nodeName, node, lease, clock.now(), signal);
      } catch (cause) {
        if (signal.aborted) return;
        lease = undefined;
        pauseMs = isReason(cause, "Conflict", "AlreadyExists") ? 100 : 2_000;
        log.warn("cannot renew the node lease", { cause: errorText(cause) });
        // An answer that does not come may mean a dead connection: the next try opens a new one.
        if (!("code" in Object(cause))) client.reset();
      }
      await clock.sleep(pauseMs, signal).catch(() => undefined);
    }
  };
  const status = async (): Promise<void> => {
    let writtenMs = clock.now();
    while (!signal.aborted) {
      await ports.changed(context.config.nodeStatusMs, signal).catch(() => undefined);
      if (signal.aborted) return;
      try {
        const before = node?.status;
        const wanted = nodeStatus(await ports.report(signal), before, clock.now());
        if (node !== undefined && isSame(node.status, wanted) && clock.now() - writtenMs < repeatMs) continue;
        node = await client.patch(
          nodes,
          { namespace: "", name: nodeName },
          "strategic",
          { status: wanted },
          { subresource: "status" },
          signal,
        );
        writtenMs = clock.now();
        for (const { reason, message } of nodeEvents(nodeName, before, wanted))
          nodeEvent(context, "Normal", reason, message);
        ports.seen(node);
      } catch (cause) {
        if (signal.aborted) return;
        log.warn("cannot write the node's status", { cause: errorText(cause) });
        if (isReason(cause, "NotFound") && context.config.registerNode) {
          node = await register(context, await ports.report(signal), signal).catch(() => node); // somebody deleted it
        }
      }
    }
  };
  await Promise.all([heartbeat(), status()]);
}

/** Creates the Node, or brings the labels of the one that is there up to date. */
async function register(context: AgentContext, report: NodeReport, signal: AbortSignal): Promise<Node> {
  const { client, config, nodeName, clock } = context;
  if (client === undefined) throw new Error("there is no API server");
  const given = Object.fromEntries(
    config.nodeLabels.map((pair) => [pair.split("=")[0] ?? "", pair.slice(pair.indexOf("=") + 1)]),
  );
  const labels = { ...standardLabels(nodeName, report.facts.architecture), ...given };
  const place = { namespace: "", name: nodeName };
  const before = await client.get(nodes, place, signal).catch((cause: unknown) => {
    if (isReason(cause, "NotFound")) return undefined;
    throw cause;
  });
  if (before === undefined) {
    if (!config.registerNode) throw new Error(`node "${nodeName}" does not exist and --register-node is off`);
    const created = await client.create(
      nodes,
      newNode(
        nodeName,
        labels,
        config.registerWithTaints.map(parseTaint),
        config.providerId,
        nodeStatus(report, undefined, clock.now()),
      ),
      {},
      signal,
    );
    nodeEvent(context, "Normal", "Starting", "Starting kubelet.");
    for (const { reason, message } of nodeEvents(nodeName, undefined, created.status ?? {}))
      nodeEvent(context, "Normal", reason, message);
    return created;
  }
  const missing = Object.fromEntries(
    Object.entries(labels).filter(([key, value]) => before.metadata?.labels?.[key] !== value),
  );
  if (Object.keys(missing).length > 0)
    await client.patch(nodes, place, "merge", { metadata: { labels: missing } }, {}, signal);
  const boot = before.status?.nodeInfo?.bootID;
  if (boot !== undefined && boot !== "" && boot !== report.facts.bootId) {
    const message = `Node ${nodeName} has been rebooted, boot id: ${report.facts.bootId}`;
    nodeEvent(context, "Warning", "Rebooted", message);
  }
  nodeEvent(context, "Normal", "Starting", "Starting kubelet.");
  const status = nodeStatus(report, before.status, clock.now());
  const after = await client.patch(nodes, place, "strategic", { status }, { subresource: "status" }, signal);
  for (const { reason, message } of nodeEvents(nodeName, before.status, status))
    nodeEvent(context, "Normal", reason, message);
  return after;
}

function nodeEvent(
  { recorder, nodeName }: AgentContext,
  type: "Normal" | "Warning",
  reason: string,
  message: string,
): void {
  const metadata = { name: nodeName, uid: nodeName };
  recorder.event({ apiVersion: "v1", kind: "Node", metadata }, type, reason, message);
}

/** Equal but for the time of the heartbeat and free disk space. */
function isSame(before: NodeStatus | undefined, wanted: NodeStatus): boolean {
  const plain = (status: NodeStatus | undefined): unknown => ({
    addresses: status?.addresses,
    capacity: status?.capacity,
    allocatable: status?.allocatable,
    images: status?.images,
    nodeInfo: status?.nodeInfo,
    volumesInUse: status?.volumesInUse ?? [],
    conditions: status?.conditions
      ?.map(({ type, status: value, reason, message }) => ({ type, value, reason, message }))
      .toSorted((a, b) => a.type.localeCompare(b.type)),
  });
  return isDeepStrictEqual(plain(before), plain(wanted));
}
