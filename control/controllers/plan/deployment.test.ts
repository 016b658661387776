import t from "tap";
import type { Deployment, DeploymentStatus, ReplicaSet } from "#api/generated/kubernetes.ts";
import { planRollout, scalingMessage } from "./deployment.ts";
import { newReplicaSet, revisionOf } from "./deployment-replica-sets.ts";
import { deploymentStatus } from "./deployment-status.ts";

const start = Date.UTC(2026, 0, 1);

function deployment(
  replicas: number,
  image: string,
  spec: Partial<NonNullable<Deployment["spec"]>> = {},
): Deployment {
  return {
    metadata: { name: "web", namespace: "default", uid: "d1", generation: 1 },
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "c", image }] } },
      ...spec,
    },
  };
}

/** ReplicaSets whose pods are all there and ready at once, or as far as `ready` lets them. */
class World {
  sets: ReplicaSet[] = [];
  status: DeploymentStatus = {};
  readonly messages: string[] = [];
  most = 0;
  least = Number.POSITIVE_INFINITY;
  nowMs = start;

  /** @returns true when there was something to write. */
  step(wanted: Deployment, ready: (set: ReplicaSet) => number): boolean {
    this.nowMs += 1_000;
    const object = { ...wanted, status: this.status };
    const rollout = planRollout(object, this.sets, () => [], this.nowMs);
    for (const action of rollout.actions) {
      const message = scalingMessage(action);
      if (message !== undefined) this.messages.push(message);
      if (action.do === "create")
        this.#put({
          ...action.set,
          metadata: {
            ...action.set.metadata,
            uid: action.set.metadata?.name ?? "",
            creationTimestamp: new Date(this.nowMs).toISOString(),
          },
        });
      if (action.do === "update") this.#put(action.next);
      if (action.do === "delete") this.sets = this.sets.filter((set) => set !== action.set);
    }
    this.sets = this.sets.map((set) => {
      const replicas = set.spec?.replicas ?? 0;
      return {
        ...set,
        status: {
          replicas,
          readyReplicas: Math.min(replicas, ready(set)),
          availableReplicas: Math.min(replicas, ready(set)),
        },
      };
    });
    const current = newReplicaSet(object, this.sets);
    this.status = deploymentStatus(
      object,
      this.sets.filter((set) => set !== current),
      current,
      rollout.news,
      this.nowMs,
    );
    this.most = Math.max(this.most, this.status.replicas ?? 0);
    this.least = Math.min(this.least, this.status.availableReplicas ?? 0);
    return rollout.actions.length > 0;
  }

  settle(wanted: Deployment, ready: (set: ReplicaSet) => number = () => 1_000): void {
    for (let count = 0; count < 100 && this.step(wanted, ready); count += 1);
  }

  #put(set: ReplicaSet): void {
    this.sets = [...this.sets.filter((other) => other.metadata?.name !== set.metadata?.name), set];
  }
}

const progressing = (world: World) => world.status.conditions?.find(({ type }) => type === "Progressing");

t.test("a new Deployment gets one ReplicaSet of full size, and is complete", async (t) => {
  const world = new World();
  world.settle(deployment(3, "a"));
  t.equal(world.sets.length, 1);
  t.equal(world.sets[0]?.spec?.replicas, 3);
  t.match(world.messages, [/^Scaled up replica set web-[a-z0-9]{10} from 0 to 3$/]);
  t.equal(progressing(world)?.reason, "NewReplicaSetAvailable");
});

