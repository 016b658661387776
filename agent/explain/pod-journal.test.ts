import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { testPod } from "../plan/pod-fixtures.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { RuntimeError } from "../runtime/runtime.ts";
import { PodJournal } from "./pod-journal.ts";
import { PodJournals } from "./pod-journals.ts";

t.test("a journal keeps the steps of a start until it is over, and what goes on", async (t) => {
  let nowMs = 0;
  const journal = new PodJournal(() => nowMs);
  const end = journal.begin("sandbox", undefined, true);
  const stop = journal.begin("stop container", "web", false);
  nowMs = 5;
  t.match(journal.open, [{ what: "sandbox" }, { what: "stop container", container: "web" }]);
  end();
  nowMs = 9;
  end(true);
  stop(true);
  t.same(journal.open, []);
  journal.moment("Ready");
  nowMs = 12;
  journal.moment("Ready");
  journal.close();
  journal.begin("create", "web", true)();
  journal.moment("Ready in the API");
  t.same(journal.steps, [
    { what: "sandbox", container: undefined, startMs: 0, endMs: 5, failed: false },
    { what: "Ready", container: undefined, startMs: 9, endMs: 9, failed: false },
  ]);
});

t.test("a journal is bounded, whatever happens", async (t) => {
  let nowMs = 0;
  const journal = new PodJournal(() => nowMs);
  for (let i = 0; i < 1_000; i += 1) {
    nowMs = i;
    journal.begin("create", `c${i}`, true);
    journal.error("Failed", `${i} ${"x".repeat(5_000)}`);
  }
  t.equal(journal.steps.length, 256);
  t.equal(journal.open.length, 128);
  t.equal(journal.errors.length, 20);
  t.equal(journal.errors[0]?.message.length, 1_027, "cut, and it shows");
  t.match(journal.errors.at(-1), { firstMs: 999, count: 1 });
  nowMs = 2_000;
  journal.error("Failed", journal.errors[3]?.message.slice(0, -3) ?? "");
  for (const times of [1, 2, 3]) {
    nowMs += 1;
    journal.error("BackOff", "again");
    t.match(journal.errors.at(-1), {
      reason: "BackOff",
      firstMs: 2_001,
      lastMs: 2_000 + times,
      count: times,
    });
  }
});

t.test("journals are kept of known Pods, and note which container a call is for", async (t) => {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  const journals = new PodJournals({
    clock,
    hasApi: false,
    isKnown: (uid) => uid === "u1",
    nameOf: (uid, id) => (uid === "u1" && id === "old" ? "web" : undefined),
  });
  let podUid: string | undefined = "u1";
  const watched = journals.watch(runtime, () => podUid);
  const signal = AbortSignal.timeout(10_000);
  runtime.failNext("startContainer", new RuntimeError("failed", "no"));
  await t.rejects(watched.startContainer("old", signal), { code: "failed" });
  t.match(journals.of("u1").steps, [{ what: "start", container: "web", failed: true }]);
  podUid = undefined;
  await watched.listSandboxes({}, signal);
  podUid = "stranger";
  await watched.listSandboxes({}, signal);
  journals.of("stranger").error("Failed", "x");
  t.same(journals.of("stranger").errors, [], "nobody keeps it");
  t.equal(journals.of("u1").steps.length, 1);

  const recorder = journals.recorder({ event: () => undefined });
  const target = { kind: "Pod", ...testPod(), fieldPath: "spec.containers{web}" };
  recorder.event(target, "Normal", "Pulled", 'Container image "a" already present on machine');
  recorder.event(target, "Warning", "BackOff", "Back-off restarting failed container");
  recorder.event({ kind: "Node", metadata: { name: "node-a", uid: "u1" } }, "Warning", "SystemOOM", "no");
  t.match(journals.of("u1").steps.at(-1), { what: "image present", container: "web" });
  t.match(journals.of("u1").errors, [{ reason: "BackOff" }]);
  t.equal(journals.of("u1").errors.length, 1);
  journals.forget("u1");
  t.same(journals.of("u1").steps, []);
});
