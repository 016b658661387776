import t from "tap";
import type { KubeObject } from "#api/meta.ts";
import type { Node, Pod, Taint } from "#api/generated/kubernetes.ts";
import { fateOf, type Owner } from "./garbage.ts";
import { freeNodeCidr } from "./node-cidrs.ts";
import { planTaints, silentConditions } from "./node-health.ts";
import { evictionTime } from "./taint-eviction.ts";

const now = Date.UTC(2026, 0, 1);

t.test("nodes get the parts of the cluster's addresses one by one", async (t) => {
  const cases: readonly (readonly [string, number, readonly string[], string | undefined])[] = [
    ["10.244.0.0/16", 24, [], "10.244.0.0/24"],
    ["10.244.0.0/16", 24, ["10.244.0.0/24", "10.244.2.0/24"], "10.244.1.0/24"],
    ["10.244.0.0/23", 24, ["10.244.0.0/24", "10.244.1.0/24"], undefined],
    ["10.244.0.0/22", 24, ["10.244.0.128/25", "10.244.2.0/23"], "10.244.1.0/24"],
    ["10.244.0.0/22", 24, ["192.168.0.0/24", "", "fd00::/64"], "10.244.0.0/24"],
    ["200.1.0.0/16", 25, ["200.1.0.0/25"], "200.1.0.128/25"],
  ];
  for (const [cluster, prefix, used, free] of cases) t.equal(freeNodeCidr(cluster, prefix, used), free);
  t.throws(() => freeNodeCidr("10.244.0.0/25", 24, []), /cannot divide "10.244.0.0\/25"/);
});

function node(ready: string | undefined, taints: readonly Taint[] = [], unschedulable = false): Node {
  return {
    metadata: { name: "n1", creationTimestamp: "2026-01-01T00:00:00Z" },
    spec: { taints, unschedulable },
    status: { conditions: ready === undefined ? [] : [{ type: "Ready", status: ready }] },
  };
}
const names = (taints: readonly Taint[] | undefined) =>
  taints?.map(({ key, effect }) => `${key.slice(19)}:${effect}`);
const notReady: Taint = { key: "node.kubernetes.io/not-ready", effect: "NoSchedule" };
const own: Taint = { key: "dedicated", effect: "NoSchedule" };

const taintCases: readonly {
  readonly name: string;
  readonly node: Node;
  readonly taints: readonly string[] | undefined;
}[] = [
  {
    name: "a new node keeps admission's taint until its agent speaks",
    node: node(undefined, [notReady]),
    taints: undefined,
  },
  { name: "a ready node loses it", node: node("True", [notReady]), taints: [] },
  {
    name: "a node that is not ready is also evicted from",
    node: node("False", [notReady]),
    taints: ["not-ready:NoSchedule", "not-ready:NoExecute"],
  },
  {
    name: "a silent node is unreachable, no longer not ready",
    node: node("Unknown", [notReady]),
    taints: ["unreachable:NoSchedule", "unreachable:NoExecute"],
  },
  { name: "cordon is a taint", node: node("True", [], true), taints: ["unschedulable:NoSchedule"] },
];
for (const { name, node: each, taints } of taintCases) {
  t.test(name, async (t) => t.same(names(planTaints(each, now)), taints));
}
t.test("taints of others stay", async (t) => t.same(planTaints(node("True", [own, notReady]), now), [own]));

t.test("a silent agent's conditions become Unknown once", async (t) => {
  const conditions = silentConditions(node("True"), now) ?? [];
  t.match(conditions[0], { type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" });
  t.match(conditions[1], { type: "MemoryPressure", reason: "NodeStatusNeverUpdated" });
  t.equal(silentConditions({ ...node("True"), status: { conditions } }, now), undefined);
});

t.test("a pod leaves at the time its tolerations allow", async (t) => {
  const taint = { key: "k", effect: "NoExecute", timeAdded: "2026-01-01T00:00:00Z" };
  const pod = (tolerations: NonNullable<Pod["spec"]>["tolerations"]): Pod => ({
    spec: { containers: [], tolerations: tolerations ?? [] },
  });
  const tainted = node("True", [taint]);
  t.equal(evictionTime(pod([]), tainted, now + 5), now + 5, "at once");
  t.equal(evictionTime(pod([{ key: "k", operator: "Exists" }]), tainted, now), undefined, "never");
  t.equal(
    evictionTime(pod([{ key: "k", operator: "Exists", tolerationSeconds: 300 }]), tainted, now),
    now + 300_000,
  );
  t.equal(evictionTime(pod([]), node("True", [own]), now), undefined, "NoSchedule evicts nobody");
});

t.test("an object goes with its last owner", async (t) => {
  const object: KubeObject = { metadata: { name: "x" } };
  const reference = (uid: string) => ({ apiVersion: "v1", kind: "ConfigMap", name: uid, uid });
  const there = (uid: string, foreground = false): Owner => ({
    state: "there",
    reference: reference(uid),
    foreground,
  });
  const gone = (uid: string): Owner => ({ state: "gone", reference: reference(uid) });
  const cases: readonly (readonly [readonly Owner[], boolean, unknown])[] = [
    [[], false, { do: "keep" }],
    [[there("a")], false, { do: "keep" }],
    [[gone("a")], false, { do: "delete", policy: "Background" }],
    [[gone("a"), there("b")], false, { do: "drop-references", uids: ["a"] }],
    [[there("a", true), there("b")], false, { do: "drop-references", uids: ["a"] }],
    [[there("a", true)], true, { do: "delete", policy: "Foreground" }],
    [[there("a", true)], false, { do: "delete", policy: "Background" }],
  ];
  for (const [owners, hasDependents, fate] of cases) t.same(fateOf(object, owners, hasDependents), fate);
  const waits = { metadata: { name: "x", finalizers: ["orphan"] } };
  t.same(fateOf(waits, [gone("a")], false), { do: "delete", policy: "Orphan" });
});
