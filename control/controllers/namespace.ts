import type { Namespace } from "#api/generated/kubernetes.ts";
import { keyOf, type KubeObject, resourcePath } from "#api/meta.ts";
import { namespaces, pods } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { type DiscoveredResource, discover } from "./discover.ts";
import { type ContentReport, namespaceConditions } from "./plan/namespace-conditions.ts";
import { isSameJson } from "./plan/same.ts";

/** What keeps a namespace until its content is gone. */
const finalizer = "kubernetes";
/** A pass that left something behind is followed by another after this, when nothing wakes it before. */
const againMs = 5_000;
/** Resources whose content is deleted side by side. */
const atOnce = 8;

/** Empties namespaces that are being deleted, pods first, and then lets them go. */
export function namespaceController(ports: ControllerPorts): Controller {
  const { client, clock, log, tables } = ports;
  const table = tables.of(namespaces);
  const queue = controllerQueue(clock);
  table.subscribe((key, now) => {
    if (now?.metadata?.deletionTimestamp !== undefined) queue.add(key);
  });
  tables.of(pods).subscribe((_, now, before) => {
    const name = before?.metadata?.namespace ?? "";
    if (now === undefined && table.get(name)?.metadata?.deletionTimestamp !== undefined) queue.add(name);
  });

  return {
    name: "namespace",
    queue,
    workers: 4,
    step: async (key, signal) => {
      const namespace = table.get(key);
      if (namespace?.metadata?.deletionTimestamp === undefined) return;
      const report = await empty(key, signal);
      const written = await writeConditions(namespace, report, signal);
      if (written === undefined) return;
      const isEmpty =
        report.remaining.size === 0 &&
        report.discoveryFailure === undefined &&
        report.deletionFailure === undefined;
      if (isEmpty) await letGo(written, signal);
      else queue.addAfter(key, againMs);
    },
  };

  async function empty(name: string, signal: AbortSignal): Promise<ContentReport> {
    let found: readonly DiscoveredResource[];
    try {
      found = await discover(client, signal);
    } catch (cause) {
      signal.throwIfAborted();
      return { discoveryFailure: errorText(cause), remaining: new Map(), finalizers: new Map() };
    }
    const content = found.filter(
      ({ resource, verbs }) => resource.namespaced && verbs.includes("list") && verbs.includes("delete"),
    );
    const isPod = ({ resource }: DiscoveredResource): boolean =>
      resource.group === "" && resource.plural === "pods";
    // Pods first: what they still need while they end (Secrets, network policies) goes after them (KEP-5080).
    const ended = await deleteContent(content.filter(isPod), name, signal);
    if (ended.remaining.size > 0 || ended.deletionFailure !== undefined) return ended;
    return await deleteContent(
      content.filter((each) => !isPod(each)),
      name,
      signal,
    );
  }

  async function deleteContent(
    content: readonly DiscoveredResource[],
    namespace: string,
    signal: AbortSignal,
  ): Promise<ContentReport> {
    const remaining = new Map<string, number>();
    const finalizers = new Map<string, number>();
    const failures: string[] = [];
    const rest = [...content];
    const worker = async (): Promise<void> => {
      for (let next = rest.shift(); next !== undefined; next = rest.shift()) {
        const { group, plural } = next.resource;
        const label = group === "" ? plural : `${plural}.${group}`;
        try {
          const left = await deleteAll(next, namespace, signal);
          if (left.length > 0) remaining.set(label, left.length);
          for (const each of left.flatMap(({ metadata }) => metadata?.finalizers ?? []))
            finalizers.set(each, (finalizers.get(each) ?? 0) + 1);
        } catch (cause) {
          signal.throwIfAborted();
          failures.push(`${label}: ${errorText(cause)}`);
        }
      }
    };
    await Promise.all(Array.from({ length: atOnce }, worker));
    return {
      remaining,
      finalizers,
      ...(failures.length === 0
        ? {}
        : {
            deletionFailure: `Failed to delete all resource types, ${failures.length} remaining: ${failures.join(", ")}`,
          }),
    };
  }

  /** @returns what is still there afterwards. */
  async function deleteAll(
    { resource, verbs }: DiscoveredResource,
    namespace: string,
    signal: AbortSignal,
  ): Promise<readonly KubeObject[]> {
    const before = await client.list(resource, { namespace }, signal);
    if (before.items.length === 0) return [];
    const body = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" };
    if (verbs.includes("deletecollection")) {
      await client.json("DELETE", resourcePath(resource, { namespace }), body, signal);
    } else {
      for (const object of before.items.filter(({ metadata }) => metadata?.deletionTimestamp === undefined)) {
        try {
          await client.delete(resource, keyOf(object), { propagationPolicy: "Background" }, signal);
        } catch (cause) {
          if (!isReason(cause, "NotFound")) throw cause;
        }
      }
    }
    return (await client.list(resource, { namespace }, signal)).items;
  }

  async function writeConditions(
    namespace: Namespace,
    report: ContentReport,
    signal: AbortSignal,
  ): Promise<Namespace | undefined> {
    const conditions = namespaceConditions(namespace.status?.conditions ?? [], report, clock.now());
    if (isSameJson(conditions, namespace.status?.conditions)) return namespace;
    try {
      const next = { ...namespace, status: { ...namespace.status, conditions } };
      const written = await client.update(namespaces, next, { subresource: "status" }, signal);
      table.wrote(written);
      return written;
    } catch (cause) {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    }
  }

  async function letGo(namespace: Namespace, signal: AbortSignal): Promise<void> {
    const finalizers = (namespace.spec?.finalizers ?? []).filter((each) => each !== finalizer);
    const next = { ...namespace, spec: { ...namespace.spec, finalizers } };
    try {
      await client.update(namespaces, next, { subresource: "finalize" }, signal);
      log.info("namespace is gone", { namespace: namespace.metadata?.name });
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
  }
}
