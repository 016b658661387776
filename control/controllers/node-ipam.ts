import { nodes } from "#api/resources.ts";
import { type Controller, type ControllerPorts, controllerQueue } from "./controller.ts";
import { asTarget } from "./plan/owners.ts";
import { freeNodeCidr } from "./plan/node-cidrs.ts";

/** Gives every node its part of the cluster's pod addresses. */
export function nodeIpamController(ports: ControllerPorts): Controller {
  const { client, clock, config, events, log, tables } = ports;
  const table = tables.of(nodes);
  const queue = controllerQueue(clock);
  table.subscribe((key, now) => {
    if (now !== undefined && (now.spec?.podCIDR ?? "") === "") queue.add(key);
  });
  return {
    name: "node-ipam",
    queue,
    workers: 1, // one after another, so that no part is given twice
    step: async (key, signal) => {
      const node = table.get(key);
      if (node === undefined || (node.spec?.podCIDR ?? "") !== "") return;
      const used = [...table.values()].flatMap(({ spec }) => [
        spec?.podCIDR ?? "",
        ...(spec?.podCIDRs ?? []),
      ]);
      const podCIDR = freeNodeCidr(config.clusterCidr, config.nodeCidrMaskSize ?? 24, used);
      if (podCIDR === undefined) {
        events.event(
          asTarget(nodes, node),
          "Normal",
          "CIDRNotAvailable",
          `Node ${key} status is now: CIDRNotAvailable`,
        );
        throw new Error(
          `cannot give node "${key}" pod addresses: "${config.clusterCidr}" is used up; use a larger one`,
        );
      }
      const patch = { metadata: { uid: node.metadata?.uid }, spec: { podCIDR, podCIDRs: [podCIDR] } };
      table.wrote(await client.patch(nodes, { namespace: "", name: key }, "merge", patch, {}, signal));
      log.info("gave a node its pod addresses", { node: key, podCIDR });
    },
  };
}
