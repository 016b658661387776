import t from "tap";
import type { Pod, PodSpec } from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../../model.ts";
import { planPod } from "../pod-actions.ts";
import { annotation } from "../names.ts";
import {
  endedRecord,
  testContainer,
  testMemory,
  testPod,
  testRecord,
  testRuntime,
  testSandbox,
} from "../pod-fixtures.ts";
import { explainPod } from "./explain-pod.ts";
import { explainText } from "./explain-text.ts";
import { isoTimes } from "./iso-times.ts";
import { stuckWords } from "./stuck-words.ts";
import type { ExplainInput, Wait } from "./pod-explanation.ts";
import type { PodStep, StepName } from "./pod-step.ts";

const nowMs = Date.UTC(2026, 0, 1, 12, 0, 0);

interface Given extends Partial<Omit<ExplainInput, "memory">> {
  readonly memory?: Partial<PodMemory>;
}

function input({ memory: some = {}, ...more }: Given = {}): ExplainInput {
  const memory = testMemory(some);
  const pod = more.pod ?? testPod();
  const runtime: PodRuntime = more.runtime ?? testRuntime([testSandbox()], testRecord("web"));
  return {
    nowMs,
    node: "node-a",
    source: "api",
    firstSeenMs: nowMs - 60_000,
    isAdmitted: true,
    isGone: false,
    isCleaned: false,
    open: [],
    steps: [],
    errors: [],
    probes: new Map(),
    pulls: new Map(),
    unwritten: undefined,
    runtimeTrouble: undefined,
    apiTrouble: undefined,
    plan: planPod(pod, runtime, memory, nowMs),
    ...more,
    pod,
    runtime,
    memory,
  };
}

function open(what: StepName, agoMs: number, container?: string): PodStep {
  return { what, container, startMs: nowMs - agoMs, endMs: undefined, failed: false };
}

const deleted = (more: Partial<Pod["metadata"]> = {}, spec: Partial<PodSpec> = {}): Pod =>
  testPod(spec, {
    metadata: {
      name: "web",
      namespace: "default",
      uid: "u1",
      deletionTimestamp: "2026-01-01T11:59:50Z",
      deletionGracePeriodSeconds: 30,
      ...more,
    },
  });
const ending = { terminatingSinceMs: nowMs - 10_000 };
const killing = (leftMs: number) => ({
  ...ending,
  kills: new Map([["web-0", { reason: "Stopping container web", deadlineMs: nowMs + leftMs }]]),
});
const none = testRuntime([]);

