import type { Pod, ReplicaSet, ReplicaSetStatus, ReplicationController } from "#api/generated/kubernetes.ts";
import { type KubeObject, keyOf, keyText, parseKey, type Resource } from "#api/meta.ts";
import { pods as podsResource, replicaSets, replicationControllers } from "#api/resources.ts";
import { requirementsOf } from "#api/selectors.ts";
import { isReason } from "#api/status-error.ts";
import { errorText } from "#lib/log.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { asTarget, controllerOf, controllerReference } from "./plan/owners.ts";
import { isPodActive } from "./plan/pod-state.ts";
import {
  nextAvailableMs,
  planClaims,
  planReplicas,
  type ReplicaOwner,
  replicaStatus,
  slowStartBatch,
} from "./plan/replicas.ts";
import { isSameJson } from "./plan/same.ts";
import { podIndexes } from "./pod-indexes.ts";

/** Keeps the wanted number of pods of every ReplicaSet. */
export function replicaSetController(ports: ControllerPorts): Controller {
  return replicaController("replicaset", replicaSets, ownerOfReplicaSet, ports);
}

/** Keeps the wanted number of pods of every ReplicationController. */
export function replicationControllerController(ports: ControllerPorts): Controller {
  return replicaController("replicationcontroller", replicationControllers, ownerOfController, ports);
}

interface Failure {
  readonly reason: "FailedCreate" | "FailedDelete";
  readonly message: string;
  readonly cause: unknown;
}

function replicaController<T extends KubeObject>(
  name: string,
  resource: Resource<T>,
  ownerOf: (object: T) => ReplicaOwner,
  ports: ControllerPorts,
): Controller {
  const { client, clock, events, tables } = ports;
  const table = tables.of(resource);
  const byNamespace = table.index("by-namespace", (object) => [object.metadata?.namespace ?? ""]);
  const siblings = table.index("by-controller", (object) => {
    const owner = controllerOf(object);
    return owner === undefined ? [] : [owner.uid];
  });
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);

  table.subscribe((key) => queue.add(key));
  pods.table.subscribe((_, now, before) => {
    for (const pod of [now, before]) {
      if (pod === undefined) continue;
      const owner = controllerOf(pod);
      const namespace = pod.metadata?.namespace ?? "";
      if (owner?.kind === resource.kind) queue.add(keyText({ namespace, name: owner.name }));
      else if (owner === undefined) {
        for (const object of byNamespace.of(namespace)) queue.add(keyText(keyOf(object)));
      }
    }
  });

  return {
    name,
    queue,
    workers: 5,
    step: async (key, signal) => {
      const object = table.get(key);
      if (object === undefined) return;
      const owner = ownerOf(object);
      const { namespace } = parseKey(key);
      const claims = planClaims(owner, pods.byController.of(owner.uid), pods.orphans.of(namespace));
      if (claims.adopt.length > 0 && !(await isStillThere(object, signal))) return;
      for (const pod of claims.adopt) {
        await writeOwners(
          pod,
          [...(pod.metadata?.ownerReferences ?? []), controllerReference(resource, object)],
          signal,
        );
      }
      for (const pod of claims.release) {
        const others = (pod.metadata?.ownerReferences ?? []).filter(
          (reference) => reference.uid !== owner.uid,
        );
        await writeOwners(pod, others, signal);
      }
      const failure = await bringToCount(object, owner, signal);
      const now = ownedPods(owner);
      await writeStatus(object, owner, replicaStatus(owner, now, failure, clock.now()), signal);
      const waitMs = nextAvailableMs(owner, now, clock.now());
      if (waitMs !== undefined) queue.addAfter(key, waitMs);
      if (failure !== undefined) throw failure.cause;
    },
  };

  function ownedPods(owner: ReplicaOwner): readonly Pod[] {
    return planClaims(owner, pods.byController.of(owner.uid), []).keep;
  }

  async function bringToCount(
    object: T,
    owner: ReplicaOwner,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const action = planReplicas(owner, ownedPods(owner), relatedPods(object, owner), clock.now());
    switch (action.do) {
      case "nothing":
        return undefined;
      case "create":
        return await createPods(object, owner, action.count, signal);
      case "delete":
        return await deletePods(object, action.pods, signal);
      default:
        return action satisfies never;
    }
  }

  /** The pods of every ReplicaSet of the same Deployment: what stays should be spread over nodes. */
  function relatedPods(object: T, owner: ReplicaOwner): readonly Pod[] {
    const parent = controllerOf(object)?.uid;
    const owners =
      parent === undefined ? [owner.uid] : siblings.of(parent).map((each) => each.metadata?.uid ?? "");
    return owners.flatMap((uid) => pods.byController.of(uid)).filter(isPodActive);
  }

  async function createPods(
    object: T,
    owner: ReplicaOwner,
    count: number,
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const { namespace, name: ownerName } = keyOf(object);
    const template = owner.template;
    const pod: Pod = {
      metadata: {
        ...template?.metadata,
        generateName: `${ownerName}-`,
        namespace,
        ownerReferences: [controllerReference(resource, object)],
      },
      ...(template?.spec === undefined ? {} : { spec: template.spec }),
    };
    for (let done = 0; done < count; ) {
      const size = slowStartBatch(done, count - done);
      const results = await Promise.allSettled(
        Array.from({ length: size }, () => client.create(podsResource, pod, {}, signal)),
      );
      let failed: unknown;
      for (const result of results) {
        if (result.status === "rejected") failed = result.reason;
        else {
          pods.table.wrote(result.value);
          events.event(
            asTarget(resource, object),
            "Normal",
            "SuccessfulCreate",
            `Created pod: ${result.value.metadata?.name}`,
          );
        }
      }
      if (failed !== undefined) {
        signal.throwIfAborted();
        if (isNamespaceTerminating(failed)) return undefined; // it ends by itself: nothing to report
        const message = errorText(failed);
        events.event(asTarget(resource, object), "Warning", "FailedCreate", `Error creating: ${message}`);
        return { reason: "FailedCreate", message, cause: failed };
      }
      done += size;
    }
    return undefined;
  }

  async function deletePods(
    object: T,
    doomed: readonly Pod[],
    signal: AbortSignal,
  ): Promise<Failure | undefined> {
    const results = await Promise.allSettled(
      doomed.map(async (pod) => {
        const uid = pod.metadata?.uid;
        await client.delete(podsResource, keyOf(pod), uid === undefined ? {} : { uid }, signal);
        pods.table.deleting(pod);
        events.event(
          asTarget(resource, object),
          "Normal",
          "SuccessfulDelete",
          `Deleted pod: ${pod.metadata?.name}`,
        );
      }),
    );
    for (const [at, result] of results.entries()) {
      if (result.status === "fulfilled") continue;
      const pod = doomed[at];
      if (isReason(result.reason, "NotFound") && pod !== undefined) {
        pods.table.deleting(pod);
        continue;
      }
      signal.throwIfAborted();
      const message = errorText(result.reason);
      events.event(asTarget(resource, object), "Warning", "FailedDelete", `Error deleting: ${message}`);
      return { reason: "FailedDelete", message, cause: result.reason };
    }
    return undefined;
  }

  /** Adoption asks the API itself: the table may not have heard yet that the owner is being deleted. */
  async function isStillThere(object: T, signal: AbortSignal): Promise<boolean> {
    try {
      const live = await client.get(resource, keyOf(object), signal);
      return live.metadata?.uid === object.metadata?.uid && live.metadata?.deletionTimestamp === undefined;
    } catch (cause) {
      if (isReason(cause, "NotFound")) return false;
      throw cause;
    }
  }

  async function writeOwners(
    pod: Pod,
    ownerReferences: readonly unknown[],
    signal: AbortSignal,
  ): Promise<void> {
    const { uid, resourceVersion } = pod.metadata ?? {};
    try {
      const metadata = { uid, resourceVersion, ownerReferences };
      pods.table.wrote(await client.patch(podsResource, keyOf(pod), "merge", { metadata }, {}, signal));
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
  }

  async function writeStatus(
    object: T,
    owner: ReplicaOwner,
    status: ReplicaSetStatus,
    signal: AbortSignal,
  ): Promise<void> {
    if (isSameJson(withZeros(owner.status), status)) return;
    try {
      table.wrote(await client.update(resource, { ...object, status }, { subresource: "status" }, signal));
    } catch (cause) {
      if (!isReason(cause, "NotFound")) throw cause;
    }
  }
}

