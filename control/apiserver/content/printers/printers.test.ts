import t from "tap";
import type { StoredObject } from "../../../model.ts";
import type { Json } from "../json.ts";
import { resourceTable } from "../resources.ts";
import { columnsOf } from "./columns.ts";
import { humanDuration } from "./human-duration.ts";
import { podSummary } from "./pod-columns.ts";
import { renderTable } from "./render-table.ts";

const nowMs = Date.parse("2026-01-02T00:00:00Z");

t.test("ages read like kubectl's", async (t) => {
  const s = 1000;
  const cases: readonly (readonly [number, string])[] = [
    [-5 * s, "<invalid>"],
    [-1.5 * s, "0s"],
    [0, "0s"],
    [119 * s, "119s"],
    [120 * s, "2m"],
    [320 * s, "5m20s"],
    [600 * s, "10m"],
    [179 * 60 * s, "179m"],
    [3 * 3600 * s, "3h"],
    [(3 * 3600 + 60) * s, "3h1m"],
    [8 * 3600 * s, "8h"],
    [47 * 3600 * s, "47h"],
    [48 * 3600 * s, "2d"],
    [50 * 3600 * s, "2d2h"],
    [8 * 86400 * s, "8d"],
    [729 * 86400 * s, "729d"],
    [730 * 86400 * s, "2y"],
    [800 * 86400 * s, "2y70d"],
  ];
  for (const [ms, expected] of cases) t.equal(humanDuration(ms), expected);
});

const pod = (spec: Json, status: Json, metadata: Json = {}): StoredObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", ...metadata },
  spec: { containers: [{ name: "a" }, { name: "b" }], ...spec },
  status,
});
const waiting = (reason: string) => ({ state: { waiting: { reason } }, restartCount: 0 });
const running = { state: { running: {} }, ready: true, restartCount: 0 };
const ended = (exitCode: number, reason?: string, signal?: number) => ({
  state: {
    terminated: {
      exitCode,
      ...(reason === undefined ? {} : { reason }),
      ...(signal === undefined ? {} : { signal }),
    },
  },
  restartCount: 1,
  lastState: { terminated: { finishedAt: "2026-01-01T23:55:00Z" } },
});
const init = { initContainers: [{ name: "i" }, { name: "j" }] };

t.test("the STATUS of a pod", async (t) => {
  const cases: readonly (readonly [string, StoredObject, string])[] = [
    ["fresh", pod({}, { phase: "Pending" }), "Pending"],
    [
      "creating",
      pod(
        {},
        { phase: "Pending", containerStatuses: [waiting("ContainerCreating"), waiting("ContainerCreating")] },
      ),
      "ContainerCreating",
    ],
    ["running", pod({}, { phase: "Running", containerStatuses: [running, running] }), "Running"],
    [
      "crashing",
      pod({}, { phase: "Running", containerStatuses: [waiting("CrashLoopBackOff"), running] }),
      "CrashLoopBackOff",
    ],
    [
      "first one wins",
      pod(
        {},
        { phase: "Running", containerStatuses: [waiting("ErrImagePull"), waiting("CrashLoopBackOff")] },
      ),
      "ErrImagePull",
    ],
    ["error", pod({}, { phase: "Failed", containerStatuses: [ended(1, "Error")] }), "Error"],
    ["exit code", pod({}, { phase: "Failed", containerStatuses: [ended(3)] }), "ExitCode:3"],
    ["signal", pod({}, { phase: "Failed", containerStatuses: [ended(137, undefined, 9)] }), "Signal:9"],
    ["completed", pod({}, { phase: "Succeeded", containerStatuses: [ended(0, "Completed")] }), "Completed"],
    [
      "one completed",
      pod(
        {},
        {
          phase: "Running",
          conditions: [{ type: "Ready", status: "False" }],
          containerStatuses: [ended(0, "Completed"), running],
        },
      ),
      "NotReady",
    ],
    [
      "init waits",
      pod(init, {
        phase: "Pending",
        initContainerStatuses: [waiting("PodInitializing"), waiting("PodInitializing")],
      }),
      "Init:0/2",
    ],
    [
      "init second",
      pod(init, {
        phase: "Pending",
        initContainerStatuses: [ended(0, "Completed"), { state: { running: {} } }],
      }),
      "Init:1/2",
    ],
    [
      "init error",
      pod(init, { phase: "Pending", initContainerStatuses: [ended(1, "Error"), waiting("PodInitializing")] }),
      "Init:Error",
    ],
    [
      "init crash",
      pod(init, { phase: "Pending", initContainerStatuses: [waiting("CrashLoopBackOff")] }),
      "Init:CrashLoopBackOff",
    ],
    ["init code", pod(init, { phase: "Pending", initContainerStatuses: [ended(2)] }), "Init:ExitCode:2"],
    [
      "after init",
      pod(init, {
        phase: "Pending",
        initContainerStatuses: [ended(0), ended(0)],
        containerStatuses: [waiting("PodInitializing")],
      }),
      "PodInitializing",
    ],
    ["evicted", pod({}, { phase: "Failed", reason: "Evicted" }), "Evicted"],
    [
      "going",
      pod(
        {},
        { phase: "Running", containerStatuses: [running] },
        { deletionTimestamp: "2026-01-01T00:00:00Z" },
      ),
      "Terminating",
    ],
    [
      "lost",
      pod({}, { phase: "Running", reason: "NodeLost" }, { deletionTimestamp: "2026-01-01T00:00:00Z" }),
      "Unknown",
    ],
    [
      "gated",
      pod(
        {},
        {
          phase: "Pending",
          conditions: [{ type: "PodScheduled", status: "False", reason: "SchedulingGated" }],
        },
      ),
      "SchedulingGated",
    ],
  ];
  for (const [name, object, expected] of cases) t.equal(podSummary(object).status, expected, name);
});

