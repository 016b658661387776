import t from "tap";
import type { PodMemory } from "../../model.ts";
import { annotation } from "../names.ts";
import { planPod } from "../pod-actions.ts";
import { endedRecord, testMemory, testPod, testRuntime, testSandbox } from "../pod-fixtures.ts";
import { podStatus } from "../pod-status.ts";
import { backOffs } from "./back-offs.ts";

const nowMs = 10_000;
const pod = testPod();
const crashed = testRuntime(
  [testSandbox()],
  endedRecord("web", 1, { attempt: 3, annotations: { [annotation.backoffMs]: "40000" } }),
);

function found(memory: PodMemory, container?: string) {
  return backOffs(pod, crashed, memory, planPod(pod, crashed, memory, nowMs), container, nowMs);
}

t.test("a crash back-off is found, and over once it is cut short", async (t) => {
  t.match(found(testMemory()), {
    found: true,
    backOffs: [{ of: "crash", container: "web", containerId: "web-3", untilMs: 45_000 }],
  });
  const memory = testMemory({ cutShort: new Set(["web-3"]) });
  t.match(found(memory), { found: false, message: /no back-off runs/ });
  t.match(planPod(pod, crashed, memory, nowMs).actions, [
    { do: "start-container", attempt: 4, backoffMs: 80_000 },
  ]);
  const status = podStatus(pod, {
    runtime: crashed,
    memory,
    runtimeName: "fake",
    terminationMessages: new Map(),
    nowMs,
    hostIps: [],
    firstSeenMs: 0,
  });
  t.match(status.containerStatuses?.[0]?.state, { terminated: { exitCode: 1 } });
});

t.test("a wait that is over, a Pod that ends, and a container that is not there have none", async (t) => {
  const failure = { reason: "CreateContainerError", message: "no", retryAtMs: nowMs - 1 } as const;
  const startFailures = new Map([["web", failure]]);
  t.match(found(testMemory({ startFailures, cutShort: new Set(["web-3"]) })), { found: false });
  t.match(found(testMemory({ terminatingSinceMs: 1 })), { found: false, message: /on its way out/ });
  t.match(found(testMemory(), "side"), { found: false, message: /no container "side", only "web"/ });
});
