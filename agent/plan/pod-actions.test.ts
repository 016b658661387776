import t from "tap";
import type { ContainerStatus as ApiContainerStatus, Pod } from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../model.ts";
import { containerHash } from "./container-hash.ts";
import { annotation } from "./names.ts";
import { type PodAction, planPod } from "./pod-actions.ts";
import {
  endedRecord,
  testContainer,
  testMemory,
  testPod,
  testRecord,
  testRuntime,
  testSandbox,
} from "./pod-fixtures.ts";

function name(action: PodAction): string {
  switch (action.do) {
    case "kill-container":
      return `kill ${action.container.name} ${action.graceSeconds}`;
    case "start-container":
      return `start ${action.spec.container.name} #${action.attempt} wait ${action.backoffMs}`;
    case "pull-image":
      return `pull ${action.spec.container.name}`;
    case "create-sandbox":
      return `create-sandbox #${action.attempt}`;
    case "stop-sandbox":
      return `${action.do} ${action.id}`;
    case "remove-container":
    case "remove-run":
      return `${action.do} ${action.container.id}`;
    default:
      return action.do;
  }
}

const up = testSandbox();
const init = testContainer("init");
const sidecar = testContainer("side", { restartPolicy: "Always" });
const withInit = testPod({ initContainers: [init] });
const withSidecar = testPod({ initContainers: [sidecar] });
const gone = {
  metadata: {
    name: "web",
    namespace: "default",
    uid: "u1",
    deletionTimestamp: "2026-01-01T00:00:00Z",
    deletionGracePeriodSeconds: 7,
  },
};
const lost = (more: Partial<ApiContainerStatus>): ApiContainerStatus => ({
  name: "web",
  image: "busybox",
  imageID: "",
  ready: false,
  restartCount: 3,
  ...more,
});
/** Exit code 42 of the app makes everything run anew. */
const trainer = testPod({
  restartPolicy: "Never",
  initContainers: [init, sidecar],
  containers: [
    testContainer("web", {
      lifecycle: { preStop: { sleep: { seconds: 5 } } },
      restartPolicyRules: [
        { action: "Restart", exitCodes: { operator: "In", values: [1] } },
        { action: "RestartAllContainers", exitCodes: { operator: "In", values: [1, 42] } },
      ],
    }),
    testContainer("two"),
  ],
  ephemeralContainers: [testContainer("debug")],
});
const failedProbe = { startup: "success", readiness: "success", message: "" } as const;

