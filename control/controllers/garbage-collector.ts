import type { OwnerReference } from "#api/generated/kubernetes.ts";
import { apiVersionOf, type KubeObject, keyOf, type Resource } from "#api/meta.ts";
import { isReason } from "#api/status-error.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { discover } from "./discover.ts";
import { type GraphNode, OwnerGraph } from "./owner-graph.ts";
import { fateOf, foregroundFinalizer, isBlocking, type Owner, orphanFinalizer } from "./plan/garbage.ts";
import { asTarget } from "./plan/owners.ts";

/** The key of the round that asks discovery which kinds there are. */
const discoveryKey = "discovery";
/** Owners known to be gone that are remembered, so that ten thousand dependents ask the API once. */
const absentLimit = 10_000;

/** Deletes what lost its owner, and lets objects go that waited for what they own. */
export function garbageCollector(ports: ControllerPorts): Controller {
  const { client, clock, events, log, tables } = ports;
  const queue = controllerQueue(clock);
  const graph = new OwnerGraph();
  const absent = new Set<string>();
  const watched = new Set<string>();
  /** By `apiVersion kind`, as owner references name them. */
  const kinds = new Map<string, Resource>();
  queue.add(discoveryKey);

  return {
    name: "garbage-collector",
    queue,
    workers: 8,
    step: async (key, signal) => {
      if (key === discoveryKey) return await watchEverything(signal);
      const node = graph.node(key);
      if (node === undefined) return;
      await finish(node, signal);
      await collect(node, signal);
    },
  };

  async function watchEverything(signal: AbortSignal): Promise<void> {
    const found = await discover(client, signal);
    const fresh = found.filter(
      ({ resource, verbs }) =>
        ["list", "watch", "delete"].every((verb) => verbs.includes(verb)) &&
        !(resource.plural === "events" && ["", "events.k8s.io"].includes(resource.group)) &&
        !watched.has(`${resource.group}/${resource.plural}`),
    );
    for (const { resource } of fresh) {
      watched.add(`${resource.group}/${resource.plural}`);
      kinds.set(`${apiVersionOf(resource)} ${resource.kind}`, resource);
    }
    // Every kind is listed before anything is judged: an owner that is only unknown yet is not gone.
    await Promise.all(fresh.map(({ resource }) => tables.of(resource).cache.synced(signal)));
    for (const { resource } of fresh) {
      tables.of(resource).subscribe((_, now, before) => changed(resource, now, before));
    }
    log.debug("garbage collector watches", { kinds: watched.size });
  }

  function changed(resource: Resource, now: KubeObject | undefined, before: KubeObject | undefined): void {
    const oldUid = before?.metadata?.uid;
    if (before !== undefined && oldUid !== undefined && oldUid !== now?.metadata?.uid) {
      graph.delete(oldUid);
      rememberAbsent(oldUid);
      for (const dependent of graph.dependents(oldUid)) queue.add(dependent.uid);
      for (const { uid } of before.metadata?.ownerReferences ?? []) {
        if (graph.node(uid)?.object.metadata?.deletionTimestamp !== undefined) queue.add(uid);
      }
    }
    if (now === undefined) return;
    graph.set(resource, now);
    const { uid = "", finalizers = [], deletionTimestamp, ownerReferences = [] } = now.metadata ?? {};
    const isEnding = deletionTimestamp !== undefined;
    const isWaited = finalizers.includes(foregroundFinalizer) || finalizers.includes(orphanFinalizer);
    const isNew = before?.metadata?.uid !== uid;
    const hasNewOwners =
      isNew || JSON.stringify(before?.metadata?.ownerReferences) !== JSON.stringify(ownerReferences);
    if ((ownerReferences.length > 0 && hasNewOwners) || (isEnding && isWaited)) queue.add(uid);
    // An owner that stopped blocking may be let go.
    if (!isNew && hasNewOwners) {
      for (const owner of before?.metadata?.ownerReferences ?? []) {
        if (graph.node(owner.uid)?.object.metadata?.deletionTimestamp !== undefined) queue.add(owner.uid);
      }
    }
  }

  /** An object that is being deleted and waits for us: orphan its dependents, or see them off first. */
  async function finish(node: GraphNode, signal: AbortSignal): Promise<void> {
    const { deletionTimestamp, finalizers = [] } = node.object.metadata ?? {};
    if (deletionTimestamp === undefined) return;
    const dependents = graph.dependents(node.uid);
    if (finalizers.includes(orphanFinalizer)) {
      for (const dependent of dependents) await dropReferences(dependent, [node.uid], signal);
      await removeFinalizer(node, orphanFinalizer, signal);
    } else if (finalizers.includes(foregroundFinalizer)) {
      const blocking = dependents.filter(({ object }) => isBlocking(object, node.uid));
      if (blocking.length === 0) await removeFinalizer(node, foregroundFinalizer, signal);
      else for (const dependent of dependents) queue.add(dependent.uid);
    }
  }

  async function collect(node: GraphNode, signal: AbortSignal): Promise<void> {
    const references = node.object.metadata?.ownerReferences ?? [];
    if (references.length === 0 || node.object.metadata?.deletionTimestamp !== undefined) return;
    const owners = await Promise.all(references.map((reference) => findOwner(node, reference, signal)));
    const known = owners.filter((owner) => owner !== undefined);
    if (known.length < owners.length) return; // an owner of a kind that nobody knows: leave it alone
    const fate = fateOf(node.object, known, graph.dependents(node.uid).length > 0);
    switch (fate.do) {
      case "keep":
        return;
      case "drop-references":
        return await dropReferences(node, fate.uids, signal);
      case "delete":
        return await remove(node, fate.policy, signal);
      default:
        return fate satisfies never;
    }
  }

  /** What the graph does not know is asked of the API itself, by name and uid. */
  async function findOwner(
    node: GraphNode,
    reference: OwnerReference,
    signal: AbortSignal,
  ): Promise<Owner | undefined> {
    const known = graph.node(reference.uid);
    const namespace = node.object.metadata?.namespace ?? "";
    if (known !== undefined) {
      const { namespace: ownerNamespace = "" } = known.object.metadata ?? {};
      if (ownerNamespace !== "" && ownerNamespace !== namespace) return invalidOwner(node, reference);
      return { state: "there", reference, foreground: isForeground(known.object) };
    }
    if (absent.has(reference.uid)) return { state: "gone", reference };
    const resource = kinds.get(`${reference.apiVersion} ${reference.kind}`);
    if (resource === undefined) return undefined;
    if (resource.namespaced && namespace === "") return invalidOwner(node, reference);
    try {
      const key = { namespace: resource.namespaced ? namespace : "", name: reference.name };
      const live = await client.get(resource, key, signal);
      if (live.metadata?.uid === reference.uid)
        return { state: "there", reference, foreground: isForeground(live) };
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
    rememberAbsent(reference.uid);
    return { state: "gone", reference };
  }

  /** Owners live in the namespace of what they own, or in none; any other reference counts as one to nothing. */
  function invalidOwner(node: GraphNode, reference: OwnerReference): Owner {
    const { namespace = "" } = node.object.metadata ?? {};
    const message = `ownerRef [${reference.apiVersion}/${reference.kind}, namespace: ${namespace}, name: ${reference.name}, uid: ${reference.uid}] does not exist in namespace "${namespace}"`;
    events.event(asTarget(node.resource, node.object), "Warning", "OwnerRefInvalidNamespace", message);
    return { state: "gone", reference };
  }

  function rememberAbsent(uid: string): void {
    absent.add(uid);
    if (absent.size <= absentLimit) return;
    const oldest = absent.values().next().value;
    if (oldest !== undefined) absent.delete(oldest);
  }

  async function remove(
    node: GraphNode,
    propagationPolicy: "Background" | "Foreground" | "Orphan",
    signal: AbortSignal,
  ): Promise<void> {
    const { resourceVersion } = node.object.metadata ?? {};
    const guard = resourceVersion === undefined ? {} : { resourceVersion };
    try {
      await client.delete(
        node.resource,
        keyOf(node.object),
        { propagationPolicy, uid: node.uid, ...guard },
        signal,
      );
      tables.of(node.resource).deleting(node.object);
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
  }

  async function dropReferences(
    node: GraphNode,
    uids: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    const { ownerReferences = [] } = node.object.metadata ?? {};
    await writeMetadata(
      node,
      { ownerReferences: ownerReferences.filter(({ uid }) => !uids.includes(uid)) },
      signal,
    );
  }

  async function removeFinalizer(node: GraphNode, name: string, signal: AbortSignal): Promise<void> {
    const finalizers = (node.object.metadata?.finalizers ?? []).filter((each) => each !== name);
    await writeMetadata(node, { finalizers }, signal);
  }

  async function writeMetadata(
    node: GraphNode,
    change: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<void> {
    const { resourceVersion } = node.object.metadata ?? {};
    const metadata = { uid: node.uid, resourceVersion, ...change };
    try {
      await client.patch(node.resource, keyOf(node.object), "merge", { metadata }, {}, signal);
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
  }
}

function isForeground(object: KubeObject): boolean {
  return (
    object.metadata?.deletionTimestamp !== undefined &&
    (object.metadata.finalizers ?? []).includes(foregroundFinalizer)
  );
}
