import t from "tap";
import { TestCluster } from "./cluster-for-tests.ts";
import { cronJobs } from "./cron-job.ts";
import { jobs } from "./job.ts";
import { missedTime, nextTime, parseCron } from "./plan/cron-schedule.ts";

const cases: readonly (readonly [
  schedule: string,
  from: string,
  zone: string | undefined,
  next: string | undefined,
])[] = [
  ["*/5 * * * *", "2026-01-01T00:02:00Z", undefined, "2026-01-01T00:05:00.000Z"],
  ["0 9 * * mon-fri", "2026-01-02T10:00:00Z", undefined, "2026-01-05T09:00:00.000Z"],
  ["@monthly", "2026-01-15T00:00:00Z", undefined, "2026-02-01T00:00:00.000Z"],
  ["30 6 13 * fri", "2026-01-01T00:00:00Z", undefined, "2026-01-02T06:30:00.000Z"],
  ["0 0 29 feb *", "2026-01-01T00:00:00Z", undefined, "2028-02-29T00:00:00.000Z"],
  ["0 8 * * *", "2026-07-01T00:00:00Z", "Europe/Berlin", "2026-07-01T06:00:00.000Z"],
  ["15 8 * * 7", "2026-01-01T00:00:00Z", "Asia/Kolkata", "2026-01-04T02:45:00.000Z"],
  ["0 0 31 2 *", "2026-01-01T00:00:00Z", undefined, undefined],
];
for (const [schedule, from, zone, next] of cases) {
  t.test(`"${schedule}" after ${from} in ${zone ?? "UTC"} is ${next ?? "never"}`, async (t) => {
    const at = nextTime(parseCron(schedule), Date.parse(from), zone);
    t.equal(at === undefined ? undefined : new Date(at).toISOString(), next);
  });
}

t.test("a schedule that does not parse is refused with its field", async (t) => {
  for (const schedule of [
    "* * * *",
    "61 * * * *",
    "*/0 * * * *",
    "5-1 * * * *",
    "x * * * *",
    "* * * foo *",
  ]) {
    t.throws(() => parseCron(schedule), /^cannot read schedule/, schedule);
  }
});

t.test("of many missed moments only the last one counts", async (t) => {
  const start = Date.UTC(2026, 0, 1);
  const every = parseCron("* * * * *");
  t.same(missedTime(every, start, start + 5.5 * 60_000, undefined), {
    at: start + 5 * 60_000,
    tooMany: false,
  });
  t.same(missedTime(every, start, start + 10_000 * 60_000, undefined), {
    at: start + 10_000 * 60_000,
    tooMany: true,
  });
  t.same(missedTime(every, start, start + 30_000, undefined), { at: undefined, tooMany: false });
});

t.test("a CronJob that missed its time starts one Job, and notes that it ended", async (t) => {
  await using cluster = await TestCluster.start();
  const { client, signal } = cluster;
  cluster.playAgents(() => "Succeeded");
  await cluster.node("n1");
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "c", image: "i" }] } };
  const metadata = { name: "tick", namespace: "default" };
  const spec = { schedule: "0 0 1 1 *", suspend: true, jobTemplate: { spec: { template } } };
  const cron = await client.create(cronJobs, { metadata, spec }, {}, signal);
  const status = { lastScheduleTime: "2020-06-01T00:00:00Z" };
  await client.update(cronJobs, { ...cron, status }, { subresource: "status" }, signal);
  await client.patch(cronJobs, metadata, "merge", { spec: { suspend: false } }, {}, signal);
  const year = new Date().getUTCFullYear();
  const due = Date.UTC(year, 0, 1);
  const [done] = await cluster.until(
    "the end of it",
    cronJobs,
    "default",
    (all) => all[0]?.status?.lastSuccessfulTime !== undefined && (all[0].status.active ?? []).length === 0,
  );
  t.equal(done?.status?.lastScheduleTime, `${year}-01-01T00:00:00Z`);
  const { items } = await client.list(jobs, { namespace: "default" }, signal);
  t.same(
    items.map((job) => job.metadata?.name),
    [`tick-${due / 60_000}`],
  );
});