/** Counts that are 0 are left out by servers written in Go. */
function withZeros(status: ReplicaSetStatus): ReplicaSetStatus {
  return {
    fullyLabeledReplicas: 0,
    readyReplicas: 0,
    availableReplicas: 0,
    terminatingReplicas: 0,
    ...status,
  };
}

function isNamespaceTerminating(cause: unknown): boolean {
  return (
    isReason(cause, "Forbidden") &&
    (cause.status.details?.causes?.some(({ reason }) => reason === "NamespaceTerminating") ?? false)
  );
}

function ownerOfReplicaSet(object: ReplicaSet): ReplicaOwner {
  return {
    ...shared(object),
    requirements: requirementsOf(object.spec?.selector ?? {}),
    status: object.status ?? { replicas: 0 },
  };
}

function ownerOfController(object: ReplicationController): ReplicaOwner {
  return {
    ...shared(object),
    requirements: requirementsOf({ matchLabels: object.spec?.selector ?? {} }),
    status: object.status ?? { replicas: 0 },
  };
}

function shared(object: ReplicaSet | ReplicationController): Omit<ReplicaOwner, "requirements" | "status"> {
  return {
    uid: object.metadata?.uid ?? "",
    replicas: object.spec?.replicas ?? 1,
    minReadySeconds: object.spec?.minReadySeconds ?? 0,
    template: object.spec?.template,
    deleting: object.metadata?.deletionTimestamp !== undefined,
    generation: object.metadata?.generation ?? 0,
  };
}
