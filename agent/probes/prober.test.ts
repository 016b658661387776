import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import type { Container, Probe } from "#api/generated/kubernetes.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { type ExecResult, RuntimeError } from "../runtime/runtime.ts";
import { ProbeResults } from "./probe-results.ts";
import { type Probed, Prober } from "./prober.ts";

/** A runtime whose exec probes answer as the test says: by exit code, by an error, or when told. */
class Scripted extends FakeRuntime {
  /** Command -> exit code, or "error" for a runtime that cannot run it. */
  readonly answers: Map<string, number | "error" | Promise<number>> = new Map();
  readonly asked: (readonly [string, number])[] = [];
  readonly clock: FakeClock;
  inside = 0;
  most = 0;

  constructor(clock: FakeClock) {
    super(clock);
    this.clock = clock;
  }

  override async execSync(_id: string, command: readonly string[]): Promise<ExecResult> {
    const text = command.join(" ");
    this.asked.push([text, this.clock.monotonicMs()]);
    this.inside += 1;
    this.most = Math.max(this.most, this.inside);
    try {
      const answer = await (this.answers.get(text) ?? 0);
      if (answer === "error") throw new RuntimeError("unavailable", "it does not answer");
      return { exitCode: answer, stdout: Buffer.from(`${text}!`), stderr: new Uint8Array() };
    } finally {
      this.inside -= 1;
    }
  }
}

interface Bench {
  readonly clock: FakeClock;
  readonly runtime: Scripted;
  readonly prober: Prober;
  readonly events: string[];
  readonly changed: string[];
  readonly succeeded: string[];
  /** Milliseconds since the start at which the command was asked. */
  readonly times: (command: string) => readonly number[];
}

function bench(more: { readonly random?: number; readonly results?: ProbeResults } = {}): Bench {
  const clock = new FakeClock();
  const runtime = new Scripted(clock);
  const events: string[] = [];
  const changed: string[] = [];
  const succeeded: string[] = [];
  const startMs = clock.monotonicMs();
  const prober = new Prober({
    runtime,
    clock,
    random: () => more.random ?? 0,
    ...(more.results === undefined ? {} : { results: more.results }),
    changed: (uid) => changed.push(uid),
    succeeded: ({ container }, kind) => succeeded.push(`${container.name} ${kind}`),
    event: (_, reason, message) => events.push(`${reason} ${message}`),
  });
  const times = (command: string): readonly number[] =>
    runtime.asked.filter(([text]) => text === command).map(([, at]) => at - startMs);
  return { clock, runtime, prober, events, changed, succeeded, times };
}

const exec = (command: string, more: Partial<Probe> = {}): Probe => ({
  exec: { command: [command] },
  ...more,
});

function probed(clock: FakeClock, container: Partial<Container>, more: Partial<Probed> = {}): Probed {
  return {
    podUid: "u1",
    containerId: "c1",
    container: { name: "web", ...container },
    podIp: "127.0.0.1",
    startedAtMs: clock.now(),
    known: undefined,
    ending: false,
    ...more,
  };
}

t.test("PR1: the startup probe holds the other two back until it has succeeded", async (t) => {
  const { clock, runtime, prober, times } = bench();
  runtime.answers.set("start", 1);
  prober.track("u1", [
    probed(clock, {
      startupProbe: exec("start", { periodSeconds: 3, failureThreshold: 10 }),
      livenessProbe: exec("live", { periodSeconds: 5 }),
      readinessProbe: exec("ready", { periodSeconds: 5 }),
    }),
  ]);
  t.match(prober.state("c1"), { startup: "unknown", liveness: "success", readiness: "failure" });
  await clock.advance(8_000);
  t.same(times("start"), [0, 3_000, 6_000]);
  t.same([...times("live"), ...times("ready")], []);
  runtime.answers.set("start", 0);
  await clock.advance(1_000);
  t.match(prober.state("c1"), { startup: "success", readiness: "success" }, "readiness is asked at once");
  await clock.advance(10_000);
  t.same(times("start"), [0, 3_000, 6_000, 9_000], "a container starts once");
  t.same(times("live"), [9_000, 14_000, 19_000]);
  t.same(times("ready"), [9_000, 14_000, 19_000]);
});

t.test("PR1: a startup probe that fails too often stops every probe of that container", async (t) => {
  const { clock, runtime, prober, times, changed } = bench();
  runtime.answers.set("start", 1);
  prober.track("u1", [
    probed(clock, {
      startupProbe: exec("start", { periodSeconds: 1, failureThreshold: 2 }),
      livenessProbe: exec("live"),
    }),
  ]);
  await clock.advance(10_000);
  t.equal(prober.state("c1")?.startup, "failure");
  t.same(times("start"), [0, 1_000]);
  t.same(times("live"), []);
  t.same(changed, ["u1"]);
});