const cases: readonly {
  readonly name: string;
  readonly given: Given;
  readonly waits: readonly (Partial<Wait> & { readonly says?: RegExp })[];
  readonly next?: readonly string[];
}[] = [
  { name: "a Pod that runs waits for nothing", given: {}, waits: [], next: [] },
  {
    name: "a Pod without its ConfigMap waits for its volumes, and says since when",
    given: {
      runtime: none,
      memory: { volumes: { state: "waiting", message: 'configmap "settings" not found' } },
      open: [open("volumes", 42_000)],
    },
    waits: [{ on: "volumes", sinceMs: nowMs - 42_000, says: /configmap "settings" not found/ }],
    next: ["set up the volumes"],
  },
  {
    name: "an image that is being pulled tells how far it is",
    given: {
      runtime: testRuntime([testSandbox()]),
      memory: { images: new Map([["web", { state: "pulling" }]]) },
      open: [open("image pull", 5_000, "web")],
      pulls: new Map([
        [
          "busybox",
          { sinceMs: nowMs - 4_000, progress: { currentBytes: 12_340_000, totalBytes: 40_000_000 } },
        ],
      ]),
    },
    waits: [
      {
        on: "the image",
        container: "web",
        sinceMs: nowMs - 5_000,
        detail: 'pulling "busybox", 12.3 of 40.0 MB (30 %)',
      },
    ],
  },
  {
    name: "a pull that waits for others says so",
    given: {
      runtime: testRuntime([testSandbox()]),
      memory: { images: new Map([["web", { state: "pulling" }]]) },
      pulls: new Map([["busybox", { sinceMs: undefined, progress: undefined }]]),
    },
    waits: [{ on: "the image", detail: 'the pull of "busybox" waits for its turn' }],
  },
  {
    name: "a pull that failed is tried again at a time",
    given: {
      runtime: testRuntime([testSandbox()]),
      memory: {
        images: new Map([
          [
            "web",
            {
              state: "failed",
              reason: "ErrImagePull",
              message: "no such host",
              failedAtMs: nowMs - 2_000,
              retryAtMs: nowMs + 38_000,
            },
          ],
        ]),
      },
    },
    waits: [
      {
        on: "the next try of the image",
        container: "web",
        sinceMs: nowMs - 2_000,
        untilMs: nowMs + 38_000,
        detail: "ErrImagePull: no such host",
      },
    ],
  },
  {
    name: "a crash back-off tells when it ends",
    given: {
      runtime: testRuntime(
        [testSandbox()],
        endedRecord("web", 3, {
          attempt: 4,
          startedAtMs: nowMs - 6_000,
          finishedAtMs: nowMs - 5_000,
          annotations: { [annotation.backoffMs]: "80000" },
        }),
      ),
    },
    waits: [
      {
        on: "crash back-off",
        container: "web",
        sinceMs: nowMs - 5_000,
        untilMs: nowMs + 75_000,
        says: /1m20s after it ended with exit code 3/,
      },
    ],
  },
  {
    name: "a container that could not be started is tried again at a time",
    given: {
      runtime: testRuntime([testSandbox()]),
      memory: {
        startFailures: new Map([
          [
            "web",
            {
              reason: "CreateContainerConfigError",
              message: 'secret "keys" not found',
              retryAtMs: nowMs + 9_000,
            },
          ],
        ]),
      },
    },
    waits: [{ on: "the next try to start", says: /secret "keys" not found/, untilMs: nowMs + 9_000 }],
  },
  {
    name: "app containers wait for the init container that runs",
    given: {
      pod: testPod({ initContainers: [testContainer("init")] }),
      runtime: testRuntime([testSandbox()], testRecord("init", { startedAtMs: nowMs - 3_000 })),
    },
    waits: [
      { on: "an init container", container: "init", sinceMs: nowMs - 3_000, says: /"web" starts when/ },
    ],
  },
  {
    name: "a container that is not ready tells what its probe answered",
    given: {
      probes: new Map([
        [
          "web-0",
          [
            {
              kind: "readiness",
              verdict: "failure",
              last: "failure",
              streak: 2,
              failureThreshold: 3,
              successThreshold: 1,
              lastMs: nowMs - 500,
              message: "connection refused",
            },
          ],
        ],
      ]),
    },
    waits: [
      {
        on: "the readiness probe",
        container: "web",
        detail: "failed 2 times in a row, 3 count as one: connection refused",
      },
    ],
  },
  {
    name: "a readiness gate that nobody has set is named",
    given: { pod: testPod({ readinessGates: [{ conditionType: "example.com/lb" }] }) },
    waits: [{ on: "a readiness gate", says: /"example.com\/lb"/ }],
  },
  {
    name: "a call that the runtime does not answer is named",
    given: { runtime: none, open: [open("sandbox", 12_000)] },
    waits: [{ on: "the runtime", detail: 'it has not answered "sandbox"', sinceMs: nowMs - 12_000 }],
  },
  {
    name: "a step that fails again and again is told with its error",
    given: {
      errors: [
        {
          firstMs: nowMs - 60_000,
          lastMs: nowMs - 3_000,
          count: 9,
          reason: "FailedSync",
          message: "nobody answers",
        },
        { firstMs: nowMs - 50_000, lastMs: nowMs - 1_000, count: 9, reason: "Unhealthy", message: "other" },
      ],
    },
    waits: [{ on: "the next try of its step", sinceMs: nowMs - 60_000, detail: "nobody answers" }],
  },
  {
    name: "a step that failed long ago is no wait",
    given: {
      errors: [
        {
          firstMs: nowMs - 60_000,
          lastMs: nowMs - 30_000,
          count: 9,
          reason: "FailedSync",
          message: "nobody answers",
        },
      ],
    },
    waits: [],
  },
  {
    name: "a runtime that is away comes first",
    given: {
      runtimeTrouble: "container runtime is down: connect ENOENT",
      errors: [
        {
          firstMs: nowMs - 9_000,
          lastMs: nowMs - 3_000,
          count: 9,
          reason: "FailedSync",
          message: "nobody answers",
        },
      ],
    },
    waits: [
      { on: "the runtime", says: /is down: connect ENOENT; every Pod/ },
      { on: "the next try of its step" },
    ],
  },
  {
    name: "a resize that waits for room says so",
    given: {
      pod: testPod(
        {},
        {
          status: {
            conditions: [
              {
                type: "PodResizePending",
                status: "True",
                reason: "Deferred",
                message: "Node didn't have enough resource: cpu",
                lastTransitionTime: "2026-01-01T11:59:00Z",
              },
            ],
          },
        },
      ),
    },
    waits: [
      {
        on: "the resize",
        sinceMs: nowMs - 60_000,
        detail: "PodResizePending: Deferred: Node didn't have enough resource: cpu",
      },
    ],
  },
  {
    name: "a status that the API does not take is told",
    given: { unwritten: { sinceMs: nowMs - 7_000, message: "connect ECONNREFUSED" } },
    waits: [{ on: "the API", sinceMs: nowMs - 7_000, says: /connect ECONNREFUSED/ }],
  },
  {
    name: "a Pod that ends waits for its grace period, until a time",
    given: {
      pod: deleted(),
      memory: killing(20_000),
      open: [open("stop container", 9_000, "web")],
    },
    waits: [
      {
        on: "the grace period",
        container: "web",
        sinceMs: nowMs - 9_000,
        untilMs: nowMs + 20_000,
        says: /30s is over/,
      },
    ],
  },
  {
    name: "a Pod that ends names the preStop hook that runs",
    given: { pod: deleted(), memory: killing(20_000), open: [open("preStop hook", 9_000, "web")] },
    waits: [{ on: "the preStop hook", container: "web", sinceMs: nowMs - 9_000, untilMs: nowMs + 20_000 }],
  },
  {
    name: "a Pod that ends names the stop that hangs when the grace period is over",
    given: {
      pod: deleted(),
      memory: killing(-15_000),
      open: [open("stop container", 45_000, "web")],
    },
    waits: [{ on: "the runtime", container: "web", sinceMs: nowMs - 45_000, says: /"stop container" hangs/ }],
  },
  {
    name: "a Pod that ends names the clean-up that failed",
    given: {
      pod: deleted(),
      runtime: none,
      memory: ending,
      errors: [
        {
          firstMs: nowMs - 8_000,
          lastMs: nowMs - 100,
          count: 4,
          reason: "FailedSync",
          message: 'error syncing pod: unmount "/x": EBUSY',
        },
      ],
    },
    waits: [{ on: "clean-up", sinceMs: nowMs - 8_000, says: /unmount "\/x": EBUSY/ }],
    next: ["take down its volumes and its cgroup"],
  },
  {
    name: "a Pod that ends names the volumes that hang",
    given: { pod: deleted(), runtime: none, memory: ending, open: [open("take down volumes", 33_000)] },
    waits: [{ on: "take down volumes", sinceMs: nowMs - 33_000 }],
  },
  {
    name: "a Pod that has ended names the finalizers that keep it",
    given: {
      pod: deleted({ finalizers: ["example.com/keep"] }),
      runtime: none,
      memory: ending,
      isCleaned: true,
    },
    waits: [{ on: "finalizers in the API", says: /example.com\/keep: nothing of the Pod is left/ }],
  },
];

