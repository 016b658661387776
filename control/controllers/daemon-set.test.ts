import t from "tap";
import type { DaemonSet } from "#api/generated/kubernetes.ts";
import { nodes, pods } from "#api/resources.ts";
import { TestCluster } from "./cluster-for-tests.ts";
import { daemonSets } from "./daemon-set.ts";
import { controllerRevisions } from "./revisions.ts";

const daemon = (image: string): DaemonSet => ({
  metadata: { name: "d", namespace: "default" },
  spec: {
    selector: { matchLabels: { app: "d" } },
    template: { metadata: { labels: { app: "d" } }, spec: { containers: [{ name: "c", image }] } },
  },
});

t.test("a DaemonSet runs on every node it is for, and rolls a new image out one by one", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  for (const name of ["n1", "n2"]) await cluster.node(name);
  await client.create(daemonSets, daemon("a"), {}, signal);
  const ready = (count: number) => (all: readonly DaemonSet[]) =>
    all[0]?.status?.numberAvailable === count &&
    all[0].status.updatedNumberScheduled === count &&
    all[0].status.observedGeneration === all[0].metadata?.generation;
  await cluster.until("2 daemons", daemonSets, "default", ready(2));
  await cluster.node("n3");
  await cluster.until("a third", daemonSets, "default", ready(3));
  const { items } = await client.list(pods, { namespace: "default" }, signal);
  t.same(new Set(items.map(({ spec }) => spec?.nodeName)), new Set(["n1", "n2", "n3"]));

  let most = 0;
  const containers = [{ name: "c", image: "b" }];
  const key = { namespace: "default", name: "d" };
  await client.patch(
    daemonSets,
    key,
    "strategic",
    { spec: { template: { spec: { containers } } } },
    {},
    signal,
  );
  await cluster.until("the new image", daemonSets, "default", (all) => {
    most = Math.max(most, all[0]?.status?.numberUnavailable ?? 0);
    return ready(3)(all);
  });
  t.ok(most <= 1, `${most} missing at most`);
  const revisions = await client.list(controllerRevisions, { namespace: "default" }, signal);
  t.same(new Set(revisions.items.map(({ revision }) => revision)), new Set([1, 2]));

  const labels = { labels: { skip: "yes" } };
  await client.patch(nodes, { namespace: "", name: "n3" }, "merge", { metadata: labels }, {}, signal);
  const nodeAffinity = {
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchExpressions: [{ key: "skip", operator: "DoesNotExist" }] }],
    },
  };
  const spec = { template: { spec: { affinity: { nodeAffinity } } } };
  await client.patch(daemonSets, key, "merge", { spec }, {}, signal);
  await cluster.until("2 daemons again", daemonSets, "default", ready(2));
  await client.delete(daemonSets, key, { propagationPolicy: "Background" }, signal);
  await cluster.until("no pod", pods, "default", (all) => all.length === 0);
});
