import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { agentMetrics } from "../metrics.ts";
import { OomKills } from "./oom-kills.ts";

const web = "0123456789abcdef".repeat(4);

function line(cgroup: string, process: string, pid: number, isGlobal = false): string {
  return `oom-kill:constraint=${isGlobal ? "CONSTRAINT_NONE" : "CONSTRAINT_MEMCG"},nodemask=(null),cpuset=/,mems_allowed=0,${isGlobal ? "global_oom" : `oom_memcg=${cgroup}`},task_memcg=${cgroup},task=${process},pid=${pid},uid=0`;
}

function setUp() {
  const clock = new FakeClock();
  const log: string[] = [];
  const said: string[] = [];
  const running = new Set([web]);
  const metrics = agentMetrics();
  const stop = new AbortController();
  const kills = new OomKills(
    {
      clock,
      log: noLog,
      metrics,
      lines: (limit) => log.splice(0, limit),
      find: (id) => (id === web ? { id, name: "web", memoryLimit: "64Mi" } : undefined),
      isRunning: async (id) => running.has(id),
      sayOfContainer: ({ name }, message) => said.push(`${name}: ${message}`),
      sayOfNode: (message) => said.push(`node: ${message}`),
    },
    stop.signal,
  );
  const counts = async () =>
    Object.fromEntries(
      (await metrics.oomKills.get()).values.map(({ labels, value }) => [labels.victim, value]),
    );
  return { clock, log, said, running, kills, counts, stop };
}

t.test(
  "a child that is killed is told of when the container runs on, several within ten seconds together",
  async (t) => {
    const { clock, log, said, kills, counts } = setUp();
    log.push("usb 1-1: new device", line(`/kubepods/podu1/${web}`, "tail", 7));
    kills.look();
    t.same(said, [], "first it has to show that the container runs on");
    await clock.advance(1_000);
    t.match(said, [/^web: The kernel killed process tail \(pid 7\) of container web: .* limit of 64Mi/]);
    for (const pid of [8, 9]) log.push(line(`/kubepods/podu1/${web}`, "tail", pid));
    kills.look();
    await clock.advance(8_999);
    t.equal(said.length, 1);
    await clock.advance(1_001);
    t.match(said.slice(1), [/processes tail \(pid 8\), tail \(pid 9\)/]);
    t.same(await counts(), { child: 3 });
  },
);

t.test("a container that ends by it is not told of: its status says OOMKilled", async (t) => {
  const { clock, log, said, running, kills, counts } = setUp();
  log.push(line(`/kubepods/podu1/${web}`, "sh", 7));
  kills.look();
  running.delete(web);
  await clock.advance(60_000);
  t.same(said, []);
  t.same(await counts(), { container: 1 });
});

t.test("EV8: a machine without memory left says SystemOOM, in the kubelet's words", async (t) => {
  const { clock, log, said, kills, counts } = setUp();
  log.push(line("/user.slice", "stress", 42, true), line("/machine.slice/else", "x", 43));
  kills.look();
  await clock.advance(60_000);
  t.same(
    said,
    ["node: System OOM encountered, victim process: stress, pid: 42"],
    "nor what others' limits do",
  );
  t.same(await counts(), { other: 1 });
  log.push(line(`/kubepods/podu1/${web}`, "tail", 44, true));
  kills.look();
  await clock.advance(60_000);
  t.match(said.slice(1), [/^node: System OOM .* tail, pid: 44/, /^web: .*the node had no memory left/]);
});

t.test(
  "the log is looked at without a word of the runtime's too, and a log that breaks is survived",
  async (t) => {
    const { clock, log, said, kills, stop } = setUp();
    const running = kills.run(stop.signal);
    log.push(line(`/kubepods/podu1/${web}`, "tail", 7));
    await clock.advance(6_000);
    t.equal(said.length, 1);
    stop.abort();
    await running;
  },
);
