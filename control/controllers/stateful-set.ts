import type { Pod, PodTemplateSpec, StatefulSet } from "#api/generated/kubernetes.ts";
import { keyOf, keyText, type Resource } from "#api/meta.ts";
import { persistentVolumeClaims, pods as podsResource } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { revisionHashLabel } from "./plan/daemon-set.ts";
import { asTarget, controllerOf } from "./plan/owners.ts";
import { availableInMs } from "./plan/pod-state.ts";
import { isSameJson } from "./plan/same.ts";
import { buildClaims, buildStatefulPod } from "./plan/stateful-pod.ts";
import { planStatefulSet } from "./plan/stateful-set.ts";
import { podIndexes } from "./pod-indexes.ts";
import { revisionsOf } from "./revisions.ts";

/** StatefulSets, as the API has them. */
export const statefulSets: Resource<StatefulSet> = {
  group: "apps",
  version: "v1",
  plural: "statefulsets",
  kind: "StatefulSet",
  namespaced: true,
};

/** Keeps the numbered pods of every StatefulSet, each with its name and its claims. */
export function statefulSetController(ports: ControllerPorts): Controller {
  const { client, clock, events, tables } = ports;
  const table = tables.of(statefulSets);
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);
  const revisions = revisionsOf(statefulSets, ports);
  table.subscribe((key) => queue.add(key));
  pods.table.subscribe((_, now, before) => {
    const pod = now ?? before;
    const owner = pod === undefined ? undefined : controllerOf(pod);
    if (owner?.kind === statefulSets.kind)
      queue.add(keyText({ namespace: pod?.metadata?.namespace ?? "", name: owner.name }));
  });

  return {
    name: "statefulset",
    queue,
    workers: 5,
    step: async (key, signal) => {
      const set = table.get(key);
      if (set === undefined || set.metadata?.deletionTimestamp !== undefined) return;
      const template = set.spec?.template ?? {};
      const hash = await revisions.keep(set, template, signal);
      const update = `${set.metadata?.name}-${hash}`;
      const known = set.status?.currentRevision ?? "";
      const current = known === "" || revisions.template(set, known) === undefined ? update : known;
      const owned = pods.byController.of(set.metadata?.uid ?? "");
      const plan = planStatefulSet(set, owned, { current, update }, clock.now());
      for (const pod of plan.remove) await remove(set, pod, signal);
      for (const { ordinal, revision } of plan.create) {
        const old = revision === update ? template : (revisions.template(set, revision) ?? template);
        await create(set, old, ordinal, revision, signal);
      }
      if (!isSameJson({ ...zeros, ...set.status }, plan.status)) {
        const next = { ...set, status: plan.status };
        table.wrote(await client.update(statefulSets, next, { subresource: "status" }, signal));
      }
      const waits = owned
        .map((pod) => availableInMs(pod, set.spec?.minReadySeconds ?? 0, clock.now()) ?? 0)
        .filter((wait) => wait > 0);
      if (waits.length > 0) queue.addAfter(key, Math.min(...waits));
      const names = owned.map(({ metadata }) => metadata?.labels?.[revisionHashLabel] ?? "");
      const used = new Set([...names, current].map((name) => name.slice(name.lastIndexOf("-") + 1)));
      await revisions.prune(set, set.spec?.revisionHistoryLimit ?? 10, used, signal);
    },
  };

  async function create(
    set: StatefulSet,
    template: PodTemplateSpec,
    ordinal: number,
    revision: string,
    signal: AbortSignal,
  ): Promise<void> {
    const target = asTarget(statefulSets, set);
    const pod = buildStatefulPod(statefulSets, set, template, ordinal, revision);
    const suffix = `Pod ${pod.metadata?.name} in StatefulSet ${set.metadata?.name}`;
    try {
      for (const claim of buildClaims(set, ordinal)) {
        if (tables.of(persistentVolumeClaims).get(keyText(keyOf(claim))) !== undefined) continue;
        try {
          const written = await client.create(persistentVolumeClaims, claim, {}, signal);
          tables.of(persistentVolumeClaims).wrote(written);
          events.event(
            target,
            "Normal",
            "SuccessfulCreate",
            `create Claim ${claim.metadata?.name} ${suffix} success`,
          );
        } catch (cause) {
          if (!isReason(cause, "AlreadyExists")) throw cause;
        }
      }
      pods.table.wrote(await client.create(podsResource, pod, {}, signal));
      events.event(target, "Normal", "SuccessfulCreate", `create ${suffix} successful`);
    } catch (cause) {
      signal.throwIfAborted();
      events.event(target, "Warning", "FailedCreate", `create ${suffix} failed error: ${errorText(cause)}`);
      throw cause;
    }
  }

  async function remove(set: StatefulSet, pod: Pod, signal: AbortSignal): Promise<void> {
    try {
      const uid = pod.metadata?.uid;
      await client.delete(podsResource, keyOf(pod), uid === undefined ? {} : { uid }, signal);
      const message = `delete Pod ${pod.metadata?.name} in StatefulSet ${set.metadata?.name} successful`;
      events.event(asTarget(statefulSets, set), "Normal", "SuccessfulDelete", message);
    } catch (cause) {
      if (!isReason(cause, "NotFound", "Conflict")) throw cause;
    }
    pods.table.deleting(pod);
  }
}

/** Counts that are 0 are left out by servers written in Go. */
const zeros = {
  readyReplicas: 0,
  availableReplicas: 0,
  currentReplicas: 0,
  updatedReplicas: 0,
  collisionCount: 0,
};
