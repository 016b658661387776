import t from "tap";
import { RuntimeError } from "../runtime.ts";
import { exitCodeOf } from "./exit-status.ts";
import { containerFromCri } from "./from-cri.ts";
import { toRuntimeError } from "./grpc-error.ts";
import type { CriContainerStatus } from "./messages.ts";
import { resourcesToCri } from "./to-cri.ts";

const status: CriContainerStatus = {
  id: "c",
  metadata: { name: "main", attempt: 1 },
  state: 2,
  createdAt: 1_700_000_000_000_000_000,
  startedAt: 1_700_000_001_000_000_000,
  finishedAt: 1_700_000_002_000_000_000,
  exitCode: 137,
  image: { image: "nginx" },
  imageRef: "sha256:1",
  reason: "OOMKilled",
  message: "",
  labels: { "io.kubernetes.pod.uid": "u", "io.kubernetes.pod.name": "p", "io.kubernetes.pod.namespace": "n" },
  annotations: {},
  mounts: [],
  user: null,
  stopSignal: 0,
  logPath: "/log",
};

t.test("a container's status is read with times in milliseconds", async (t) => {
  t.match(containerFromCri(status, "s"), {
    sandboxId: "s",
    podUid: "u",
    podName: "p",
    podNamespace: "n",
    state: "exited",
    startedAtMs: 1_700_000_001_000,
    exitCode: 137,
    reason: "OOMKilled",
  });
  const short = { ...status, finishedAt: status.startedAt - 5_000_000 };
  t.equal(containerFromCri(short, "s").finishedAtMs, 1_700_000_001_000, "no end before the start");
  t.equal(containerFromCri({ ...status, reason: "", exitCode: 0 }, "s").reason, "Completed");
  t.equal(containerFromCri({ ...status, reason: "", exitCode: 1 }, "s").reason, "Error");
  t.equal(containerFromCri({ ...status, state: 1, reason: "" }, "s").reason, "");
});

t.test("LC5: a container's user is told where the runtime knows it", async (t) => {
  t.equal(containerFromCri(status, "s").user, undefined);
  const linux = { uid: 1_000, gid: 3_000, supplementalGroups: [3_000, 4_000] };
  t.same(containerFromCri({ ...status, user: { linux } }, "s").user, linux);
});

t.test("a refusal of the runtime becomes a code that callers act on", async (t) => {
  const cases = [
    { name: "not found", cause: { code: 5, details: "no such" }, code: "not-found" },
    { name: "away", cause: { code: 14, details: "connect" }, code: "unavailable" },
    { name: "too slow", cause: { code: 4, details: "deadline" }, code: "timeout" },
    { name: "no such call", cause: { code: 12, details: "unknown" }, code: "unsupported" },
    {
      name: "a name that is taken",
      cause: { code: 2, details: 'name "x" is reserved for "y"' },
      code: "exists",
    },
    { name: "anything else", cause: { code: 2, details: "disk on fire" }, code: "failed" },
  ];
  for (const { name, cause, code } of cases)
    t.match(toRuntimeError("/runtime.v1.RuntimeService/X", cause), { code, message: /refused X: / }, name);
});

t.test("the end of a command is read from its error stream", async (t) => {
  t.equal(exitCodeOf(""), 0);
  t.equal(exitCodeOf('{"status":"Success"}'), 0);
  const failure = {
    status: "Failure",
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: "42" }] },
  };
  t.equal(exitCodeOf(JSON.stringify(failure)), 42);
  t.throws(
    () => exitCodeOf('{"status":"Failure","message":"no such file"}'),
    new RuntimeError("failed", "no such file"),
  );
  t.throws(() => exitCodeOf("plain words"), /plain words/);
});

t.test("limits that are absent are not sent", async (t) => {
  t.same(resourcesToCri({ memoryLimitBytes: 5, cpuShares: 2 }), {
    cpuShares: 2,
    memoryLimitInBytes: 5,
    hugepageLimits: [],
  });
});

t.test("RS8: limits of huge pages go by size", async (t) => {
  t.match(resourcesToCri({ hugepages: { "2MB": 4_194_304, "1GB": 0 } }), {
    hugepageLimits: [
      { pageSize: "2MB", limit: 4_194_304 },
      { pageSize: "1GB", limit: 0 },
    ],
  });
});
