import t from "tap";
import { allocatedPod, allocationOf, begunAllocation, sameAllocation } from "./allocation.ts";
import { judgeResize } from "./judge-resize.ts";
import { annotation } from "./names.ts";
import { planPod } from "./pod-actions.ts";
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
import { actuatedResources, limitsMeanwhile, resizeNeed, shrinksFirst } from "./resize.ts";

const room = {
  cpuMilli: 2_000,
  memoryBytes: 1_024,
  ephemeralStorageBytes: 0,
  pods: 10,
  node: {},
  allowedUnsafeSysctls: [],
  appArmorEnabled: false,
  strictGroups: false,
};
const asking = (cpu: string, memory = "100") =>
  testPod({ containers: [testContainer("web", { resources: { requests: { cpu, memory } } })] });
const made = (resources: object) => ({ annotations: { [annotation.resources]: JSON.stringify(resources) } });

t.test("LC21: a resize is granted, put off, or refused for good", async (t) => {
  const before = asking("500m");
  t.same(judgeResize(asking("0.5"), before, [], room), { state: "none" }, "another spelling is no resize");
  t.same(judgeResize(asking("1"), before, [asking("1")], room), { state: "granted" });
  t.same(judgeResize(asking("1500m"), before, [asking("1")], room), {
    state: "deferred",
    message: "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
  });
  t.same(judgeResize(asking("3"), before, [], room), {
    state: "infeasible",
    message: "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000",
  });
  t.same(
    judgeResize(asking("100m", "50"), asking("1"), [asking("2", "2000")], room),
    { state: "granted" },
    "less is granted even where the node is overfull",
  );
});

t.test("LC21: what was granted holds until a resize is granted", async (t) => {
  const wanted = asking("2");
  const granted = allocationOf(asking("1"));
  t.same(allocatedPod(wanted, granted).spec?.containers[0]?.resources, {
    requests: { cpu: "1", memory: "100" },
  });
  t.equal(allocatedPod(wanted, allocationOf(asking("2000m"))), wanted, "the same amounts change nothing");
  const begun = begunAllocation(wanted, [
    testRecord("web", made({ requests: { cpu: "1", memory: "100" } })),
    testRecord("gone", made({ requests: { cpu: "7" } })),
  ]);
  t.ok(sameAllocation(begun, granted), "a new agent learns it from the containers that run");
  t.same(begunAllocation(wanted, [testRecord("web", made({ requests: "no" }))]), allocationOf(wanted));
});

t.test("LC21: resizePolicy says whether a container is changed or made anew", async (t) => {
  const container = testContainer("web", {
    resources: { limits: { cpu: "1", memory: "100" } },
    resizePolicy: [
      { resourceName: "memory", restartPolicy: "RestartContainer" },
      { resourceName: "cpu", restartPolicy: "NotRequired" },
    ],
  });
  t.equal(resizeNeed(container, undefined), "none", "another agent made it: nobody knows with what");
  t.equal(resizeNeed(container, { limits: { cpu: "1000m", memory: "100" } }), "none");
  t.equal(resizeNeed(container, { limits: { cpu: "2", memory: "100" } }), "update");
  t.equal(resizeNeed(container, { limits: { cpu: "2", memory: "50" } }), "restart");
  t.equal(
    resizeNeed(testContainer("web"), { limits: { memory: "50" } }),
    "update",
    "the default is to change it",
  );
  const memory = { actuated: new Map([["web-0", { limits: { cpu: "3" } }]]) };
  t.same(actuatedResources(memory, testRecord("web", made({}))), { limits: { cpu: "3" } });
});

t.test(
  "LC21: a container that must be made anew ends, comes back whatever it answered, and does not wait",
  async (t) => {
    const pod = testPod({
      restartPolicy: "OnFailure",
      containers: [
        testContainer("web", {
          resources: { limits: { memory: "200" } },
          resizePolicy: [{ resourceName: "memory", restartPolicy: "RestartContainer" }],
        }),
      ],
    });
    const old = { ...made({ limits: { memory: "100" } }) };
    const annotations = { ...old.annotations, [annotation.backoffMs]: "10000" };
    const kills = planPod(
      pod,
      testRuntime([testSandbox()], testRecord("web", { annotations })),
      testMemory(),
      10_000,
    ).actions;
    t.match(kills, [
      { do: "kill-container", message: "Container web resize requires restart", replaces: true },
    ]);
    const ended = testRuntime([testSandbox()], endedRecord("web", 0, { annotations }));
    const memory = testMemory({ replaced: new Set(["web-0"]) });
    t.match(planPod(pod, ended, memory, 5_001).actions, [
      { do: "start-container", attempt: 1, backoffMs: 0 },
    ]);
    const input = {
      runtime: ended,
      memory,
      runtimeName: "fake",
      terminationMessages: new Map(),
      nowMs: 5_001,
      hostIps: [],
      firstSeenMs: 0,
    };
    t.equal(podStatus(pod, input).phase, "Running", "its end is not the Pod's");
    t.equal(
      podStatus(pod, { ...input, memory: testMemory() }).phase,
      "Succeeded",
      "one that ended by itself is done",
    );
  },
);

t.test("LC21 LC3: the status tells what is in effect, what was granted and what is waited for", async (t) => {
  const pod = testPod({
    containers: [testContainer("web", { resources: { requests: { cpu: "2" } } })],
  });
  const status = (resize: ReturnType<typeof testMemory>["resize"]) =>
    podStatus(pod, {
      runtime: testRuntime([testSandbox()], testRecord("web", made({ requests: { cpu: "1" } }))),
      memory: testMemory({ resize }),
      runtimeName: "fake",
      terminationMessages: new Map(),
      nowMs: 3_000,
      hostIps: [],
      firstSeenMs: 0,
    });
  const quiet = status({ pending: undefined, progress: undefined, inEffect: undefined });
  t.same(quiet.containerStatuses?.[0]?.resources, { requests: { cpu: "1" } });
  t.same(quiet.containerStatuses?.[0]?.allocatedResources, { cpu: "2" });
  t.notOk(quiet.conditions?.some(({ type }) => type.startsWith("PodResize")));
  const busy = status({
    pending: { reason: "Deferred", message: "full" },
    progress: { error: "no" },
    inEffect: undefined,
  });
  t.match(
    busy.conditions?.filter(({ type }) => type.startsWith("PodResize")),
    [
      { type: "PodResizePending", status: "True", reason: "Deferred", message: "full" },
      { type: "PodResizeInProgress", status: "True", reason: "Error", message: "no" },
    ],
  );
});

t.test("LC21: the Pod is widened first, and what shrinks comes before what grows", async (t) => {
  t.same(
    limitsMeanwhile(
      { cpuShares: 10, cpuQuota: 5_000, memoryBytes: undefined },
      { cpuShares: 20, cpuQuota: 4_000, memoryBytes: 7 },
    ),
    { cpuShares: 20, cpuQuota: 5_000, memoryBytes: undefined },
  );
  const grows = { name: "grows", before: { limits: { cpu: "1" } }, after: { limits: { cpu: "2" } } };
  const shrinks = { name: "shrinks", before: { limits: { cpu: "2" } }, after: { limits: { cpu: "1" } } };
  t.same(
    shrinksFirst([grows, shrinks]).map(({ name }) => name),
    ["shrinks", "grows"],
  );
});