for (const [replicas, maxSurge, maxUnavailable] of [
  [10, "25%", "25%"],
  [4, 1, 0],
  [4, 0, 1],
  [3, 0, 0],
  [1, "25%", "25%"],
  [5, "100%", "0%"],
] as const) {
  t.test(
    `a rolling update of ${replicas} with surge ${maxSurge} and unavailable ${maxUnavailable} stays within both`,
    async (t) => {
      const strategy = { type: "RollingUpdate", rollingUpdate: { maxSurge, maxUnavailable } };
      const world = new World();
      world.settle(deployment(replicas, "a", { strategy }));
      world.least = replicas;
      world.most = 0;
      world.settle(deployment(replicas, "b", { strategy }));
      const percent = (value: number | string, round: (share: number) => number): number =>
        typeof value === "number" ? value : round((Number.parseInt(value, 10) * replicas) / 100);
      const surge = percent(maxSurge, Math.ceil);
      const missing =
        surge === 0 ? Math.max(1, percent(maxUnavailable, Math.floor)) : percent(maxUnavailable, Math.floor);
      t.equal(progressing(world)?.reason, "NewReplicaSetAvailable");
      t.ok(world.most <= replicas + surge, `${world.most} pods at most`);
      t.ok(world.least >= replicas - missing, `${world.least} available at least`);
      t.same(Object.fromEntries(world.sets.map((set) => [revisionOf(set), set.spec?.replicas])), {
        1: 0,
        2: replicas,
      });
    },
  );
}

t.test("a rollout whose pods never become ready stops in time and says so after the deadline", async (t) => {
  const world = new World();
  world.settle(deployment(4, "good"));
  const bad = deployment(4, "bad", { progressDeadlineSeconds: 60 });
  const goodName = world.sets[0]?.metadata?.name;
  const ready = (set: ReplicaSet): number => (set.metadata?.name === goodName ? 1_000 : 0);
  world.settle(bad, ready);
  t.equal(world.status.availableReplicas, 3, "one of four may miss");
  t.equal(progressing(world)?.status, "True");
  world.nowMs += 60_000;
  world.step(bad, ready);
  t.equal(progressing(world)?.reason, "ProgressDeadlineExceeded");
});

t.test("the old template again is the old ReplicaSet with a new revision", async (t) => {
  const world = new World();
  for (const image of ["a", "b", "a"]) world.settle(deployment(2, image));
  t.equal(world.sets.length, 2);
  const current = newReplicaSet(deployment(2, "a"), world.sets);
  t.equal(current?.spec?.replicas, 2);
  t.equal(current?.metadata?.annotations?.["deployment.kubernetes.io/revision"], "3");
  t.equal(current?.metadata?.annotations?.["deployment.kubernetes.io/revision-history"], "1");
});

t.test("a scaling in the middle of a rollout gives every ReplicaSet its share", async (t) => {
  const world = new World();
  world.settle(
    deployment(10, "a", {
      strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } },
    }),
  );
  const strategy = { type: "RollingUpdate", rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } };
  const oldName = world.sets[0]?.metadata?.name;
  const ready = (set: ReplicaSet): number => (set.metadata?.name === oldName ? 1_000 : 0);
  world.settle(deployment(10, "b", { strategy }), ready);
  const sizes = () => world.sets.map((set) => set.spec?.replicas ?? 0).sort((a, b) => a - b);
  t.same(sizes(), [5, 8]);
  world.step(deployment(15, "b", { strategy }), ready);
  t.same(sizes(), [7, 11], "18 pods in all, in proportion");
});

t.test("a paused Deployment scales but does not roll", async (t) => {
  const world = new World();
  world.settle(deployment(2, "a"));
  world.settle(deployment(3, "b", { paused: true }));
  t.same(
    world.sets.map((set) => set.spec?.replicas),
    [3],
  );
  t.equal(progressing(world)?.reason, "DeploymentPaused");
  world.settle(deployment(3, "b"));
  t.equal(world.sets.length, 2);
});

t.test("Recreate empties the old ReplicaSet before it makes the new one", async (t) => {
  const strategy = { type: "Recreate" };
  const world = new World();
  world.settle(deployment(2, "a", { strategy }));
  world.step(deployment(2, "b", { strategy }), () => 1_000);
  t.same(
    world.sets.map((set) => set.spec?.replicas),
    [0],
  );
  world.settle(deployment(2, "b", { strategy }));
  t.same(
    world.sets.map((set) => set.spec?.replicas),
    [0, 2],
  );
});

t.test("old ReplicaSets beyond the history go, the oldest rollout first", async (t) => {
  const world = new World();
  for (const image of ["a", "b", "c", "d"]) world.settle(deployment(1, image, { revisionHistoryLimit: 1 }));
  t.same(new Set(world.sets.map(revisionOf)), new Set([3, 4]));
});
