import t from "tap";
import type { Deployment, ReplicaSet } from "#api/generated/kubernetes.ts";
import {
  configMaps,
  deployments,
  endpointSlices,
  endpoints,
  namespaces,
  nodes,
  pods,
  replicaSets,
  replicationControllers,
  serviceAccounts,
  services,
} from "#api/resources.ts";
import { TestCluster } from "./cluster-for-tests.ts";

const web = (replicas: number, image = "web:1"): Deployment => ({
  metadata: { name: "web", namespace: "default" },
  spec: {
    replicas,
    selector: { matchLabels: { app: "web" } },
    template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image }] } },
  },
});
const key = { namespace: "default", name: "web" };
const isRolledOut = (replicas: number) => (objects: readonly Deployment[]) =>
  objects.some(
    ({ metadata, status }) =>
      status?.observedGeneration === metadata?.generation &&
      status?.updatedReplicas === replicas &&
      status?.replicas === replicas &&
      status?.availableReplicas === replicas &&
      status?.conditions?.some(({ reason }) => reason === "NewReplicaSetAvailable") === true,
  );
const byRevision = (sets: readonly ReplicaSet[]) =>
  Object.fromEntries(
    sets.map((set) => [set.metadata?.annotations?.["deployment.kubernetes.io/revision"], set.spec?.replicas]),
  );

t.test("a Deployment rolls out, takes a new image, goes back and scales", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  await cluster.node("n1");
  await client.create(deployments, web(2), {}, signal);
  await cluster.until("a rollout of 2", deployments, "default", isRolledOut(2));
  t.match(
    cluster.events.find(({ reason }) => reason === "ScalingReplicaSet")?.message,
    /^Scaled up replica set web-[a-z0-9]{10} from 0 to 2$/,
  );
  t.equal(
    cluster.events.filter(({ reason }) => reason === "SuccessfulCreate").length,
    2,
    "no pod was made twice",
  );
  t.match(
    cluster.events.find(({ reason }) => reason === "Scheduled")?.message,
    /^Successfully assigned default\/web-[a-z0-9]{10}-[a-z0-9]{5} to n1$/,
  );

  const [before] = await cluster.until("one set", replicaSets, "default", (sets) => sets.length === 1);
  const containers = [{ name: "c", image: "web:2" }];
  await client.patch(
    deployments,
    key,
    "strategic",
    { spec: { template: { spec: { containers } } } },
    {},
    signal,
  );
  await cluster.until(
    "the new image",
    replicaSets,
    "default",
    (sets) => byRevision(sets)["2"] === 2 && byRevision(sets)["1"] === 0,
  );
  await cluster.until("the rollout to end", deployments, "default", isRolledOut(2));

  // `kubectl rollout undo` puts the old template back.
  const template = before?.spec?.template;
  const labels = { app: "web" };
  const undo = [{ op: "replace", path: "/spec/template", value: { ...template, metadata: { labels } } }];
  await client.patch(deployments, key, "json", undo, {}, signal);
  const sets = await cluster.until(
    "the old image again",
    replicaSets,
    "default",
    (all) => byRevision(all)["3"] === 2 && byRevision(all)["2"] === 0,
  );
  t.equal(sets.length, 2, "the old ReplicaSet came back");
  await cluster.until("the rollout to end", deployments, "default", isRolledOut(2));

  await client.patch(deployments, key, "merge", { spec: { replicas: 5 } }, {}, signal);
  await cluster.until("5 replicas", deployments, "default", isRolledOut(5));
  const [deployment] = await cluster.until("the revision", deployments, "default", () => true);
  t.equal(deployment?.metadata?.annotations?.["deployment.kubernetes.io/revision"], "3");
});

t.test("a deleted pod is replaced, and a Deployment takes everything with it", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  await cluster.node("n1");
  await client.create(deployments, web(1), {}, signal);
  await cluster.until("a rollout", deployments, "default", isRolledOut(1));
  const [first] = await cluster.until("a pod", pods, "default", (all) => all.length === 1);
  await client.delete(pods, { namespace: "default", name: first?.metadata?.name ?? "" }, {}, signal);
  await cluster.until(
    "another pod",
    pods,
    "default",
    (all) =>
      all.length === 1 &&
      all[0]?.metadata?.uid !== first?.metadata?.uid &&
      all[0]?.status?.phase === "Running",
  );
  await client.delete(deployments, key, { propagationPolicy: "Background" }, signal);
  await cluster.until("no ReplicaSet", replicaSets, "default", (all) => all.length === 0);
  await cluster.until("no pod", pods, "default", (all) => all.length === 0);
  t.pass();
});

