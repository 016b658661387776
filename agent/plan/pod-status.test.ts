import t from "tap";
import type { Pod, PodStatus } from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../model.ts";
import { annotation } from "./names.ts";
import {
  endedRecord,
  testContainer,
  testMemory,
  testPod,
  testRecord,
  testRuntime,
  testSandbox,
} from "./pod-fixtures.ts";
import { podStatus } from "./pod-status.ts";

function status(
  pod: Pod,
  runtime: PodRuntime,
  memory: Partial<PodMemory> = {},
  nowMs = 6_000,
  hostIps: readonly string[] = ["192.0.2.1"],
): PodStatus {
  return podStatus(pod, {
    runtime,
    memory: testMemory(memory),
    runtimeName: "containerd",
    terminationMessages: new Map(),
    nowMs,
    hostIps,
    firstSeenMs: 500,
  });
}

const up = testSandbox();
const never = testPod({ restartPolicy: "Never" });
const withInit = testPod({ initContainers: [testContainer("init")] });
const looping = endedRecord("web", 1, { attempt: 1, annotations: { [annotation.backoffMs]: "10000" } });
const deleted: Partial<PodMemory> = { terminatingSinceMs: 5_000 };

const phases: readonly {
  readonly name: string;
  readonly pod?: Pod;
  readonly runtime: PodRuntime;
  readonly memory?: Partial<PodMemory>;
  readonly want: string;
}[] = [
  { name: "LC1: nothing has run", runtime: testRuntime([]), want: "Pending" },
  {
    name: "LC1: an init container runs",
    pod: withInit,
    runtime: testRuntime([up], testRecord("init")),
    want: "Pending",
  },
  { name: "LC1: the container runs", runtime: testRuntime([up], testRecord("web")), want: "Running" },
  { name: "LC1: the container crashed and comes back", runtime: testRuntime([up], looping), want: "Running" },
  {
    name: "LC1: the container ended well under Always",
    runtime: testRuntime([up], endedRecord("web", 0)),
    want: "Running",
  },
  {
    name: "LC1: the container ended well under Never",
    pod: never,
    runtime: testRuntime([up], endedRecord("web", 0)),
    want: "Succeeded",
  },
  {
    name: "LC1: the container failed under Never",
    pod: never,
    runtime: testRuntime([up], endedRecord("web", 1)),
    want: "Failed",
  },
  {
    name: "LC1: the container failed under OnFailure",
    pod: testPod({ restartPolicy: "OnFailure" }),
    runtime: testRuntime([up], endedRecord("web", 1)),
    want: "Running",
  },
  {
    name: "LC1: the init container failed under Never",
    pod: testPod({ restartPolicy: "Never", initContainers: [testContainer("init")] }),
    runtime: testRuntime([up], endedRecord("init", 1)),
    want: "Failed",
  },
  {
    name: "LC1: a deleted Pod that still runs",
    runtime: testRuntime([up], testRecord("web")),
    memory: deleted,
    want: "Running",
  },
  {
    name: "LC1: a deleted Pod that ended well",
    runtime: testRuntime([up], endedRecord("web", 0)),
    memory: deleted,
    want: "Succeeded",
  },
  {
    name: "LC1: a deleted Pod that was killed",
    runtime: testRuntime([up], endedRecord("web", 137)),
    memory: deleted,
    want: "Failed",
  },
  {
    name: "LC2: a verdict waits until nothing runs",
    pod: testPod({}, { status: { phase: "Running" } }),
    runtime: testRuntime([up], testRecord("web")),
    memory: { verdict: { phase: "Failed", reason: "DeadlineExceeded", message: "" } },
    want: "Running",
  },
  {
    name: "LC2: a verdict holds when nothing runs",
    runtime: testRuntime([]),
    memory: { verdict: { phase: "Failed", reason: "OutOfcpu", message: "" } },
    want: "Failed",
  },
  {
    name: "LC1: a final phase stays",
    pod: testPod({}, { status: { phase: "Succeeded" } }),
    runtime: testRuntime([]),
    want: "Succeeded",
  },
  {
    name: "LC10 LC1: a sidecar does not hold the end",
    pod: testPod({
      restartPolicy: "Never",
      initContainers: [testContainer("side", { restartPolicy: "Always" })],
    }),
    runtime: testRuntime([up], endedRecord("side", 0), endedRecord("web", 0)),
    want: "Succeeded",
  },
];
for (const { name, pod, runtime, memory, want } of phases) {
  t.test(`phase: ${name}`, async (t) => {
    t.equal(status(pod ?? testPod(), runtime, memory).phase, want);
  });
}

