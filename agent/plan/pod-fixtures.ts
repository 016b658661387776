import { defaultMaxMs } from "./crash-backoff.ts";
import type { Container, Pod, PodSpec } from "#api/generated/kubernetes.ts";
import type { PodMemory, PodRuntime } from "../model.ts";
import type { ContainerStatus, SandboxStatus } from "../runtime/runtime.ts";

/** A Pod for tests. */
export function testPod(spec: Partial<PodSpec> = {}, more: Partial<Pod> = {}): Pod {
  return {
    metadata: { name: "web", namespace: "default", uid: "u1" },
    spec: { containers: [testContainer("web")], ...spec },
    ...more,
  };
}

/** A container of a test Pod. */
export function testContainer(name: string, more: Partial<Container> = {}): Container {
  return { name, image: "busybox", ...more };
}

/** A ready sandbox of the test Pod. */
export function testSandbox(more: Partial<SandboxStatus> = {}): SandboxStatus {
  return {
    id: "s0",
    podName: "web",
    podNamespace: "default",
    podUid: "u1",
    attempt: 0,
    state: "ready",
    createdAtMs: 1_000,
    ips: ["10.244.0.5"],
    network: "pod",
    labels: {},
    annotations: {},
    runtimeHandler: "",
    ...more,
  };
}

/** A container the runtime has; `running` since second 2 unless told. */
export function testRecord(name: string, more: Partial<ContainerStatus> = {}): ContainerStatus {
  const attempt = more.attempt ?? 0;
  return {
    id: `${name}-${attempt}`,
    sandboxId: "s0",
    podUid: "u1",
    podName: "web",
    podNamespace: "default",
    name,
    attempt,
    state: "running",
    createdAtMs: 1_500,
    startedAtMs: 2_000,
    finishedAtMs: 0,
    exitCode: 0,
    signal: 0,
    reason: "",
    message: "",
    image: "busybox",
    imageRef: "sha256:1",
    labels: {},
    annotations: {},
    logPath: "",
    mounts: [],
    ...more,
  };
}

/** A container that has ended. */
export function endedRecord(
  name: string,
  exitCode: number,
  more: Partial<ContainerStatus> = {},
): ContainerStatus {
  return testRecord(name, { state: "exited", exitCode, finishedAtMs: 5_000, ...more });
}

/** Everything ready: images present, volumes mounted, network up. */
export function testMemory(more: Partial<PodMemory> = {}): PodMemory {
  const present = { state: "present", ref: "sha256:1", user: {} } as const;
  return {
    images: new Map(["web", "side", "init", "one", "two", "debug"].map((name) => [name, present])),
    startFailures: new Map(),
    probes: new Map(),
    postStart: new Map(),
    removedRuns: new Map(),
    cutShort: new Set(),
    actuated: new Map(),
    replaced: new Set(),
    resize: { pending: undefined, progress: undefined, inEffect: undefined },
    kills: new Map(),
    volumes: { state: "ready" },
    sandboxFailure: undefined,
    verdict: undefined,
    terminatingSinceMs: undefined,
    networkReady: true,
    maxRestartWaitMs: defaultMaxMs,
    ...more,
  };
}

/** What the runtime has. */
export function testRuntime(
  sandboxes: readonly SandboxStatus[],
  ...containers: readonly ContainerStatus[]
): PodRuntime {
  return { sandboxes, containers };
}
