import t from "tap";
import type { Node } from "#api/generated/kubernetes.ts";
import { leaseOfNode, nodePatch } from "./node-annotations.ts";

const prefix = "flannel.alpha.coreos.com";
const attributes = {
  publicIp: "192.0.2.1",
  backendType: "vxlan",
  vtep: { vni: 1, mac: "c6:bf:00:00:00:01" },
};
const node: Node = { metadata: { name: "n1" }, spec: { podCIDR: "10.244.1.0/24" } };

t.test("what a node publishes is what the others read", async (t) => {
  const patch = nodePatch(node, attributes, prefix, "2026-01-01T00:00:00Z");
  t.equal(patch.metadata?.annotations[`${prefix}/backend-data`], '{"VNI":1,"VtepMAC":"c6:bf:00:00:00:01"}');
  t.match(patch.status?.conditions, [{ type: "NetworkUnavailable", status: "False", reason: "FlannelIsUp" }]);
  const published: Node = {
    ...node,
    metadata: { name: "n1", annotations: { ...patch.metadata?.annotations } },
  };
  t.same(leaseOfNode(published, prefix), { subnet: "10.244.1.0/24", attributes });
  t.same(nodePatch(published, attributes, prefix, undefined), {}, "and is not written twice");
});

t.test("a node without the overlay is no peer", async (t) => {
  t.equal(leaseOfNode(node, prefix), undefined);
});