t.test("LC6: a container waits for a reason that the user can act on", async (t) => {
  const reason = (pod: Pod, runtime: PodRuntime, memory: Partial<PodMemory> = {}): string | undefined =>
    status(pod, runtime, memory).containerStatuses?.[0]?.state?.waiting?.reason;
  t.equal(reason(testPod(), testRuntime([])), "ContainerCreating");
  t.equal(reason(withInit, testRuntime([up])), "PodInitializing");
  t.equal(reason(testPod(), testRuntime([up], looping)), "CrashLoopBackOff");
  t.equal(
    reason(testPod(), testRuntime([up]), {
      images: new Map([["web", { state: "failed", reason: "ErrImagePull", message: "no", retryAtMs: 0 }]]),
    }),
    "ErrImagePull",
  );
  t.equal(
    reason(testPod(), testRuntime([up]), {
      startFailures: new Map([
        ["web", { reason: "CreateContainerConfigError", message: "no", retryAtMs: 0 }],
      ]),
    }),
    "CreateContainerConfigError",
  );
});

t.test("HK1: a container whose postStart hook failed waits for that reason, then backs off", async (t) => {
  const message = "PostStartHook failed: code 1";
  const memory: Partial<PodMemory> = {
    postStart: new Map([["web-0", "failed"]]),
    startFailures: new Map([["web", { reason: "PostStartHookError", message, retryAtMs: 0 }]]),
  };
  const state = (pod: Pod, runtime: PodRuntime) => status(pod, runtime, memory).containerStatuses?.[0];
  const killing = state(testPod(), testRuntime([up], testRecord("web", { attempt: 0 })));
  t.match(killing, {
    ready: false,
    started: false,
    state: { waiting: { reason: "PostStartHookError", message } },
  });
  t.match(state(testPod(), testRuntime([up], endedRecord("web", 137, { attempt: 0 }))), {
    state: { waiting: { reason: "PostStartHookError", message } },
    lastState: { terminated: { exitCode: 137 } },
  });
  t.match(state(testPod(), testRuntime([up], looping)), {
    state: { waiting: { reason: "CrashLoopBackOff" } },
  });
  const never = testPod({ restartPolicy: "Never" });
  t.match(state(never, testRuntime([up], endedRecord("web", 137, { attempt: 0 }))), {
    state: { terminated: { exitCode: 137 } },
  });
});

t.test(
  "LC5: a crash shows in lastState with its message, and the count comes from the runtime",
  async (t) => {
    const web = status(
      testPod(),
      testRuntime(
        [up],
        testRecord("web", { attempt: 4 }),
        endedRecord("web", 2, { attempt: 3, message: "gone" }),
      ),
    ).containerStatuses?.[0];
    t.equal(web?.restartCount, 4);
    t.match(web?.lastState, {
      terminated: { exitCode: 2, reason: "Error", message: "gone", containerID: "containerd://web-3" },
    });
    t.match(
      status(testPod(), testRuntime([up], looping)).containerStatuses?.[0]?.state?.waiting?.message,
      "back-off 10s restarting failed container=web pod=web_default(u1)",
    );
  },
);