t.test("a foreground deletion ends with the owner, an orphaning one leaves the pods", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  await cluster.node("n1");
  await client.create(deployments, web(2), {}, signal);
  await cluster.until("a rollout", deployments, "default", isRolledOut(2));
  await client.delete(deployments, key, { propagationPolicy: "Orphan" }, signal);
  await cluster.until("no Deployment", deployments, "default", (all) => all.length === 0);
  const [set] = await cluster.until(
    "an orphan",
    replicaSets,
    "default",
    (all) => all.length === 1 && (all[0]?.metadata?.ownerReferences ?? []).length === 0,
  );
  const setKey = { namespace: "default", name: set?.metadata?.name ?? "" };
  await client.delete(replicaSets, setKey, { propagationPolicy: "Foreground" }, signal);
  await cluster.until("no ReplicaSet", replicaSets, "default", (all) => all.length === 0);
  t.same((await client.list(pods, { namespace: "default" }, signal)).items, [], "the pods went first");
});

t.test("a ReplicationController adopts, keeps its count and releases", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  await cluster.node("n1");
  const template = { metadata: { labels: { app: "rc" } }, spec: { containers: [{ name: "c", image: "i" }] } };
  await client.create(
    pods,
    { metadata: { name: "stray", namespace: "default", labels: { app: "rc" } }, spec: template.spec },
    {},
    signal,
  );
  await client.create(
    replicationControllers,
    {
      metadata: { name: "rc", namespace: "default" },
      spec: { replicas: 3, selector: { app: "rc" }, template },
    },
    {},
    signal,
  );
  await cluster.until(
    "3 ready",
    replicationControllers,
    "default",
    (all) => all[0]?.status?.readyReplicas === 3,
  );
  const list = await client.list(pods, { namespace: "default" }, signal);
  t.equal(list.items.length, 3, "the stray pod counts");
  await client.patch(
    pods,
    { namespace: "default", name: "stray" },
    "merge",
    { metadata: { labels: { app: "other" } } },
    {},
    signal,
  );
  await cluster.until(
    "4 pods, one released",
    pods,
    "default",
    (all) =>
      all.length === 4 &&
      (all.find(({ metadata }) => metadata?.name === "stray")?.metadata?.ownerReferences ?? []).length === 0,
  );
});

t.test("readiness moves a pod in and out of slices and Endpoints at once", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  await cluster.node("n1");
  await client.create(
    services,
    {
      metadata: { name: "web", namespace: "default" },
      spec: { selector: { app: "web" }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
    },
    {},
    signal,
  );
  await client.create(deployments, web(2), {}, signal);
  const readyIn = (count: number) =>
    cluster.until(
      `${count} ready endpoints`,
      endpointSlices,
      "default",
      (all) =>
        all.flatMap((slice) => slice.endpoints ?? []).filter(({ conditions }) => conditions?.ready === true)
          .length === count,
    );
  await readyIn(2);
  const [pod] = (await client.list(pods, { namespace: "default" }, signal)).items;
  if (pod === undefined) throw new Error("no pod");
  const started = performance.now();
  await cluster.report(pod, false);
  await readyIn(1);
  t.ok(performance.now() - started < 500, `seen after ${Math.round(performance.now() - started)} ms`);
  const [object] = await cluster.until(
    "one not ready",
    endpoints,
    "default",
    (all) =>
      all.find(({ metadata }) => metadata?.name === "web")?.subsets?.[0]?.notReadyAddresses?.length === 1,
  );
  t.equal(object?.subsets?.[0]?.addresses?.length, 1);
  await client.delete(services, key, {}, signal);
  await cluster.until("no slice", endpointSlices, "default", (all) => all.length === 0);
});

