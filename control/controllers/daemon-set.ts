import type { DaemonSet, Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText, type Resource } from "#api/meta.ts";
import { nodes, pods as podsResource } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { buildDaemonPod, nodeOf, planDaemonSet, revisionHashLabel } from "./plan/daemon-set.ts";
import { asTarget, controllerOf } from "./plan/owners.ts";
import { availableInMs } from "./plan/pod-state.ts";
import { isSameJson } from "./plan/same.ts";
import { podIndexes } from "./pod-indexes.ts";
import { revisionsOf } from "./revisions.ts";

/** DaemonSets, as the API has them. */
export const daemonSets: Resource<DaemonSet> = {
  group: "apps",
  version: "v1",
  plural: "daemonsets",
  kind: "DaemonSet",
  namespaced: true,
};

/** Keeps one pod of every DaemonSet on every node it is for. */
export function daemonSetController(ports: ControllerPorts): Controller {
  const { client, clock, events, tables } = ports;
  const table = tables.of(daemonSets);
  const nodeTable = tables.of(nodes);
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);
  const revisions = revisionsOf(daemonSets, ports);
  table.subscribe((key) => queue.add(key));
  nodeTable.subscribe((_, now, before) => {
    const facts = (node: typeof now) =>
      JSON.stringify([node?.metadata?.labels, node?.spec?.taints, node?.metadata?.uid]);
    if (facts(now) === facts(before)) return; // a heartbeat
    for (const set of table.values()) queue.add(keyText(keyOf(set)));
  });
  pods.table.subscribe((_, now, before) => {
    const pod = now ?? before;
    const owner = pod === undefined ? undefined : controllerOf(pod);
    if (owner?.kind === daemonSets.kind)
      queue.add(keyText({ namespace: pod?.metadata?.namespace ?? "", name: owner.name }));
  });

  return {
    name: "daemonset",
    queue,
    workers: 2,
    step: async (key, signal) => {
      const set = table.get(key);
      if (set === undefined || set.metadata?.deletionTimestamp !== undefined) return;
      const owned = pods.byController.of(set.metadata?.uid ?? "");
      const hash = await revisions.keep(set, set.spec?.template ?? {}, signal);
      const plan = planDaemonSet(set, [...nodeTable.values()], owned, hash, clock.now());
      for (const pod of plan.failed) {
        const message = `Found failed daemon pod ${keyText(keyOf(pod))} on node ${nodeOf(pod)}, will try to kill it`;
        events.event(asTarget(daemonSets, set), "Warning", "FailedDaemonPod", message);
      }
      await Promise.all(plan.remove.map((pod) => remove(set, pod, signal)));
      await create(set, plan.create, hash, signal);
      if (!isSameJson({ ...zeros, ...set.status }, plan.status)) {
        const next = { ...set, status: plan.status };
        table.wrote(await client.update(daemonSets, next, { subresource: "status" }, signal));
      }
      const waits = owned
        .map((pod) => availableInMs(pod, set.spec?.minReadySeconds ?? 0, clock.now()) ?? 0)
        .filter((wait) => wait > 0);
      if (waits.length > 0) queue.addAfter(key, Math.min(...waits));
      const used = new Set(owned.map(({ metadata }) => metadata?.labels?.[revisionHashLabel] ?? ""));
      await revisions.prune(set, set.spec?.revisionHistoryLimit ?? 10, used, signal);
    },
  };

  async function create(
    set: DaemonSet,
    names: readonly string[],
    hash: string,
    signal: AbortSignal,
  ): Promise<void> {
    for (const name of names) {
      try {
        const pod = await client.create(
          podsResource,
          buildDaemonPod(daemonSets, set, name, hash),
          {},
          signal,
        );
        pods.table.wrote(pod);
        events.event(
          asTarget(daemonSets, set),
          "Normal",
          "SuccessfulCreate",
          `Created pod: ${pod.metadata?.name}`,
        );
      } catch (cause) {
        signal.throwIfAborted();
        events.event(
          asTarget(daemonSets, set),
          "Warning",
          "FailedCreate",
          `Error creating: ${errorText(cause)}`,
        );
        throw cause;
      }
    }
  }

  async function remove(set: DaemonSet, pod: Pod, signal: AbortSignal): Promise<void> {
    try {
      const uid = pod.metadata?.uid;
      await client.delete(podsResource, keyOf(pod), uid === undefined ? {} : { uid }, signal);
      events.event(
        asTarget(daemonSets, set),
        "Normal",
        "SuccessfulDelete",
        `Deleted pod: ${pod.metadata?.name}`,
      );
    } catch (cause) {
      if (!isReason(cause, "NotFound", "Conflict")) throw cause;
    }
    pods.table.deleting(pod);
  }
}

/** Counts that are 0 are left out by servers written in Go. */
const zeros = { numberAvailable: 0, numberUnavailable: 0, updatedNumberScheduled: 0, observedGeneration: 0 };
