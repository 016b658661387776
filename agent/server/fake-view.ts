import type { AgentContainer, AgentPod, AgentView } from "../model.ts";
import type { FakeRuntime } from "../runtime/fake.ts";
import type { ContainerConfig } from "../runtime/runtime.ts";

/** A Pod `default/web` with one container `main`, run by a fake runtime, as the agent would show it. */
export async function fakeView(
  runtime: FakeRuntime,
  script: string,
  logDirectory: string,
  signal: AbortSignal,
): Promise<AgentView> {
  runtime.addImage("busybox", { entrypoint: ["/bin/sh"] });
  const sandbox = {
    podName: "web",
    podNamespace: "default",
    podUid: "uid-web",
    attempt: 0,
    hostname: "web",
    logDirectory,
    dns: { servers: [], searches: [], options: [] },
    portMappings: [],
    labels: {},
    annotations: {},
    cgroupParent: "",
    network: "pod",
    pid: "container",
    ipc: "pod",
    sysctls: {},
    security: {},
  } as const;
  const config: ContainerConfig = {
    name: "main",
    attempt: 0,
    image: "busybox",
    userImage: "busybox",
    command: ["/bin/sh", "-c", script],
    args: [],
    workingDir: "",
    env: [],
    mounts: [],
    devices: [],
    labels: {},
    annotations: {},
    logPath: "main/0.log",
    stdin: true,
    stdinOnce: false,
    tty: false,
    resources: {},
    security: {},
    pid: { mode: "container" },
  };
  const sandboxId = await runtime.runSandbox(sandbox, "", signal);
  const id = await runtime.createContainer(sandboxId, config, sandbox, signal);
  await runtime.startContainer(id, signal);
  const status = await runtime.containerStatus(id, signal);
  if (status === undefined) throw new Error("the container is gone");
  const container: AgentContainer = {
    name: "main",
    kind: "app",
    id,
    state: "running",
    attempt: 0,
    logPath: status.logPath,
    startedAtMs: status.startedAtMs,
    finishedAtMs: 0,
    previous: undefined,
  };
  const pod: AgentPod = {
    pod: {
      metadata: { name: "web", namespace: "default", uid: "uid-web" },
      spec: {
        nodeName: "node-1",
        containers: [
          { name: "main", image: "busybox" },
          { name: "late", image: "x" },
        ],
      },
      status: { phase: "Running" },
    },
    uid: "uid-web",
    sandboxId,
    ips: ["10.0.0.1"],
    logDirectory,
    cgroup: "",
    containers: new Map([["main", container]]),
    volumes: [],
  };
  return {
    nodeName: "node-1",
    pods: () => [pod.pod],
    podByName: (namespace, name) => (namespace === "default" && name === "web" ? pod : undefined),
    podByUid: (uid) => (uid === "uid-web" ? pod : undefined),
    healthy: () => ({ ok: true }),
    configuration: () => ({ kind: "KubeletConfiguration" }),
  };
}