const cases: readonly {
  readonly name: string;
  readonly pod?: Pod;
  readonly runtime: PodRuntime;
  readonly memory?: Partial<PodMemory>;
  readonly nowMs?: number;
  readonly want: readonly string[];
  readonly wakeAtMs?: number;
}[] = [
  {
    name: "LC13: a new Pod gets its volumes first",
    runtime: testRuntime([]),
    memory: { volumes: { state: "waiting", message: "" } },
    want: ["mount-volumes"],
  },
  {
    name: "LC13: then its sandbox, while images are pulled",
    runtime: testRuntime([]),
    memory: { images: new Map() },
    want: ["pull web", "create-sandbox #0"],
  },
  {
    name: "LC13: a Pod on the Pod network waits for the network",
    runtime: testRuntime([]),
    memory: { networkReady: false },
    want: [],
    wakeAtMs: 7_000,
  },
  {
    name: "LC13: a Pod on the host network does not",
    pod: testPod({ hostNetwork: true }),
    runtime: testRuntime([]),
    memory: { networkReady: false },
    want: ["create-sandbox #0"],
  },
  {
    name: "LC14: containers start together",
    pod: testPod({ containers: [testContainer("one"), testContainer("two")] }),
    runtime: testRuntime([up]),
    want: ["start one #0 wait 0", "start two #0 wait 0"],
  },
  {
    name: "HK1: a container with a postStart hook holds the ones after it",
    pod: testPod({
      containers: [
        testContainer("one", { lifecycle: { postStart: { exec: { command: ["x"] } } } }),
        testContainer("two"),
      ],
    }),
    runtime: testRuntime([up]),
    want: ["start one #0 wait 0"],
  },
  { name: "ML1: a running Pod needs nothing", runtime: testRuntime([up], testRecord("web")), want: [] },
  {
    name: "LC9: init containers come one at a time",
    pod: withInit,
    runtime: testRuntime([up]),
    want: ["start init #0 wait 0"],
  },
  {
    name: "LC9: an app container waits while an init container runs",
    pod: withInit,
    runtime: testRuntime([up], testRecord("init")),
    want: [],
  },
  {
    name: "LC9: after the init container the app container starts",
    pod: withInit,
    runtime: testRuntime([up], endedRecord("init", 0)),
    want: ["start web #0 wait 0"],
  },
  {
    name: "LC9: a failed init container is tried again at once, the first time",
    pod: withInit,
    runtime: testRuntime([up], endedRecord("init", 1)),
    want: ["start init #1 wait 10000"],
  },
  {
    name: "LC9: a failed init container of a Never Pod ends the Pod",
    pod: testPod({ initContainers: [init], restartPolicy: "Never" }),
    runtime: testRuntime([up], endedRecord("init", 1)),
    want: ["stop-sandbox s0", "clean-up"],
  },
  {
    name: "LC9: an init container whose record is gone is not run again",
    pod: withInit,
    runtime: testRuntime([up], testRecord("web")),
    want: [],
  },
  {
    name: "LC10: a sidecar that has not started holds the app",
    pod: withSidecar,
    runtime: testRuntime([up], testRecord("side")),
    memory: {
      probes: new Map([
        ["side-0", { startup: "unknown", liveness: "success", readiness: "failure", message: "" }],
      ]),
    },
    want: [],
  },
  {
    name: "LC10: a started sidecar lets the app start",
    pod: withSidecar,
    runtime: testRuntime([up], testRecord("side")),
    want: ["start web #0 wait 0"],
  },
  {
    name: "LC10: a sidecar that ended is restarted beside the app",
    pod: withSidecar,
    runtime: testRuntime([up], endedRecord("side", 0), testRecord("web")),
    want: ["start side #1 wait 10000"],
  },
  {
    name: "LC7: the first crash restarts at once",
    runtime: testRuntime([up], endedRecord("web", 1)),
    want: ["start web #1 wait 10000"],
  },
  {
    name: "LC7: the second crash waits ten seconds",
    runtime: testRuntime(
      [up],
      endedRecord("web", 1, { attempt: 1, annotations: { [annotation.backoffMs]: "10000" } }),
    ),
    want: [],
    wakeAtMs: 15_000,
  },
  {
    name: "LC7: the wait doubles",
    nowMs: 15_000,
    runtime: testRuntime(
      [up],
      endedRecord("web", 1, { attempt: 1, annotations: { [annotation.backoffMs]: "10000" } }),
    ),
    want: ["start web #2 wait 20000"],
  },
  {
    name: "LC7: the wait ends at five minutes",
    nowMs: 305_000,
    runtime: testRuntime(
      [up],
      endedRecord("web", 1, { attempt: 9, annotations: { [annotation.backoffMs]: "300000" } }),
    ),
    want: ["start web #10 wait 300000"],
  },
  {
    name: "LC7: a node may set a shorter end to the wait",
    runtime: testRuntime(
      [up],
      endedRecord("web", 1, { attempt: 2, annotations: { [annotation.backoffMs]: "20000" } }),
    ),
    memory: { maxRestartWaitMs: 25_000 },
    nowMs: 100_000,
    want: ["start web #3 wait 25000"],
  },
  {
    name: "LC7: a run of more than ten minutes clears the wait",
    nowMs: 700_001,
    runtime: testRuntime(
      [up],
      endedRecord("web", 1, {
        attempt: 9,
        finishedAtMs: 700_000,
        annotations: { [annotation.backoffMs]: "300000" },
      }),
    ),
    want: ["start web #10 wait 10000"],
  },
  {
    name: "LC8: a container that ended well stays ended under OnFailure",
    pod: testPod({ restartPolicy: "OnFailure" }),
    runtime: testRuntime([up], endedRecord("web", 0)),
    want: ["stop-sandbox s0", "clean-up"],
  },
  {
    name: "LC8: a container that failed comes back under OnFailure",
    pod: testPod({ restartPolicy: "OnFailure" }),
    runtime: testRuntime([up], endedRecord("web", 3)),
    want: ["start web #1 wait 10000"],
  },
  {
    name: "LC12: a finished Pod keeps no sandbox and gets no new one",
    pod: testPod({ restartPolicy: "Never" }),
    runtime: testRuntime([testSandbox({ state: "not-ready" })], endedRecord("web", 3)),
    want: ["clean-up"],
  },
  {
    name: "LC8: a restart rule brings a Never container back",
    pod: testPod({
      restartPolicy: "Never",
      containers: [
        testContainer("web", {
          restartPolicyRules: [{ action: "Restart", exitCodes: { operator: "In", values: [42] } }],
        }),
      ],
    }),
    runtime: testRuntime([up], endedRecord("web", 42)),
    want: ["start web #1 wait 10000"],
  },
  {
    name: "LC8: the first rule that names the exit code decides",
    pod: trainer,
    runtime: testRuntime(
      [up],
      ...["side", "two", "debug"].map((one) => testRecord(one)),
      endedRecord("init", 0),
      endedRecord("web", 1),
    ),
    memory: { probes: new Map() },
    want: ["start web #1 wait 10000"],
  },
  {
    name: "LC8: RestartAllContainers ends all but ephemeral containers at once",
    pod: trainer,
    runtime: testRuntime(
      [up],
      ...["side", "two", "debug"].map((one) => testRecord(one)),
      endedRecord("init", 0),
      endedRecord("web", 42),
    ),
    want: ["kill side 0", "kill two 0"],
  },
  {
    name: "LC8: then removes every run, the one that asked for it last, and keeps the sandbox",
    pod: trainer,
    runtime: testRuntime(
      [up],
      testRecord("debug"),
      endedRecord("init", 0),
      endedRecord("side", 137),
      endedRecord("two", 137),
      endedRecord("web", 42),
    ),
    want: ["remove-run init-0", "remove-run side-0", "remove-run two-0", "remove-run web-0"],
  },
  {
    name: "LC8: a container that asks for it again and again backs off before anything is removed",
    pod: trainer,
    runtime: testRuntime(
      [up],
      testRecord("debug"),
      endedRecord("web", 42, { attempt: 1, annotations: { [annotation.backoffMs]: "10000" } }),
    ),
    want: [],
    wakeAtMs: 15_000,
  },
  {
    name: "LC8: then begins with the init containers, counting on from what was removed",
    pod: trainer,
    runtime: testRuntime([up], testRecord("debug")),
    memory: { removedRuns: new Map([["init", endedRecord("init", 0, { attempt: 3 })]]) },
    want: ["start init #4 wait 20000"],
  },
  {
    name: "LC12: a dead sandbox is replaced after its containers are stopped",
    runtime: testRuntime([testSandbox({ state: "not-ready" })], testRecord("web")),
    want: ["kill web 30"],
  },
  {
    name: "LC12: a dead sandbox is replaced under the next number",
    runtime: testRuntime([testSandbox({ state: "not-ready" })], endedRecord("web", 137)),
    want: ["create-sandbox #1"],
  },
  {
    name: "LC12: of two ready sandboxes both are replaced",
    runtime: testRuntime([testSandbox({ id: "s1", attempt: 1 }), up]),
    want: ["stop-sandbox s1", "stop-sandbox s0", "create-sandbox #2"],
  },
  {
    name: "LC12: a sandbox on the Pod network is no use to a Pod on the host's",
    pod: testPod({ hostNetwork: true }),
    runtime: testRuntime([up]),
    want: ["stop-sandbox s0", "create-sandbox #1"],
  },
  {
    name: "LC12: a sandbox without an address is replaced",
    runtime: testRuntime([testSandbox({ ips: [] })]),
    want: ["stop-sandbox s0", "create-sandbox #1"],
  },
  {
    name: "ML6 LC12: restart counts go on in a new sandbox",
    runtime: testRuntime(
      [testSandbox({ id: "s1", attempt: 1 }), testSandbox({ state: "not-ready" })],
      endedRecord("web", 137),
    ),
    want: ["start web #1 wait 10000"],
  },
  {
    name: "LC14: a count goes on from the API's when the runtime has lost every record",
    pod: testPod({}, { status: { containerStatuses: [lost({ containerID: "containerd://x" })] } }),
    runtime: testRuntime([up]),
    want: ["start web #4 wait 0"],
  },
  {
    name: "LC14: a lost run that the status counts already is not counted twice",
    pod: testPod({}, { status: { containerStatuses: [lost({})] } }),
    runtime: testRuntime([up]),
    want: ["start web #3 wait 0"],
  },
  {
    name: "LC9 LC12: init containers run again in a new sandbox",
    pod: withInit,
    runtime: testRuntime(
      [testSandbox({ id: "s1", attempt: 1 }), testSandbox({ state: "not-ready" })],
      endedRecord("init", 0),
      endedRecord("web", 137),
    ),
    want: ["start init #1 wait 10000"],
  },
  {
    name: "PR8: a failed liveness probe stops the container",
    runtime: testRuntime([up], testRecord("web")),
    memory: { probes: new Map([["web-0", { ...failedProbe, liveness: "failure" }]]) },
    want: ["kill web 30"],
  },
  {
    name: "LC15: a probe's own grace period counts",
    pod: testPod({
      containers: [testContainer("web", { livenessProbe: { terminationGracePeriodSeconds: 4 } })],
    }),
    runtime: testRuntime([up], testRecord("web")),
    memory: { probes: new Map([["web-0", { ...failedProbe, liveness: "failure" }]]) },
    want: ["kill web 4"],
  },
  {
    name: "ML1 LC15: a container that is being stopped is not stopped again",
    runtime: testRuntime([up], testRecord("web")),
    memory: {
      probes: new Map([["web-0", { ...failedProbe, liveness: "failure" }]]),
      kills: new Map([["web-0", { reason: "", deadlineMs: 30_000 }]]),
    },
    want: [],
  },
  {
    name: "LC7 ML4: a new image replaces the container",
    runtime: testRuntime([up], testRecord("web", { annotations: { [annotation.containerHash]: "old" } })),
    want: ["kill web 30"],
  },
  {
    name: "ML6: the same image does not",
    runtime: testRuntime(
      [up],
      testRecord("web", { annotations: { [annotation.containerHash]: containerHash(testContainer("web")) } }),
    ),
    want: [],
  },
  {
    name: "ML6: a container of another agent is left alone",
    runtime: testRuntime([up], testRecord("web", { annotations: { "io.kubernetes.container.hash": "1f" } })),
    want: [],
  },
  {
    name: "LC15: a deleted Pod stops within its grace period",
    pod: testPod({}, gone),
    runtime: testRuntime([up], testRecord("web")),
    memory: { terminatingSinceMs: 6_000 },
    want: ["kill web 7"],
  },
  {
    name: "ML1 LC15: a second look does not stop it again",
    nowMs: 9_000,
    pod: testPod({}, gone),
    runtime: testRuntime([up], testRecord("web")),
    memory: { terminatingSinceMs: 6_000, kills: new Map([["web-0", { reason: "", deadlineMs: 13_000 }]]) },
    want: [],
  },
  {
    name: "LC15: a shorter grace period replaces the stop",
    nowMs: 9_000,
    pod: testPod({}, gone),
    runtime: testRuntime([up], testRecord("web")),
    memory: { terminatingSinceMs: 6_000, kills: new Map([["web-0", { reason: "", deadlineMs: 36_000 }]]) },
    want: ["kill web 4"],
  },
  {
    name: "LC10: sidecars stop after the app",
    pod: { ...withSidecar, ...gone },
    runtime: testRuntime([up], testRecord("side"), testRecord("web")),
    memory: { terminatingSinceMs: 6_000 },
    want: ["kill web 7"],
  },
  {
    name: "LC10: and then with what is left of the grace period",
    nowMs: 10_000,
    pod: { ...withSidecar, ...gone },
    runtime: testRuntime([up], testRecord("side"), endedRecord("web", 0)),
    memory: { terminatingSinceMs: 6_000 },
    want: ["kill side 3"],
  },
  {
    name: "LC10: several sidecars stop from the last to the first, each with what is left",
    nowMs: 11_000,
    pod: { ...testPod({ initContainers: [init, sidecar, { ...sidecar, name: "two" }] }), ...gone },
    runtime: testRuntime(
      [up],
      endedRecord("init", 0),
      testRecord("side"),
      testRecord("two"),
      endedRecord("web", 0),
    ),
    memory: { terminatingSinceMs: 6_000 },
    want: ["kill two 2"],
  },
  {
    name: "LC10: a sidecar whose turn comes after the grace period still gets a second",
    nowMs: 20_000,
    pod: { ...testPod({ initContainers: [sidecar] }), ...gone },
    runtime: testRuntime([up], testRecord("side"), endedRecord("web", 0)),
    memory: { terminatingSinceMs: 6_000 },
    want: ["kill side 1"],
  },
  {
    name: "LC16: a Pod that is deleted before anything of it began is ended too",
    pod: testPod({}, gone),
    runtime: testRuntime([]),
    memory: { terminatingSinceMs: 6_000, volumes: { state: "waiting", message: "" } },
    want: ["clean-up"],
  },
  {
    name: "LC16: then the sandbox goes, then the rest",
    pod: testPod({}, gone),
    runtime: testRuntime([up], endedRecord("web", 0)),
    memory: { terminatingSinceMs: 6_000 },
    want: ["stop-sandbox s0", "clean-up"],
  },
  {
    name: "LC18 LC19: a Pod with a verdict is stopped",
    runtime: testRuntime([up], testRecord("web")),
    memory: { verdict: { phase: "Failed", reason: "DeadlineExceeded", message: "" } },
    want: ["kill web 30"],
  },
  {
    name: "IM2: an image that failed is asked for again when its time comes",
    runtime: testRuntime([up]),
    memory: {
      images: new Map([["web", { state: "failed", reason: "ErrImagePull", message: "", retryAtMs: 9_000 }]]),
    },
    want: [],
    wakeAtMs: 9_000,
  },
  {
    name: "LC11: an ephemeral container starts beside the others",
    pod: testPod({ ephemeralContainers: [testContainer("debug")] }),
    runtime: testRuntime([up], testRecord("web")),
    want: ["start debug #0 wait 0"],
  },
  {
    name: "LC11: an ephemeral container is not restarted",
    pod: testPod({ ephemeralContainers: [testContainer("debug")] }),
    runtime: testRuntime([up], testRecord("web"), endedRecord("debug", 1)),
    want: [],
  },
  {
    name: "LC14: a container that was created and never started is made anew",
    runtime: testRuntime([up], testRecord("web", { state: "created", startedAtMs: 0 })),
    want: ["remove-container web-0", "start web #0 wait 0"],
  },
];

for (const one of cases) {
  t.test(one.name, async (t) => {
    const plan = planPod(one.pod ?? testPod(), one.runtime, testMemory(one.memory), one.nowMs ?? 6_000);
    t.same(plan.actions.map(name), one.want);
    t.equal(plan.wakeAtMs, one.wakeAtMs);
  });
}
