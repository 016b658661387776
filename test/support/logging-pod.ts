import type { ContainerConfig, SandboxConfig } from "../../agent/runtime/runtime.ts";

/** A Pod whose container writes `line 0`, `line 1`, ... without end, some 100 KB a second. */
export function loggingPod(
  logDirectory: string,
  image: string,
): {
  readonly sandbox: SandboxConfig;
  readonly container: ContainerConfig;
} {
  const script = 'i=0; while :; do echo "line $i"; i=$((i+1)); [ $((i % 50)) = 0 ] && sleep 0.02; done';
  return {
    sandbox: {
      podName: "logs",
      podNamespace: "default",
      podUid: "uid-logs",
      attempt: 0,
      hostname: "logs",
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
    },
    container: {
      name: "main",
      attempt: 0,
      image,
      userImage: image,
      command: ["/bin/sh", "-c", script],
      args: [],
      workingDir: "",
      env: [],
      mounts: [],
      devices: [],
      labels: {},
      annotations: {},
      logPath: "main/0.log",
      stdin: false,
      stdinOnce: false,
      tty: false,
      resources: {},
      security: {},
      pid: { mode: "container" },
    },
  };
}
