import t from "tap";
import type { Job, JobSpec, Pod } from "#api/generated/kubernetes.ts";
import { pods } from "#api/resources.ts";
import { TestCluster } from "./cluster-for-tests.ts";
import { jobs } from "./job.ts";
import { formatIndexes, parseIndexes } from "./plan/index-ranges.ts";
import { planJob } from "./plan/job.ts";

const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } };
const job = (spec: Partial<JobSpec>): Job => ({
  metadata: { name: "sum", namespace: "default" },
  spec: { template, ...spec },
});
const has = (type: string) => (all: readonly Job[]) =>
  all.some(
    ({ status }) => status?.conditions?.some((each) => each.type === type && each.status === "True") === true,
  );

t.test("a Job runs its completions, few at a time, and is complete", async (t) => {
  await using cluster = await TestCluster.start();
  let most = 0;
  cluster.playAgents(() => "Succeeded");
  await cluster.node("n1");
  await cluster.client.create(jobs, job({ completions: 5, parallelism: 2 }), {}, cluster.signal);
  const [done] = await cluster.until("the end", jobs, "default", (all) => {
    most = Math.max(most, all[0]?.status?.active ?? 0);
    return has("Complete")(all);
  });
  t.match(done?.status, { succeeded: 5, failed: 0, active: 0 });
  t.ok(most <= 2, `${most} at once`);
  t.type(done?.status?.completionTime, "string");
  const list = await cluster.client.list(pods, { namespace: "default" }, cluster.signal);
  t.equal(list.items.length, 5, "no pod too many");
  t.ok(
    list.items.every(({ metadata }) => (metadata?.finalizers ?? []).length === 0),
    "every pod is let go",
  );
  t.match(
    cluster.events.find(({ reason }) => reason === "Completed"),
    { about: "Job/sum", message: "Job completed" },
  );
});

t.test("an indexed Job runs each index once and names it to the pod", async (t) => {
  await using cluster = await TestCluster.start();
  cluster.playAgents(() => "Succeeded");
  await cluster.node("n1");
  const spec = { completions: 3, parallelism: 3, completionMode: "Indexed" };
  await cluster.client.create(jobs, job(spec), {}, cluster.signal);
  const [done] = await cluster.until("the end", jobs, "default", has("Complete"));
  t.match(done?.status, { succeeded: 3, completedIndexes: "0-2" });
  const { items } = await cluster.client.list(pods, { namespace: "default" }, cluster.signal);
  t.same(new Set(items.map(({ spec: each }) => each?.hostname)), new Set(["sum-0", "sum-1", "sum-2"]));
  t.match(items[0]?.spec?.containers[0]?.env, [{ name: "JOB_COMPLETION_INDEX" }]);
});

t.test("a Job that fails too often has failed", async (t) => {
  await using cluster = await TestCluster.start();
  cluster.playAgents(() => "Failed");
  await cluster.node("n1");
  await cluster.client.create(jobs, job({ backoffLimit: 0 }), {}, cluster.signal);
  const [done] = await cluster.until("the end", jobs, "default", has("Failed"));
  t.match(
    done?.status?.conditions?.find(({ type }) => type === "Failed"),
    {
      reason: "BackoffLimitExceeded",
      message: "Job has reached the specified backoff limit",
    },
  );
  t.equal(done?.status?.failed, 1);
});

t.test("a suspended Job has no pods until it is resumed, and goes with its pods", async (t) => {
  await using cluster = await TestCluster.start();
  cluster.playAgents();
  await cluster.node("n1");
  const key = { namespace: "default", name: "sum" };
  await cluster.client.create(jobs, job({ suspend: true }), {}, cluster.signal);
  await cluster.until("the condition", jobs, "default", has("Suspended"));
  t.same((await cluster.client.list(pods, { namespace: "default" }, cluster.signal)).items, []);
  await cluster.client.patch(jobs, key, "merge", { spec: { suspend: false } }, {}, cluster.signal);
  await cluster.until("a ready pod", jobs, "default", (all) => all[0]?.status?.ready === 1);
  await cluster.client.delete(jobs, key, { propagationPolicy: "Background" }, cluster.signal);
  await cluster.until("no pod", pods, "default", (all) => all.length === 0);
});

t.test("a failed pod is replaced later each time", async (t) => {
  const start = Date.UTC(2026, 0, 1);
  const failed = (at: number): Pod => ({
    metadata: { name: `p${at}`, uid: `p${at}`, creationTimestamp: new Date(start + at).toISOString() },
    status: { phase: "Failed" },
  });
  const running = job({ completions: 1 });
  t.equal(planJob(running, [failed(0)], start + 4_000).againInMs, 6_000);
  t.equal(planJob(running, [failed(0), failed(10_000)], start + 10_000).againInMs, 20_000);
  t.same(planJob(running, [failed(0)], start + 10_000).create, [undefined]);
});

t.test("a Job past its deadline fails, and one past its time to live goes", async (t) => {
  const start = Date.UTC(2026, 0, 1);
  const old = { ...job({ activeDeadlineSeconds: 60 }), status: { startTime: "2026-01-01T00:00:00Z" } };
  t.equal(planJob(old, [], start + 59_000).againInMs, 1_000);
  const late = planJob(old, [], start + 60_000).status.conditions ?? [];
  t.same(
    late.map(({ type, reason }) => [type, reason]),
    [
      ["FailureTarget", "DeadlineExceeded"],
      ["Failed", "DeadlineExceeded"],
    ],
  );
  const conditions = [{ type: "Complete", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" }];
  const finished = { ...job({ ttlSecondsAfterFinished: 10 }), status: { conditions } };
  t.match(planJob(finished, [], start + 9_000), { expired: false, againInMs: 1_000 });
  t.match(planJob(finished, [], start + 10_000), { expired: true });
});

t.test("indexes are written the short way and read back", async (t) => {
  t.equal(formatIndexes([5, 0, 3, 4, 7, 8]), "0,3-5,7,8");
  t.same([...parseIndexes("0,3-5,7,8")], [0, 3, 4, 5, 7, 8]);
  t.same([...parseIndexes(undefined)], []);
});
