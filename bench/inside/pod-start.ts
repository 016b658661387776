/**
 * Runs on the test machine: 20 Pods, one after another, from the create call to the watch event that says Running;
 * then 20 times the same sandbox and container by direct calls to the runtime.
 */
import { readFileSync } from "node:fs";
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { pods } from "#api/resources.ts";
import type { SandboxConfig } from "../../agent/runtime/runtime.ts";
import { openRuntime } from "../../cli/node/open-runtime.ts";

const rounds = 20;
const image = "docker.io/library/busybox:1.36";
const command = ["sleep", "3600"];
const signal = AbortSignal.timeout(240_000);
const client = new ApiClient(new HttpTransport(loadKubeconfig("/etc/keelson/admin.kubeconfig")));
const runtime = await openRuntime(
  process.argv[2] === "docker"
    ? { containerRuntimeEndpoint: "", dockerEndpoint: "unix:///var/run/docker.sock" }
    : { containerRuntimeEndpoint: "unix:///run/keelson/containerd/containerd.sock", dockerEndpoint: "" },
  signal,
);

const running = new Map<string, PromiseWithResolvers<number>>();
const { metadata } = await client.list(pods, { namespace: "default" }, signal);
const stop = new AbortController();
const watching = (async () => {
  const from = metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion };
  try {
    for await (const event of client.watch(pods, { namespace: "default", ...from }, stop.signal)) {
      if (event.object.status?.phase === "Running")
        running.get(event.object.metadata?.name ?? "")?.resolve(performance.now());
    }
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
  }
})();

const ours: number[] = [];
const direct: number[] = [];
for (let round = 0; round < rounds; round += 1) ours.push(await startPod(`bench-${round}`));
// The agent removes sandboxes that belong to no Pod; it stands still while they are measured.
const agentPid = Number(readFileSync("/run/keelson/node.pid", "utf8").split(" ")[0]);
process.kill(agentPid, "SIGSTOP");
try {
  for (let round = 0; round < rounds; round += 1) direct.push(await startDirectly(round));
} finally {
  process.kill(agentPid, "SIGCONT");
}
stop.abort();
await watching;
console.log(JSON.stringify({ ours, direct }));
process.exit(0);

async function startPod(name: string): Promise<number> {
  const seen = Promise.withResolvers<number>();
  running.set(name, seen);
  const startedMs = performance.now();
  await client.create(
    pods,
    {
      metadata: { namespace: "default", name },
      spec: { containers: [{ name: "main", image, command, imagePullPolicy: "IfNotPresent" }] },
    },
    {},
    signal,
  );
  const tookMs = (await seen.promise) - startedMs;
  await client.delete(pods, { namespace: "default", name }, { gracePeriodSeconds: 0 }, signal);
  return tookMs;
}

async function startDirectly(round: number): Promise<number> {
  const sandbox: SandboxConfig = {
    podName: `direct-${round}`,
    podNamespace: "bench",
    podUid: `direct-${round}`,
    attempt: 0,
    hostname: `direct-${round}`,
    logDirectory: `/var/log/pods/bench_direct-${round}_direct-${round}`,
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
  };
  const status = await runtime.imageStatus(image, signal);
  const startedMs = performance.now();
  const sandboxId = await runtime.runSandbox(sandbox, "", signal);
  const containerId = await runtime.createContainer(
    sandboxId,
    {
      name: "main",
      attempt: 0,
      image: status?.id ?? image,
      userImage: image,
      command,
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
    sandbox,
    signal,
  );
  await runtime.startContainer(containerId, signal);
  const tookMs = performance.now() - startedMs;
  await runtime.stopContainer(containerId, 0, signal);
  await runtime.stopSandbox(sandboxId, signal);
  await runtime.removeContainer(containerId, signal);
  await runtime.removeSandbox(sandboxId, signal);
  return tookMs;
}