t.test("LC3: Ready follows probes, gates and the end of the Pod", async (t) => {
  const ready = (pod: Pod, memory: Partial<PodMemory> = {}) =>
    status(pod, testRuntime([up], testRecord("web")), memory).conditions?.find(
      ({ type }) => type === "Ready",
    );
  t.equal(ready(testPod())?.status, "True");
  t.match(
    ready(testPod(), {
      probes: new Map([
        ["web-0", { startup: "success", liveness: "success", readiness: "failure", message: "" }],
      ]),
    }),
    { status: "False", reason: "ContainersNotReady", message: "containers with unready status: [web]" },
  );
  t.match(ready(testPod({ readinessGates: [{ conditionType: "example.com/ok" }] })), {
    status: "False",
    reason: "ReadinessGatesNotReady",
  });
  const done = status(never, testRuntime([up], endedRecord("web", 0)));
  t.match(
    done.conditions?.find(({ type }) => type === "Ready"),
    { status: "False", reason: "PodCompleted" },
  );
});

t.test("LC3: conditions of others stay, and times change only with the value", async (t) => {
  const pod = testPod(
    {},
    {
      status: {
        conditions: [
          { type: "example.com/ok", status: "True" },
          { type: "PodScheduled", status: "True", lastTransitionTime: "2020-01-01T00:00:00Z" },
        ],
      },
    },
  );
  const { conditions = [] } = status(pod, testRuntime([up], testRecord("web")));
  t.match(
    conditions.find(({ type }) => type === "example.com/ok"),
    { status: "True" },
  );
  t.equal(conditions.find(({ type }) => type === "PodScheduled")?.lastTransitionTime, "2020-01-01T00:00:00Z");
});

t.test("LC2: a container that vanished while it ran counts as a restart", async (t) => {
  const pod = testPod(
    {},
    {
      status: {
        containerStatuses: [
          {
            name: "web",
            image: "busybox",
            imageID: "",
            ready: true,
            restartCount: 2,
            containerID: "containerd://x",
            state: { running: { startedAt: "2026-01-01T00:00:00Z" } },
          },
        ],
      },
    },
  );
  const waiting = status(pod, testRuntime([]));
  t.match(waiting.containerStatuses?.[0], {
    restartCount: 3,
    lastState: { terminated: { exitCode: 137, reason: "ContainerStatusUnknown" } },
  });
  // The run that follows tells of it too.
  const next = testRuntime([testSandbox()], testRecord("web", { attempt: 3 }));
  t.match(status({ ...pod, status: waiting }, next).containerStatuses?.[0], {
    restartCount: 3,
    lastState: { terminated: { exitCode: 137, reason: "ContainerStatusUnknown" } },
  });
});

t.test(
  "LC8 LC3: AllContainersRestarting is true until the records are gone, for Pods that may",
  async (t) => {
    const rule = { action: "RestartAllContainers", exitCodes: { operator: "In", values: [42] } };
    const pod = testPod({
      restartPolicy: "Never",
      containers: [testContainer("web", { restartPolicyRules: [rule] })],
    });
    const restarting = (runtime: PodRuntime, of = pod) =>
      status(of, runtime).conditions?.find(({ type }) => type === "AllContainersRestarting");
    t.match(restarting(testRuntime([up], endedRecord("web", 42))), {
      status: "True",
      reason: "RestartAllContainersStarted",
    });
    t.equal(status(pod, testRuntime([up], endedRecord("web", 42))).phase, "Running");
    t.match(restarting(testRuntime([up])), { status: "False" });
    t.match(restarting(testRuntime([up], endedRecord("web", 1))), { status: "False", reason: "PodFailed" });
    t.equal(restarting(testRuntime([up], testRecord("web")), testPod()), undefined);
  },
);

