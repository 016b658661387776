import type { ApiClient } from "#api/client.ts";
import type { EventRecorder } from "#api/event-recorder.ts";
import type { Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { namespaces, nodes, pods, replicaSets, replicationControllers, services } from "#api/resources.ts";
import { hasLabels, type Requirement, requirementsOf } from "#api/selectors.ts";
import { isReason } from "#api/status-error.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { together } from "#lib/together.ts";
import { asTarget, controllerOf } from "../controllers/plan/owners.ts";
import { isPodFinished } from "../controllers/plan/pod-state.ts";
import { isoTime } from "../controllers/plan/times.ts";
import { Tables } from "../controllers/tables.ts";
import { ClusterView } from "./cluster-view.ts";
import { chooseNode, type SchedulingWorld } from "./plan/choose-node.ts";
import { writeUnscheduled } from "./pod-condition.ts";
import { SchedulingQueue } from "./scheduling-queue.ts";

/** The name pods ask for when they ask for none. */
export const defaultSchedulerName = "default-scheduler";
/** Bindings under way at once; the decisions themselves are made one after another. */
const bindingLimit = 64;

/** What `runScheduler` needs from its process. */
export interface SchedulerPorts {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
  readonly events: EventRecorder;
  /** Shared with the controllers of this process, which run them; made and run here unless given. */
  readonly tables?: Tables;
  /** Serves pods of this `spec.schedulerName`; `default-scheduler` unless given. */
  readonly schedulerName?: string;
}

/** Gives every pod without a node one, until the signal is aborted. */
export async function runScheduler(ports: SchedulerPorts, signal: AbortSignal): Promise<void> {
  const tables = ports.tables ?? new Tables(ports);
  const own = ports.tables === undefined ? [(stop: AbortSignal) => tables.run(stop)] : [];
  const used = [tables.of(pods), tables.of(nodes), tables.of(namespaces), tables.of(services)];
  const owners = [tables.of(replicaSets), tables.of(replicationControllers)];
  await together(signal, ...own, async (stop) => {
    try {
      // A picture without every node and every pod would put pods where there is no room.
      await Promise.all([...used, ...owners].map(({ cache }) => cache.synced(stop)));
      await schedule(ports, tables, stop);
    } catch (cause) {
      if (!stop.aborted) throw cause;
    }
  });
}

async function schedule(ports: SchedulerPorts, tables: Tables, signal: AbortSignal): Promise<void> {
  const { client, clock, log, events } = ports;
  const schedulerName = ports.schedulerName ?? defaultSchedulerName;
  const podTable = tables.of(pods);
  const queue = new SchedulingQueue(clock);
  const view = new ClusterView(tables.of(nodes), podTable, () => queue.wakeAll());
  const world = worldOf(ports, tables, view);
  const binding = new Set<Promise<void>>();

  podTable.subscribe((key, now, before) => {
    if (now?.metadata?.uid !== before?.metadata?.uid) queue.remove(key); // another pod of the same name
    if (now === undefined || !isWaiting(now, schedulerName)) {
      queue.remove(key);
      return;
    }
    if (view.isAssumed(key)) return;
    if (isGated(now)) {
      queue.remove(key);
      start(note(now, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates"));
      return;
    }
    // Our own note on why the pod has no node is no reason to try it again.
    if (before !== undefined && specText(before) === specText(now)) return;
    queue.add(key, now.spec?.priority ?? 0);
  });

  for (;;) {
    const key = await queue.next(signal);
    if (key === undefined) break;
    const pod = podTable.get(key);
    if (pod === undefined || !isWaiting(pod, schedulerName) || isGated(pod)) {
      queue.remove(key);
      continue;
    }
    // No await from here to `assume`: nothing changes between the decision and its mark.
    const placement = chooseNode(pod, world());
    if (placement.state === "placed") {
      view.assume(pod, placement.node);
      start(bind(pod, key, placement.node));
    } else {
      queue.park(key);
      events.event(asTarget(pods, pod), "Warning", "FailedScheduling", placement.message);
      start(note(pod, "Unschedulable", placement.message));
    }
    while (binding.size >= bindingLimit) await Promise.race(binding);
  }
  queue.close();
  await Promise.all(binding);

  function start(work: Promise<void>): void {
    const ended = work
      .catch((cause: unknown) => {
        if (!signal.aborted) log.warn("scheduling write failed", { cause: errorText(cause) });
      })
      .finally(() => binding.delete(ended));
    binding.add(ended);
  }

  async function bind(pod: Pod, key: string, node: string): Promise<void> {
    const { namespace = "", name = "", uid } = pod.metadata ?? {};
    try {
      await client.createSubresource(
        pods,
        keyOf(pod),
        "binding",
        {
          apiVersion: "v1",
          kind: "Binding",
          metadata: { namespace, name, ...(uid === undefined ? {} : { uid }) },
          target: { apiVersion: "v1", kind: "Node", name: node },
        },
        signal,
      );
      queue.remove(key);
      events.event(
        asTarget(pods, pod),
        "Normal",
        "Scheduled",
        `Successfully assigned ${namespace}/${name} to ${node}`,
      );
    } catch (cause) {
      if (signal.aborted) return;
      view.forget(pod);
      const isSame = podTable.get(key)?.metadata?.uid === uid;
      if (isReason(cause, "NotFound")) {
        if (isSame) queue.remove(key);
      } else {
        queue.retry(key);
        events.event(
          asTarget(pods, pod),
          "Warning",
          "FailedScheduling",
          `binding rejected: ${errorText(cause)}`,
        );
        if (!isReason(cause, "Conflict")) throw cause;
      }
    }
  }

  async function note(pod: Pod, reason: "Unschedulable" | "SchedulingGated", message: string): Promise<void> {
    const written = await writeUnscheduled(client, pod, reason, message, isoTime(clock.now()), signal);
    if (written !== undefined) podTable.wrote(written);
  }
}

/** What a placement depends on, read when it is decided. */
function worldOf(ports: SchedulerPorts, tables: Tables, view: ClusterView): () => SchedulingWorld {
  const namespaceTable = tables.of(namespaces);
  const setTable = tables.of(replicaSets);
  const controllerTable = tables.of(replicationControllers);
  const servicesIn = tables
    .of(services)
    .index("by-namespace", (service) => [service.metadata?.namespace ?? ""]);
  const spreadSelector = (pod: Pod): readonly Requirement[] | undefined => {
    const namespace = pod.metadata?.namespace ?? "";
    const selectors = servicesIn
      .of(namespace)
      .map((service) => service.spec?.selector ?? {})
      .filter((wanted) => Object.keys(wanted).length > 0 && hasLabels(wanted, pod.metadata?.labels));
    const requirements = selectors.flatMap((matchLabels) => requirementsOf({ matchLabels }));
    const owner = controllerOf(pod);
    const ownerKey = keyText({ namespace, name: owner?.name ?? "" });
    const set = owner?.kind === "ReplicaSet" ? setTable.get(ownerKey)?.spec?.selector : undefined;
    const map =
      owner?.kind === "ReplicationController" ? controllerTable.get(ownerKey)?.spec?.selector : undefined;
    const all = [
      ...requirements,
      ...(set === undefined ? [] : requirementsOf(set)),
      ...(map === undefined ? [] : requirementsOf({ matchLabels: map })),
    ];
    return all.length === 0 ? undefined : all;
  };
  return () => ({
    nodes: view.nodes,
    namespaceLabels: (name) => namespaceTable.get(name)?.metadata?.labels ?? {},
    spreadSelector,
    random: ports.random(),
  });
}

/** Without a node, not ending, and ours. */
function isWaiting(pod: Pod, schedulerName: string): boolean {
  return (
    (pod.spec?.nodeName ?? "") === "" &&
    pod.metadata?.deletionTimestamp === undefined &&
    !isPodFinished(pod) &&
    (pod.spec?.schedulerName ?? defaultSchedulerName) === schedulerName
  );
}

function isGated(pod: Pod): boolean {
  return (pod.spec?.schedulingGates ?? []).length > 0;
}

/** What of a pod may change where it fits. */
function specText(pod: Pod): string {
  return JSON.stringify([pod.metadata?.uid, pod.metadata?.labels, pod.spec]);
}