t.test("a namespace gets its account and CA, and is emptied before it goes", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents();
  await cluster.node("n1");
  await cluster.namespace("shop");
  await cluster.until("the account", serviceAccounts, "shop", (all) =>
    all.some(({ metadata }) => metadata?.name === "default"),
  );
  const [ca] = await cluster.until("the CA", configMaps, "shop", (all) => all.length === 1);
  t.same(ca?.data, { "ca.crt": "the CA" });
  await client.create(deployments, { ...web(2), metadata: { name: "web", namespace: "shop" } }, {}, signal);
  await cluster.until(
    "pods",
    pods,
    "shop",
    (all) => all.length === 2 && all.every(({ status }) => status?.phase === "Running"),
  );
  await client.delete(namespaces, { namespace: "", name: "shop" }, {}, signal);
  await cluster.until(
    "no namespace",
    namespaces,
    "",
    (all) => !all.some(({ metadata }) => metadata?.name === "shop"),
    10_000,
  );
  for (const resource of [pods, deployments, replicaSets, configMaps, serviceAccounts])
    t.same((await client.list(resource, { namespace: "shop" }, signal)).items, [], resource.plural);
});

t.test("a pod without room waits with a reason, and goes when there is room", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  const spec = { containers: [{ name: "c", image: "i", resources: { requests: { cpu: "3" } } }] };
  for (const name of ["a", "b"])
    await client.create(pods, { metadata: { name, namespace: "default" }, spec }, {}, signal);
  await cluster.until("the reason", pods, "default", (all) =>
    all.every(({ status }) =>
      status?.conditions?.some(
        ({ reason, message }) =>
          reason === "Unschedulable" && message === "no nodes available to schedule pods",
      ),
    ),
  );
  await cluster.node("n1");
  const after = await cluster.until("one placed", pods, "default", (all) =>
    all.some(({ spec: each }) => each?.nodeName === "n1"),
  );
  const placed = after.find(({ spec: each }) => each?.nodeName === "n1")?.metadata?.name ?? "";
  const left = placed === "a" ? "b" : "a";
  await cluster.until("the other's reason", pods, "default", (all) =>
    all.some(
      ({ metadata, status }) =>
        metadata?.name === left &&
        status?.conditions?.some(({ message }) =>
          message?.startsWith("0/1 nodes are available: 1 Insufficient cpu."),
        ) === true,
    ),
  );
  await client.delete(pods, { namespace: "default", name: placed }, { gracePeriodSeconds: 0 }, signal);
  await cluster.until("the other placed", pods, "default", (all) =>
    all.some(({ metadata, spec: each }) => metadata?.name === left && each?.nodeName === "n1"),
  );
  t.pass();
});

t.test(
  "nodes get addresses; a silent one is tainted, its pods leave the Service and then the node",
  async (t) => {
    await using cluster = await TestCluster.start({ nodeMonitorGraceMs: 1_500 });
    const { client, signal } = cluster;
    await cluster.node("n1");
    await cluster.node("n2");
    const both = await cluster.until(
      "addresses",
      nodes,
      "",
      (all) => all.length === 2 && all.every(({ spec }) => (spec?.podCIDR ?? "") !== ""),
    );
    t.same(new Set(both.map(({ spec }) => spec?.podCIDR)), new Set(["10.244.0.0/24", "10.244.1.0/24"]));
    const spec = {
      nodeName: "n2",
      containers: [{ name: "c", image: "i" }],
      tolerations: [
        {
          key: "node.kubernetes.io/unreachable",
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 1,
        },
      ],
    };
    const pod = await client.create(
      pods,
      { metadata: { name: "p", namespace: "default" }, spec },
      {},
      signal,
    );
    await cluster.report(pod, true);
    const renew = setInterval(() => void cluster.renewLease("n1").catch(() => undefined), 300);
    t.teardown(() => clearInterval(renew));
    const after = await cluster.until("n2 unreachable", nodes, "", (all) =>
      all.some(({ metadata, spec: each }) => metadata?.name === "n2" && (each?.taints ?? []).length === 2),
    );
    t.same(
      after.find(({ metadata }) => metadata?.name === "n1")?.spec?.taints ?? [],
      [],
      "the one that renews its lease is well",
    );
    await cluster.until(
      "the pod not ready",
      pods,
      "default",
      (all) =>
        all[0]?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "False") ===
        true,
    );
    await cluster.until(
      "the pod evicted",
      pods,
      "default",
      (all) => all.length === 0 || all[0]?.metadata?.deletionTimestamp !== undefined,
    );
    await cluster.reportNode("n2", true);
    await cluster.until("n2 well again", nodes, "", (all) =>
      all.every(({ spec: each }) => (each?.taints ?? []).length === 0),
    );
  },
);