t.test(
  "PR2: the initial delay counts from the container's start, the period from the first probe",
  async (t) => {
    const { clock, prober, times } = bench();
    await clock.advance(2_000);
    const startedAtMs = clock.now() - 2_000;
    const livenessProbe = exec("live", { initialDelaySeconds: 5, periodSeconds: 2 });
    prober.track("u1", [probed(clock, { livenessProbe }, { startedAtMs })]);
    await clock.advance(8_000);
    t.same(times("live"), [5_000, 7_000, 9_000]);
  },
);

t.test("PR2: without fields a probe runs every ten seconds and fails at the third failure", async (t) => {
  const { clock, runtime, prober, times, events } = bench();
  runtime.answers.set("live", 1);
  prober.track("u1", [probed(clock, { livenessProbe: exec("live") })]);
  await clock.advance(19_000);
  t.equal(prober.state("c1")?.liveness, "success");
  await clock.advance(1_000);
  t.equal(prober.state("c1")?.liveness, "failure");
  t.same(
    events,
    Array.from({ length: 3 }, () => "Unhealthy Liveness probe failed: live!"),
  );
  await clock.advance(60_000);
  t.same(times("live"), [0, 10_000, 20_000], "on hold until there is a new container");
});

t.test("PR2: a slow answer moves no later one", async (t) => {
  const { clock, runtime, prober, times } = bench();
  const answer = Promise.withResolvers<number>();
  prober.track("u1", [probed(clock, { readinessProbe: exec("ready", { periodSeconds: 2 }) })]);
  await clock.advance(1_000);
  runtime.answers.set("ready", answer.promise);
  await clock.advance(4_500);
  answer.resolve(0);
  runtime.answers.set("ready", 0);
  await clock.advance(5_000);
  t.same(times("ready"), [0, 2_000, 6_000, 8_000, 10_000], "the one that was missed is not made up for");
});

t.test("PR3: sixteen exec probes run at once, the others wait their turn and none is lost", async (t) => {
  const { clock, runtime, prober } = bench();
  const gate = Promise.withResolvers<number>();
  const all = Array.from({ length: 50 }, (_, i) => `c${i}`);
  for (const id of all) {
    runtime.answers.set(id, gate.promise);
    const readinessProbe = exec(id, { periodSeconds: 60 });
    prober.track(id, [probed(clock, { readinessProbe }, { podUid: id, containerId: id })]);
  }
  await clock.advance(1);
  t.equal(runtime.asked.length, 16);
  prober.track("c40", []);
  gate.resolve(0);
  await clock.advance(1_000);
  t.equal(runtime.most, 16);
  t.equal(runtime.asked.length, 49, "the one whose container went while it waited is not asked");
  t.ok(all.filter((id) => id !== "c40").every((id) => prober.state(id)?.readiness === "success"));
});

t.test("PR7: a probe that cannot be asked is tried three times and then counts as nothing", async (t) => {
  const { clock, runtime, prober, times, events } = bench();
  runtime.answers.set("live", 1);
  const livenessProbe = exec("live", { failureThreshold: 2 });
  prober.track("u1", [probed(clock, { livenessProbe })]);
  await clock.advance(5_000);
  runtime.answers.set("live", "error");
  await clock.advance(10_000);
  t.same(times("live"), [0, 10_000, 10_000, 10_000]);
  t.equal(
    events.at(-1),
    "Unhealthy Liveness probe errored and resulted in unknown state: it does not answer",
  );
  t.equal(events.length, 2, "said once");
  t.equal(prober.state("c1")?.liveness, "success");
  runtime.answers.set("live", 1);
  await clock.advance(10_000);
  t.equal(prober.state("c1")?.liveness, "failure", "the failures before and after it are in a row");
});

t.test("PR8: readiness comes back after successThreshold answers in a row", async (t) => {
  const { clock, runtime, prober } = bench();
  const readinessProbe = exec("ready", { periodSeconds: 1, successThreshold: 3, failureThreshold: 1 });
  prober.track("u1", [probed(clock, { readinessProbe })]);
  await clock.advance(1_500);
  t.equal(prober.state("c1")?.readiness, "failure", "two of three");
  await clock.advance(1_000);
  t.equal(prober.state("c1")?.readiness, "success");
  runtime.answers.set("ready", 1);
  await clock.advance(1_000);
  t.equal(prober.state("c1")?.readiness, "failure");
});

