import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import {
  inDeletionOrder,
  planClaims,
  planReplicas,
  type ReplicaOwner,
  replicaStatus,
  slowStartBatch,
} from "./replicas.ts";

const now = Date.UTC(2026, 0, 1, 1);
const owner: ReplicaOwner = {
  uid: "rs",
  replicas: 2,
  minReadySeconds: 0,
  requirements: [{ key: "app", operator: "=", values: ["web"] }],
  template: { metadata: { labels: { app: "web", tier: "front" } } },
  deleting: false,
  generation: 3,
  status: { replicas: 0 },
};

interface Facts {
  readonly node?: string;
  readonly phase?: string;
  readonly readySince?: string;
  readonly restarts?: number;
  readonly created?: string;
  readonly cost?: string;
  readonly app?: string;
  readonly owner?: string;
  readonly deleting?: boolean;
}

function pod(name: string, facts: Facts = {}): Pod {
  const {
    node = "n1",
    phase = "Running",
    readySince,
    restarts = 0,
    created = "2026-01-01T00:00:00Z",
    app = "web",
  } = facts;
  return {
    metadata: {
      name,
      labels: { app },
      creationTimestamp: created,
      ...(facts.cost === undefined
        ? {}
        : { annotations: { "controller.kubernetes.io/pod-deletion-cost": facts.cost } }),
      ...(facts.deleting === true ? { deletionTimestamp: created } : {}),
      ...(facts.owner === undefined
        ? {}
        : {
            ownerReferences: [
              {
                apiVersion: "apps/v1",
                kind: "ReplicaSet",
                name: facts.owner,
                uid: facts.owner,
                controller: true,
              },
            ],
          }),
    },
    spec: { containers: [], ...(node === "" ? {} : { nodeName: node }) },
    status: {
      phase,
      conditions:
        readySince === undefined ? [] : [{ type: "Ready", status: "True", lastTransitionTime: readySince }],
      containerStatuses: [
        { name: "c", image: "", imageID: "", ready: readySince !== undefined, restartCount: restarts },
      ],
    },
  };
}
const ready = "2026-01-01T00:00:30Z";

t.test("the most dispensable pods are deleted first", async (t) => {
  const pods = [
    pod("steady", { readySince: ready, created: "2025-12-31T00:00:00Z" }),
    pod("younger", { readySince: ready }),
    pod("restarted", { readySince: ready, restarts: 4 }),
    pod("ready-later", { readySince: "2026-01-01T00:10:00Z" }),
    pod("crowded", { readySince: ready, node: "n2" }),
    pod("cheap", { readySince: ready, cost: "-5" }),
    pod("not-ready"),
    pod("pending", { phase: "Pending" }),
    pod("unassigned", { phase: "Pending", node: "" }),
  ];
  const related = [
    ...pods,
    pod("other", { node: "n2" }),
    ...Array.from({ length: 8 }, (_, at) => pod(`o${at}`, { node: "n2" })),
  ];
  t.same(
    inDeletionOrder(pods, related, now).map(({ metadata }) => metadata?.name),
    [
      "unassigned",
      "pending",
      "not-ready",
      "cheap",
      "crowded",
      "ready-later",
      "restarted",
      "younger",
      "steady",
    ],
  );
});

t.test("pods are adopted by label, released without it, and others' pods left alone", async (t) => {
  const claims = planClaims(
    owner,
    [pod("mine", { owner: "rs" }), pod("strayed", { owner: "rs", app: "db" })],
    [pod("orphan"), pod("foreign", { app: "db" }), pod("dying", { deleting: true })],
  );
  t.same(
    claims.keep.map(({ metadata }) => metadata?.name),
    ["mine"],
  );
  t.same(
    claims.release.map(({ metadata }) => metadata?.name),
    ["strayed"],
  );
  t.same(
    claims.adopt.map(({ metadata }) => metadata?.name),
    ["orphan"],
  );
});

t.test("finished and terminating pods are replaced", async (t) => {
  const pods = [pod("a"), pod("b", { phase: "Failed" }), pod("c", { deleting: true })];
  t.same(planReplicas(owner, pods, [], now), { do: "create", count: 1 });
});

t.test("status counts what is ready, available and fully labelled", async (t) => {
  const pods = [
    pod("a", { readySince: "2026-01-01T00:59:55Z" }),
    pod("b", { readySince: ready }),
    pod("c"),
    pod("d", { deleting: true }),
  ];
  const status = replicaStatus({ ...owner, minReadySeconds: 10 }, pods, undefined, now);
  t.same(status, {
    replicas: 3,
    fullyLabeledReplicas: 0,
    readyReplicas: 2,
    availableReplicas: 1,
    terminatingReplicas: 1,
    observedGeneration: 3,
  });
});

t.test("a failure stands in a condition and goes with the next success", async (t) => {
  const failed = replicaStatus(owner, [], { reason: "FailedCreate", message: "quota" }, now);
  t.match(failed.conditions, [
    { type: "ReplicaFailure", status: "True", reason: "FailedCreate", message: "quota" },
  ]);
  t.equal(replicaStatus({ ...owner, status: failed }, [], undefined, now).conditions, undefined);
});

t.test("a slow start doubles: 1, 2, 4", async (t) => {
  const sizes = [];
  for (let done = 0; done < 10; done += sizes.at(-1) ?? 1) sizes.push(slowStartBatch(done, 10 - done));
  t.same(sizes, [1, 2, 4, 3]);
});