t.test("LC17: what a Pod's containers said last takes 12 KiB together", async (t) => {
  const names = ["one", "two", "three"];
  const pod = testPod({ restartPolicy: "Never", containers: names.map((name) => testContainer(name)) });
  const ended = names.map((name) => endedRecord(name, 1, { message: "x".repeat(5_000) }));
  const messages = status(pod, testRuntime([up], ...ended)).containerStatuses?.map(
    ({ state }) => state?.terminated?.message?.length,
  );
  t.same(messages, [4_096, 4_096, 4_096]);
  const four = [...names, "four"];
  const more = testPod({ restartPolicy: "Never", containers: four.map((name) => testContainer(name)) });
  const first = status(more, testRuntime([up], ...ended)).containerStatuses?.[0];
  t.equal(first?.state?.terminated?.message?.length, 3_072);
});

t.test("IM7: a container's imageID is the digest that runs, not the tag that was asked for", async (t) => {
  const imageRef = `registry.example/web@sha256:${"1".repeat(64)}`;
  const runtime = testRuntime([up], testRecord("web", { image: "registry.example/web:1", imageRef }));
  t.equal(status(testPod(), runtime).containerStatuses?.[0]?.imageID, imageRef);
});

t.test("LC5: the mounts of a container are told as they came to be, and whom it runs as", async (t) => {
  const mount = (containerPath: string, recursiveReadonly: boolean) => ({
    hostPath: "/x",
    containerPath,
    readonly: true,
    recursiveReadonly,
    propagation: "private" as const,
    selinuxRelabel: false,
  });
  const volumeMounts = [
    { name: "a", mountPath: "/a" },
    { name: "b", mountPath: "/b", readOnly: true },
    { name: "c", mountPath: "/c", readOnly: true, recursiveReadOnly: "IfPossible" },
  ];
  const user = { uid: 1_000, gid: 3_000, supplementalGroups: [4_000] };
  const record = testRecord("web", {
    mounts: [mount("/b", false), mount("/c", true)],
    user,
    stopSignal: "SIGINT",
  });
  const pod = testPod({ containers: [testContainer("web", { volumeMounts })] });
  t.match(status(pod, testRuntime([up], record)).containerStatuses?.[0], {
    volumeMounts: [
      { name: "a", mountPath: "/a" },
      { name: "b", mountPath: "/b", readOnly: true, recursiveReadOnly: "Disabled" },
      { name: "c", mountPath: "/c", readOnly: true, recursiveReadOnly: "Enabled" },
    ],
    user: { linux: user },
    stopSignal: "SIGINT",
  });
  const plain = status(testPod(), testRuntime([up], testRecord("web"))).containerStatuses?.[0];
  t.notOk(plain !== undefined && ("volumeMounts" in plain || "user" in plain));
});

t.test("LC5: a Pod's addresses come in the order of the node's families, one of each", async (t) => {
  const both = testRuntime(
    [testSandbox({ ips: ["fd00::5", "10.244.0.5", "10.244.0.6"] })],
    testRecord("web"),
  );
  const of = (hostIps: readonly string[]) => {
    const { hostIP, hostIPs, podIP, podIPs } = status(testPod(), both, {}, 6_000, hostIps);
    return { hostIP, hostIPs: hostIPs?.map(({ ip }) => ip), podIP, podIPs: podIPs?.map(({ ip }) => ip) };
  };
  t.same(of(["192.0.2.1", "2001:db8::1"]), {
    hostIP: "192.0.2.1",
    hostIPs: ["192.0.2.1", "2001:db8::1"],
    podIP: "10.244.0.5",
    podIPs: ["10.244.0.5", "fd00::5"],
  });
  t.match(of(["2001:db8::1"]), { podIP: "fd00::5", podIPs: ["fd00::5", "10.244.0.5"] });
});

t.test("LC5: the status says which generation of the Pod it is of", async (t) => {
  const pod = testPod({}, { metadata: { name: "web", namespace: "default", uid: "u1", generation: 3 } });
  const told = status(pod, testRuntime([up], testRecord("web")));
  t.equal(told.observedGeneration, 3);
  t.ok(told.conditions?.every(({ observedGeneration }) => observedGeneration === 3));
});
