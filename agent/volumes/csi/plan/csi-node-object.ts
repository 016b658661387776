import type { CSINode, CSINodeDriver, Node } from "#api/generated/kubernetes.ts";
import type { CsiNodeInfo } from "../csi-driver.ts";

/** The most that `allocatable.count` can say. */
const maxCount = 2 ** 31 - 1;
/** Where the Node keeps the ids that drivers gave it. */
export const nodeIdAnnotation = "csi.volume.kubernetes.io/nodeid";

/** A CSINode of this node without drivers; it goes with the Node. */
export function newCsiNode(node: Node): CSINode {
  const { name = "", uid = "" } = node.metadata ?? {};
  return {
    metadata: { name, ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid }] },
    spec: { drivers: [] },
  };
}

/** The CSINode with a driver as it is now. @returns undefined when it says so already. */
export function withDriver(before: CSINode, driver: string, info: CsiNodeInfo): CSINode | undefined {
  const count = Math.min(maxCount, info.maxVolumes);
  const wanted: CSINodeDriver = {
    name: driver,
    nodeID: info.nodeId,
    topologyKeys: Object.keys(info.topology).toSorted(),
    ...(count > 0 ? { allocatable: { count } } : {}),
  };
  const known = before.spec.drivers.find(({ name }) => name === driver);
  if (known !== undefined && isSame(known, wanted)) return undefined;
  return {
    ...before,
    spec: { drivers: [...before.spec.drivers.filter(({ name }) => name !== driver), wanted] },
  };
}

/** The CSINode without a driver. @returns undefined when it does not have it. */
export function withoutDriver(before: CSINode, driver: string): CSINode | undefined {
  const drivers = before.spec.drivers.filter(({ name }) => name !== driver);
  return drivers.length === before.spec.drivers.length ? undefined : { ...before, spec: { drivers } };
}

/**
 * What the Node has to say of a driver besides: the annotation with its id, and its topology as labels.
 * @returns a merge patch; undefined when there is nothing to say.
 * @throws Error when a label says another place already: where a node is does not change under its volumes.
 */
export function nodePatch(node: Node, driver: string, info: CsiNodeInfo): object | undefined {
  const { annotations = {}, labels = {} } = node.metadata ?? {};
  for (const [key, value] of Object.entries(info.topology)) {
    const before = labels[key];
    if (before !== undefined && before !== value)
      throw new Error(
        `detected topology value collision: driver reported "${key}":"${value}" but existing label is "${key}":"${before}"`,
      );
  }
  const ids = nodeIds(annotations[nodeIdAnnotation]);
  const missing = Object.fromEntries(
    Object.entries(info.topology).filter(([key]) => labels[key] === undefined),
  );
  if (ids[driver] === info.nodeId && Object.keys(missing).length === 0) return undefined;
  const text = JSON.stringify({ ...ids, [driver]: info.nodeId });
  return { metadata: { labels: missing, annotations: { [nodeIdAnnotation]: text } } };
}

/** The patch that takes a driver's id from the Node; its labels stay, for volumes may be bound by them. */
export function nodePatchWithout(node: Node, driver: string): object | undefined {
  const ids = nodeIds(node.metadata?.annotations?.[nodeIdAnnotation]);
  if (ids[driver] === undefined) return undefined;
  const rest = Object.fromEntries(Object.entries(ids).filter(([name]) => name !== driver));
  const text = Object.keys(rest).length === 0 ? null : JSON.stringify(rest);
  return { metadata: { annotations: { [nodeIdAnnotation]: text } } };
}

/** The annotation's content; one that makes no sense is written anew. */
function nodeIds(text: string | undefined): Readonly<Record<string, string>> {
  try {
    const value: unknown = JSON.parse(text ?? "{}");
    if (typeof value !== "object" || value === null) return {};
    return Object.fromEntries(
      Object.entries(value).filter((pair): pair is [string, string] => typeof pair[1] === "string"),
    );
  } catch {
    return {};
  }
}

function isSame(one: CSINodeDriver, other: CSINodeDriver): boolean {
  return (
    one.nodeID === other.nodeID &&
    one.allocatable?.count === other.allocatable?.count &&
    (one.topologyKeys ?? []).toSorted().join("\n") === (other.topologyKeys ?? []).join("\n")
  );
}
