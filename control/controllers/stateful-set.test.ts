import t from "tap";
import type { StatefulSet } from "#api/generated/kubernetes.ts";
import { persistentVolumeClaims, pods } from "#api/resources.ts";
import { TestCluster } from "./cluster-for-tests.ts";
import { statefulSets } from "./stateful-set.ts";

const set: StatefulSet = {
  metadata: { name: "db", namespace: "default" },
  spec: {
    serviceName: "db",
    replicas: 2,
    selector: { matchLabels: { app: "db" } },
    template: { metadata: { labels: { app: "db" } }, spec: { containers: [{ name: "c", image: "a" }] } },
    volumeClaimTemplates: [
      {
        metadata: { name: "data" },
        spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
      },
    ],
  },
};
const key = { namespace: "default", name: "db" };
const settled = (replicas: number) => (all: readonly StatefulSet[]) =>
  all[0]?.status?.availableReplicas === replicas &&
  all[0].status.updatedReplicas === replicas &&
  all[0].status.currentRevision === all[0].status.updateRevision &&
  all[0].status.observedGeneration === all[0].metadata?.generation;

t.test(
  "a StatefulSet numbers its pods, keeps their claims, and updates from the last to the first",
  async (t) => {
    await using cluster = await TestCluster.start();
    const { client, signal } = cluster;
    cluster.playAgents();
    await cluster.node("n1");
    await client.create(statefulSets, set, {}, signal);
    await cluster.until("2 pods", statefulSets, "default", settled(2));
    const messages = () =>
      cluster.events.filter(({ about }) => about === "StatefulSet/db").map(({ message }) => message);
    t.same(
      messages().filter((text) => text.includes("create Pod")),
      ["create Pod db-0 in StatefulSet db successful", "create Pod db-1 in StatefulSet db successful"],
      "in order",
    );
    const first = await client.get(pods, { namespace: "default", name: "db-0" }, signal);
    t.match(first.spec, {
      hostname: "db-0",
      subdomain: "db",
      volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data-db-0" } }],
    });
    t.equal(first.metadata?.labels?.["apps.kubernetes.io/pod-index"], "0");

    const containers = [{ name: "c", image: "b" }];
    const partition = { updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition: 1 } } };
    const spec = { ...partition, template: { spec: { containers } } };
    await client.patch(statefulSets, key, "strategic", { spec }, {}, signal);
    const images =
      (wanted: string) =>
      (
        all: readonly {
          spec?: { containers: readonly { image?: string }[] };
          status?: { phase?: string };
          metadata?: { name?: string };
        }[],
      ) =>
        all.length === 2 &&
        all.every(({ status }) => status?.phase === "Running") &&
        all
          .toSorted((a, b) => ((a.metadata?.name ?? "") < (b.metadata?.name ?? "") ? -1 : 1))
          .map((pod) => pod.spec?.containers[0]?.image)
          .join() === wanted;
    await cluster.until("the canary", pods, "default", images("a,b"));
    await client.delete(pods, { namespace: "default", name: "db-0" }, {}, signal);
    await cluster.until(
      "the old one again",
      pods,
      "default",
      (all) => images("a,b")(all) && all.every(({ metadata }) => metadata?.uid !== first.metadata?.uid),
    );
    const all = { updateStrategy: { rollingUpdate: { partition: 0 } } };
    await client.patch(statefulSets, key, "merge", { spec: all }, {}, signal);
    await cluster.until("all updated", pods, "default", images("b,b"));
    await cluster.until("the end of the update", statefulSets, "default", settled(2));

    await client.patch(statefulSets, key, "merge", { spec: { replicas: 1 } }, {}, signal);
    await cluster.until("1 pod", statefulSets, "default", (sets) => sets[0]?.status?.replicas === 1);
    t.ok(messages().includes("delete Pod db-1 in StatefulSet db successful"));
    const claims = await client.list(persistentVolumeClaims, { namespace: "default" }, signal);
    t.same(
      new Set(claims.items.map(({ metadata }) => metadata?.name)),
      new Set(["data-db-0", "data-db-1"]),
      "claims stay",
    );
  },
);
