import type { Pod } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import { nodes } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { disruptPod } from "./disrupt-pod.ts";
import { isPodFinished } from "./plan/pod-state.ts";
import { timeMs } from "./plan/times.ts";
import { podIndexes } from "./pod-indexes.ts";

/** A node has to be away for so long before its pods are given up, in milliseconds. */
const quarantineMs = 40_000;
const defaultFinishedLimit = 12_500;
/** The key of the round that counts finished pods. */
const finishedKey = "finished";

/** Removes pods that nobody can end any more: their node is gone, or they never had one; and the oldest finished ones. */
export function podGcController(ports: ControllerPorts): Controller {
  const { client, clock, config, tables } = ports;
  const limit = config.terminatedPodLimit ?? defaultFinishedLimit;
  const nodeTable = tables.of(nodes);
  const pods = podIndexes(tables);
  const finished = pods.table.index("finished", (pod) => (isPodFinished(pod) ? ["yes"] : []));
  const queue = controllerQueue(clock);
  const missingSince = new Map<string, number>();
  nodeTable.subscribe((key, now) => {
    if (now === undefined) queue.add(`node/${key}`);
  });
  pods.table.subscribe((key, now) => {
    if (now === undefined) return;
    const node = now.spec?.nodeName ?? "";
    if (node !== "" && nodeTable.get(node) === undefined) queue.add(`node/${node}`);
    if (node === "" && now.metadata?.deletionTimestamp !== undefined) queue.add(`pod/${key}`);
    if (finished.size("yes") > limit) queue.add(finishedKey);
  });
  return {
    name: "pod-garbage-collector",
    queue,
    workers: 1,
    step: async (key, signal) => {
      if (key === finishedKey) {
        const surplus = finished.of("yes").length - limit;
        for (const pod of oldestFirst(finished.of("yes")).slice(0, Math.max(0, surplus)))
          await collect(pod, undefined, signal);
        return;
      }
      const name = key.slice(key.indexOf("/") + 1);
      if (key.startsWith("pod/")) {
        const pod = pods.table.get(name);
        const isStuck = (pod?.spec?.nodeName ?? "") === "" && pod?.metadata?.deletionTimestamp !== undefined;
        if (pod !== undefined && isStuck) await collect(pod, undefined, signal);
        return;
      }
      await collectFromLostNode(key, name, signal);
    },
  };

  async function collectFromLostNode(key: string, name: string, signal: AbortSignal): Promise<void> {
    if (nodeTable.get(name) !== undefined || pods.byNode.size(name) === 0) {
      missingSince.delete(name);
      return;
    }
    const since = missingSince.get(name) ?? clock.monotonicMs();
    missingSince.set(name, since);
    const leftMs = since + quarantineMs - clock.monotonicMs();
    if (leftMs > 0) {
      queue.addAfter(key, leftMs);
      return;
    }
    if (await exists(name, signal)) return;
    for (const pod of pods.byNode.of(name)) await collect(pod, "PodGC: node no longer exists", signal);
  }

  async function exists(name: string, signal: AbortSignal): Promise<boolean> {
    try {
      await client.get(nodes, { namespace: "", name }, signal);
      return true;
    } catch (cause) {
      if (isReason(cause, "NotFound")) return false;
      throw cause;
    }
  }

  async function collect(pod: Pod, disrupted: string | undefined, signal: AbortSignal): Promise<void> {
    if (disrupted !== undefined && !isPodFinished(pod)) {
      const disruption = {
        reason: "DeletionByPodGC",
        message: disrupted,
        atOnce: true,
        phase: "Failed",
      } as const;
      await disruptPod(client, pod, disruption, clock.now(), signal);
    } else {
      try {
        const uid = pod.metadata?.uid;
        const options = { gracePeriodSeconds: 0, ...(uid === undefined ? {} : { uid }) };
        await client.delete(pods.table.resource, keyOf(pod), options, signal);
      } catch (cause) {
        if (!isReason(cause, "NotFound", "Conflict")) throw cause;
      }
    }
    pods.table.deleting(pod);
  }
}

function oldestFirst(pods: readonly Pod[]): readonly Pod[] {
  return pods.toSorted(
    (a, b) =>
      timeMs(a.metadata?.creationTimestamp) - timeMs(b.metadata?.creationTimestamp) ||
      (keyText(keyOf(a)) < keyText(keyOf(b)) ? -1 : 1),
  );
}