t.test("how each probe stands can be asked, and its first success is told once", async (t) => {
  const { clock, runtime, prober, succeeded } = bench();
  runtime.answers.set("ready", 1);
  const readinessProbe = exec("ready", { periodSeconds: 1, successThreshold: 2, failureThreshold: 5 });
  prober.track("u1", [probed(clock, { readinessProbe, livenessProbe: exec("live", { periodSeconds: 1 }) })]);
  const before = prober.details("c1").find(({ kind }) => kind === "readiness");
  t.match(before, { last: undefined, lastMs: undefined, verdict: "failure" });
  await clock.advance(2_500);
  t.match(
    prober.details("c1").find(({ kind }) => kind === "readiness"),
    {
      verdict: "failure",
      last: "failure",
      streak: 3,
      failureThreshold: 5,
      successThreshold: 2,
      lastMs: clock.now() - 500,
      message: "ready!",
    },
  );
  t.same(succeeded, ["web liveness"]);
  runtime.answers.set("ready", 0);
  await clock.advance(5_000);
  t.same(succeeded, ["web liveness", "web readiness"]);
  t.same(prober.details("other"), []);
});

t.test("PR8: a Pod on its way out is asked for readiness only", async (t) => {
  const { clock, prober, times } = bench();
  const container = {
    livenessProbe: exec("live", { periodSeconds: 1 }),
    readinessProbe: exec("ready", { periodSeconds: 1 }),
  };
  const startedAtMs = clock.now();
  prober.track("u1", [probed(clock, container, { startedAtMs })]);
  await clock.advance(500);
  prober.track("u1", [probed(clock, container, { startedAtMs, ending: true })]);
  await clock.advance(3_000);
  t.same(times("live"), [0]);
  t.same(times("ready"), [0, 1_000, 2_000, 3_000]);
});

t.test(
  "PR9: a new agent spreads what it finds over a period, and a new container does not wait",
  async (t) => {
    const { clock, prober, times } = bench({ random: 0.4 });
    const probe = (id: string): Partial<Container> => ({ readinessProbe: exec(id) });
    const old = { podUid: "a", containerId: "old", startedAtMs: clock.now() - 60_000 };
    prober.track("a", [probed(clock, probe("old"), old)]);
    await clock.advance(2_000);
    prober.track("b", [probed(clock, probe("new"), { podUid: "b", containerId: "new" })]);
    await clock.advance(10_000);
    t.same(times("old"), [4_000]);
    t.same(times("new"), [2_000, 12_000]);
  },
);

t.test(
  "PR9: what was found outlives the agent, without an API, and only that of containers that do",
  async (t) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "probes-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const file = path.join(folder, "probe-results.json");
    const container = {
      startupProbe: exec("start"),
      readinessProbe: exec("ready", { periodSeconds: 1, failureThreshold: 1 }),
    };
    const results = await ProbeResults.open(file, noLog);
    const first = bench({ results });
    first.prober.track("u1", [
      probed(first.clock, container),
      probed(first.clock, container, { containerId: "c2" }),
      probed(
        first.clock,
        { startupProbe: exec("wait"), readinessProbe: exec("ready") },
        { containerId: "c3" },
      ),
    ]);
    first.runtime.answers.set("wait", 1);
    await first.clock.advance(1_000);
    first.prober.close();
    await results.flushed();
    t.same(JSON.parse(await readFile(file, "utf8")), {
      c1: { started: true, ready: true },
      c2: { started: true, ready: true },
      c3: { started: false, ready: false },
    });
    t.same(await readdir(folder), ["probe-results.json"]);

    const kept = await ProbeResults.open(file, noLog);
    const second = bench({ results: kept, random: 0.9 });
    const old = { startedAtMs: second.clock.now() - 60_000 };
    second.prober.track("u1", [
      probed(second.clock, container, old),
      probed(second.clock, container, { ...old, containerId: "c3" }),
    ]);
    t.match(second.prober.state("c1"), { startup: "success", readiness: "success" }, "before it was asked");
    t.match(second.prober.state("c3"), { startup: "unknown", readiness: "failure" });
    second.prober.keepOnly(new Set(["c1", "c3"]));
    await second.clock.advance(12_000);
    second.prober.close();
    await kept.flushed();
    t.same(Object.keys(JSON.parse(await readFile(file, "utf8"))).toSorted(), ["c1", "c3"]);

    await writeFile(file, '{"c1": {"started"');
    const spoilt = await ProbeResults.open(file, noLog);
    t.equal(spoilt.take("c1"), undefined, "a spoilt file is as none");
  },
);
