import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { explainPod } from "../plan/explain/explain-pod.ts";
import { planPod } from "../plan/pod-actions.ts";
import { testMemory, testPod, testRuntime } from "../plan/pod-fixtures.ts";
import { PodEntry } from "../pod-entry.ts";
import { tellStuck } from "./tell-stuck.ts";

t.test("a Pod that does not end says which step holds it, once, and again when it is another", async (t) => {
  const clock = new FakeClock();
  const entry = new PodEntry(testPod({ terminationGracePeriodSeconds: 5 }), "api", clock.now());
  const said: string[] = [];
  const stop = new AbortController();
  let holds: "take down volumes" | "stop sandbox" | undefined = "take down volumes";
  const explain = () => {
    const memory = testMemory({ terminatingSinceMs: entry.terminatingSinceMs });
    const runtime = testRuntime([]);
    const step = { container: undefined, startMs: clock.now() - 1, endMs: undefined, failed: false };
    return explainPod({
      nowMs: clock.now(),
      node: "node-a",
      source: "api",
      pod: entry.pod,
      firstSeenMs: 0,
      runtime,
      memory,
      plan: planPod(entry.pod, runtime, memory, clock.now()),
      isAdmitted: true,
      isGone: true,
      isCleaned: false,
      open: holds === undefined ? [] : [{ ...step, what: holds }],
      steps: [],
      errors: [],
      probes: new Map(),
      pulls: new Map(),
      unwritten: undefined,
      runtimeTrouble: undefined,
      apiTrouble: undefined,
    });
  };
  const running = tellStuck(
    { clock, entries: () => [entry], explain, say: (_, message) => said.push(message) },
    stop.signal,
  );
  await clock.advance(100_000);
  t.same(said, [], "it runs");
  entry.terminatingSinceMs = clock.now();
  await clock.advance(34_000);
  t.same(said, [], "it has 5 s of grace and 30 s more");
  await clock.advance(60_000);
  t.match(said, [
    /^the pod should have ended \d+s ago and waits for take down volumes: the volumes are being unmounted$/,
  ]);
  holds = "stop sandbox";
  await clock.advance(60_000);
  t.match(said.slice(1), [/waits for stop sandbox/]);
  stop.abort();
  await running;
});