t.test("READY and RESTARTS count sidecars too", async (t) => {
  const sidecar = pod(
    { initContainers: [{ name: "s", restartPolicy: "Always" }] },
    {
      phase: "Running",
      initContainerStatuses: [{ name: "s", started: true, ...running }],
      containerStatuses: [running, ended(1)],
    },
  );
  const cells = Object.fromEntries(columnsOf("Pod").map((each) => [each.name, each.cell(sidecar, nowMs)]));
  t.match(cells, { Ready: "2/3", Restarts: "1 (5m ago)", IP: "<none>", Node: "<none>" });
});

t.test("services, nodes, deployments and events", async (t) => {
  const cells = (object: Json & { kind: string }) =>
    Object.fromEntries(
      columnsOf(object.kind).map((each) => [
        each.name,
        each.cell({ apiVersion: "v1", metadata: { name: "x" }, ...object }, nowMs),
      ]),
    );
  t.match(
    cells({
      kind: "Service",
      spec: {
        type: "NodePort",
        clusterIP: "10.0.0.1",
        ports: [{ port: 80, nodePort: 30080, protocol: "TCP" }],
        selector: { b: "2", a: "1" },
      },
    }),
    { "Port(s)": "80:30080/TCP", "External-IP": "<none>", Selector: "a=1,b=2" },
  );
  t.match(cells({ kind: "Service", spec: { type: "LoadBalancer" } }), { "External-IP": "<pending>" });
  t.match(
    cells({
      kind: "Node",
      metadata: { name: "n", labels: { "node-role.kubernetes.io/control-plane": "" } },
      spec: { unschedulable: true },
      status: { conditions: [{ type: "Ready", status: "True" }] },
    }),
    { Status: "Ready,SchedulingDisabled", Roles: "control-plane" },
  );
  t.match(
    cells({
      kind: "Deployment",
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: "web" } },
        template: { spec: { containers: [{ name: "c", image: "i" }] } },
      },
      status: { readyReplicas: 1 },
    }),
    { Ready: "1/2", Containers: "c", Images: "i", Selector: "app=web", "Up-to-date": 0 },
  );
  t.match(
    cells({
      kind: "Event",
      count: 3,
      lastTimestamp: "2026-01-01T23:59:50Z",
      firstTimestamp: "2026-01-01T23:55:00Z",
      involvedObject: { kind: "Pod", name: "p" },
      message: " hi\n",
    }),
    { "Last Seen": "10s (x3 over 5m)", Object: "pod/p", Message: "hi" },
  );
  t.match(
    cells({
      kind: "Endpoints",
      subsets: [{ addresses: ["1", "2", "3", "4"].map((ip) => ({ ip })), ports: [{ port: 80 }] }],
    }),
    { Endpoints: "1:80,2:80,3:80 + 1 more..." },
  );
});

t.test("every kind's cells survive an empty object", async (t) => {
  for (const definition of resourceTable()) {
    const table = renderTable(
      definition,
      [{ apiVersion: "x", kind: definition.kind, metadata: { name: "a" } }],
      {
        includeObject: "Metadata",
        nowMs,
        withColumns: true,
        listMetadata: { resourceVersion: "7" },
      },
    );
    t.equal(table.rows[0]?.cells.length, table.columnDefinitions.length, definition.kind);
    t.match(table.rows[0]?.object, { kind: "PartialObjectMetadata", metadata: { name: "a" } });
  }
});

t.test("later events of a watch carry no columns, and None carries no object", async (t) => {
  const [definition] = resourceTable();
  if (definition === undefined) throw new Error("the table is empty");
  const table = renderTable(definition, [{ apiVersion: "x", kind: "y", metadata: { name: "a" } }], {
    includeObject: "None",
    nowMs,
    withColumns: false,
  });
  t.same(table.columnDefinitions, []);
  t.notOk("object" in (table.rows[0] ?? {}));
});
