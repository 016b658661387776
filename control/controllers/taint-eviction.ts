import { keyOf, keyText } from "#api/meta.ts";
import { nodes, pods as podsResource } from "#api/resources.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { disruptPod } from "./disrupt-pod.ts";
import { asTarget } from "./plan/owners.ts";
import { evictionTime } from "./plan/taint-eviction.ts";
import { podIndexes } from "./pod-indexes.ts";

/** Deletes pods from nodes with NoExecute taints that they do not tolerate, or not for so long. */
export function taintEvictionController(ports: ControllerPorts): Controller {
  const { client, clock, events, tables } = ports;
  const nodeTable = tables.of(nodes);
  const pods = podIndexes(tables);
  const queue = controllerQueue(clock);
  nodeTable.subscribe((key, now, before) => {
    if (JSON.stringify(now?.spec?.taints) === JSON.stringify(before?.spec?.taints)) return;
    for (const pod of pods.byNode.of(key)) queue.add(keyText(keyOf(pod)));
  });
  pods.table.subscribe((key, now, before) => {
    const place = JSON.stringify([now?.spec?.nodeName, now?.spec?.tolerations]);
    if (now !== undefined && place !== JSON.stringify([before?.spec?.nodeName, before?.spec?.tolerations])) {
      queue.add(key);
    }
  });
  return {
    name: "taint-eviction",
    queue,
    workers: 8,
    step: async (key, signal) => {
      const pod = pods.table.get(key);
      const node = nodeTable.get(pod?.spec?.nodeName ?? "");
      if (pod === undefined || node === undefined || pod.metadata?.deletionTimestamp !== undefined) return;
      const at = evictionTime(pod, node, clock.now());
      if (at === undefined) return;
      const waitMs = at - clock.now();
      if (waitMs > 0) {
        queue.addAfter(key, waitMs);
        return;
      }
      events.event(
        asTarget(podsResource, pod),
        "Normal",
        "TaintManagerEviction",
        `Marking for deletion Pod ${key}`,
      );
      const message = "Taint manager: deleting due to NoExecute taint";
      await disruptPod(
        client,
        pod,
        { reason: "DeletionByTaintManager", message, atOnce: false },
        clock.now(),
        signal,
      );
      pods.table.deleting(pod);
    },
  };
}