for (const { name, given, waits, next } of cases) {
  t.test(`explain: ${name}`, async (t) => {
    const explained = explainPod(input(given));
    t.equal(explained.waits.length, waits.length, JSON.stringify(explained.waits));
    for (const [place, { says, ...wait }] of waits.entries()) {
      t.match(explained.waits[place], wait);
      if (says !== undefined) t.match(explained.waits[place]?.detail, says);
    }
    if (next !== undefined) t.same(explained.next, next);
    t.match(explainText(explained), waits[0]?.on ?? "Waits for   nothing");
  });
}

t.test("explain: the text keeps to one line what others wrote, and counts errors", async (t) => {
  const text = explainText(
    explainPod(
      input({
        errors: [
          {
            firstMs: nowMs - 90_000,
            lastMs: nowMs - 1_000,
            count: 3,
            reason: "Unhealthy",
            message: "probe said:\n\u001b[31mred\n\n",
          },
        ],
      }),
    ),
  );
  t.match(text, /11:59:59 {2}Unhealthy \(3 times since 11:58:30\): probe said: \[31mred\n/);
});

t.test("a Pod that should have ended names the step that holds it, once for each step", async (t) => {
  const held = input({
    pod: deleted(),
    memory: { ...killing(-45_000), terminatingSinceMs: nowMs - 75_000 },
    open: [open("stop container", 70_000, "web")],
  });
  const words = stuckWords(explainPod(held), held.pod, nowMs - 75_000);
  t.match(words, {
    step: "the runtime web",
    message: /^the pod should have ended 45s ago and waits for the runtime of container web: .* hangs/,
  });
  t.equal(stuckWords(explainPod(held), held.pod, nowMs - 59_000), undefined, "it is in time");
  const free = { ...explainPod(held), waits: [] };
  t.equal(stuckWords(free, held.pod, nowMs - 75_000), undefined, "nothing holds it");
});

t.test("explain: programs get times as RFC 3339", async (t) => {
  const data = isoTimes(explainPod(input({ open: [open("sandbox", 12_000)], runtime: none })));
  t.match(data, { now: "2026-01-01T12:00:00.000Z", waits: [{ since: "2026-01-01T11:59:48.000Z" }] });
});
