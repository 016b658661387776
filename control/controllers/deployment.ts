import type { Deployment, DeploymentStatus, ReplicaSet } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { deployments, replicaSets } from "#api/resources.ts";
import { matches, requirementsOf } from "#api/selectors.ts";
import { isReason } from "#api/status-error.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { planRollout, type RolloutAction, scalingMessage } from "./plan/deployment.ts";
import { newReplicaSet, revisionAnnotation } from "./plan/deployment-replica-sets.ts";
import { deadlineInMs, deploymentStatus, type RolloutNews } from "./plan/deployment-status.ts";
import { asTarget, controllerOf, controllerReference } from "./plan/owners.ts";
import { isSameJson } from "./plan/same.ts";
import { podIndexes } from "./pod-indexes.ts";

/** Rolls every Deployment's template out through ReplicaSets. */
export function deploymentController(ports: ControllerPorts): Controller {
  const { client, clock, events, tables } = ports;
  const table = tables.of(deployments);
  const byNamespace = table.index("by-namespace", (object) => [object.metadata?.namespace ?? ""]);
  const sets = tables.of(replicaSets);
  const setsOf = sets.index("by-controller", (set) => {
    const owner = controllerOf(set);
    return owner === undefined ? [] : [owner.uid];
  });
  const orphanSets = sets.index("orphans", (set) =>
    controllerOf(set) === undefined ? [set.metadata?.namespace ?? ""] : [],
  );
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);

  table.subscribe((key) => queue.add(key));
  sets.subscribe((_, now, before) => {
    for (const set of [now, before]) {
      if (set === undefined) continue;
      const namespace = set.metadata?.namespace ?? "";
      const owner = controllerOf(set);
      if (owner?.kind === deployments.kind) queue.add(keyText({ namespace, name: owner.name }));
      else if (owner === undefined) {
        for (const object of byNamespace.of(namespace)) queue.add(keyText(keyOf(object)));
      }
    }
  });
  // `Recreate` waits for the last pod of the old ReplicaSets to be gone.
  pods.table.subscribe((_, now, before) => {
    if (now !== undefined || before === undefined) return;
    const namespace = before.metadata?.namespace ?? "";
    const set = sets.get(keyText({ namespace, name: controllerOf(before)?.name ?? "" }));
    const owner = set === undefined ? undefined : controllerOf(set);
    if (owner?.kind === deployments.kind) queue.add(keyText({ namespace, name: owner.name }));
  });

  return {
    name: "deployment",
    queue,
    workers: 5,
    step: async (key, signal) => {
      const object = table.get(key);
      if (object === undefined) return;
      await claimReplicaSets(object, signal);
      const owned = ownedSets(object);
      const podsOf = (set: ReplicaSet) => pods.byController.of(set.metadata?.uid ?? "");
      const rollout = planRollout(object, owned, podsOf, clock.now());
      for (const action of rollout.actions) {
        if (!(await apply(object, action, signal))) return; // the answer to a collision is a new plan
      }
      const noted = await noteRevision(object, rollout.revision, signal);
      const wait = await writeStatus(noted, rollout.news, signal);
      if (wait !== undefined) queue.addAfter(key, wait + 1_000);
    },
  };

  function ownedSets(object: Deployment): readonly ReplicaSet[] {
    const requirements = requirementsOf(object.spec?.selector ?? {});
    return setsOf
      .of(object.metadata?.uid ?? "")
      .filter(
        (set) => set.metadata?.deletionTimestamp === undefined && matches(requirements, set.metadata?.labels),
      );
  }

  async function claimReplicaSets(object: Deployment, signal: AbortSignal): Promise<void> {
    if (object.metadata?.deletionTimestamp !== undefined) return;
    const requirements = requirementsOf(object.spec?.selector ?? {});
    const adopt = orphanSets
      .of(object.metadata?.namespace ?? "")
      .filter(
        (set) => matches(requirements, set.metadata?.labels) && set.metadata?.deletionTimestamp === undefined,
      );
    const release = setsOf
      .of(object.metadata?.uid ?? "")
      .filter((set) => !matches(requirements, set.metadata?.labels));
    if (adopt.length > 0 && !(await isStillThere(object, signal))) return;
    const own = controllerReference(deployments, object);
    for (const set of adopt) await writeOwners(set, [...(set.metadata?.ownerReferences ?? []), own], signal);
    for (const set of release) {
      const others = (set.metadata?.ownerReferences ?? []).filter(({ uid }) => uid !== own.uid);
      await writeOwners(set, others, signal);
    }
  }

  async function isStillThere(object: Deployment, signal: AbortSignal): Promise<boolean> {
    try {
      const live = await client.get(deployments, keyOf(object), signal);
      return live.metadata?.uid === object.metadata?.uid && live.metadata?.deletionTimestamp === undefined;
    } catch (cause) {
      if (isReason(cause, "NotFound")) return false;
      throw cause;
    }
  }

  async function writeOwners(
    set: ReplicaSet,
    owners: readonly unknown[],
    signal: AbortSignal,
  ): Promise<void> {
    const { uid, resourceVersion } = set.metadata ?? {};
    const metadata = { uid, resourceVersion, ownerReferences: owners };
    sets.wrote(await client.patch(replicaSets, keyOf(set), "merge", { metadata }, {}, signal));
  }

  async function apply(object: Deployment, action: RolloutAction, signal: AbortSignal): Promise<boolean> {
    switch (action.do) {
      case "create":
        if (!(await create(object, action.set, signal))) return false;
        break;
      case "update":
        sets.wrote(await client.update(replicaSets, action.next, {}, signal));
        break;
      case "delete":
        await client.delete(replicaSets, keyOf(action.set), { propagationPolicy: "Background" }, signal);
        sets.deleting(action.set);
        break;
      default:
        return action satisfies never;
    }
    const message = scalingMessage(action);
    if (message !== undefined)
      events.event(asTarget(deployments, object), "Normal", "ScalingReplicaSet", message);
    return true;
  }

  /** @returns false when the name was taken by a ReplicaSet of another template: the next hash counts it. */
  async function create(object: Deployment, set: ReplicaSet, signal: AbortSignal): Promise<boolean> {
    try {
      sets.wrote(await client.create(replicaSets, set, {}, signal));
      return true;
    } catch (cause) {
      if (!isReason(cause, "AlreadyExists")) {
        if (!isReason(cause, "Conflict")) {
          const text = cause instanceof Error ? cause.message : String(cause);
          const message = `Failed to create new replica set "${set.metadata?.name}": ${text}`;
          events.event(asTarget(deployments, object), "Warning", "ReplicaSetCreateError", message);
        }
        throw cause;
      }
    }
    const there = await client.get(replicaSets, keyOf(set), signal);
    if (controllerOf(there)?.uid === object.metadata?.uid && newReplicaSet(object, [there]) !== undefined) {
      sets.wrote(there);
      queue.add(keyText(keyOf(object)));
      return false;
    }
    const status: DeploymentStatus = {
      ...object.status,
      collisionCount: (object.status?.collisionCount ?? 0) + 1,
    };
    table.wrote(await client.update(deployments, { ...object, status }, { subresource: "status" }, signal));
    return false;
  }

  async function noteRevision(
    object: Deployment,
    revision: number | undefined,
    signal: AbortSignal,
  ): Promise<Deployment> {
    if (revision === undefined) return object;
    const metadata = { annotations: { [revisionAnnotation]: String(revision) } };
    const noted = await client.patch(deployments, keyOf(object), "merge", { metadata }, {}, signal);
    table.wrote(noted);
    return noted;
  }

  async function writeStatus(
    object: Deployment,
    news: RolloutNews,
    signal: AbortSignal,
  ): Promise<number | undefined> {
    const owned = ownedSets(object);
    const current = newReplicaSet(object, owned);
    const olds = owned.filter((set) => set !== current);
    const status = deploymentStatus(object, olds, current, news, clock.now());
    if (!isSameJson({ ...zeros, ...object.status }, status)) {
      table.wrote(await client.update(deployments, { ...object, status }, { subresource: "status" }, signal));
    }
    return deadlineInMs(object, status, clock.now());
  }
}

/** Counts that are 0 are left out by servers written in Go. */
const zeros: DeploymentStatus = {
  replicas: 0,
  updatedReplicas: 0,
  readyReplicas: 0,
  availableReplicas: 0,
  terminatingReplicas: 0,
  unavailableReplicas: 0,
};
