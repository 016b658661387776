/**
 * Runs on the test machine: how long a Pod takes to run, beside the same sandbox and container made by direct calls to
 * the runtime, in turn: one of ours, one direct. Then 100 Pods at once, and 100 direct with as many calls under way.
 * Prints {@link PodStart} as JSON.
 */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { pods } from "#api/resources.ts";
import type { SandboxConfig } from "../../agent/runtime/runtime.ts";
import { openRuntime } from "../../cli/node/open-runtime.ts";

/** Times in milliseconds, one for each round. */
export interface PodStart {
  /** From the call that creates the Pod to the watch event that says Running. */
  readonly createToRunning: number[];
  /** The part of it after the scheduler has bound the Pod: the agent's. */
  readonly boundToRunning: number[];
  /** Sandbox with its network, create, start. */
  readonly direct: number[];
  /** From the first call to the last event, of 100 Pods created together. */
  readonly burst: number[];
  readonly burstDirect: number[];
  /** CPU of each process for one Pod of a burst, in milliseconds. */
  readonly burstCpu: { readonly node: number[]; readonly control: number[] };
}

const rounds = Number(process.argv[3] ?? 100);
const bursts = Number(process.argv[4] ?? 3);
const podsInBurst = 100;
/** As many as the agent works on at the same time. */
const parallel = 32;
const image = "docker.io/library/busybox:1.36";
/** Ends at once when it is told to: the first process of a container has no default for TERM. */
const command = ["sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"];
const signal = AbortSignal.timeout(540_000);
const client = new ApiClient(new HttpTransport(loadKubeconfig("/etc/keelson/admin.kubeconfig")));
const runtime = await openRuntime(
  process.argv[2] === "docker"
    ? { containerRuntimeEndpoint: "", dockerEndpoint: "unix:///var/run/docker.sock" }
    : { containerRuntimeEndpoint: "unix:///run/keelson/containerd/containerd.sock", dockerEndpoint: "" },
  signal,
);

interface Seen {
  uid: string;
  boundMs: number | undefined;
  runningMs: number | undefined;
  readonly running: PromiseWithResolvers<void>;
  readonly gone: PromiseWithResolvers<void>;
}

const seen = new Map<string, Seen>();
const { metadata } = await client.list(pods, { namespace: "default" }, signal);
const stop = new AbortController();
const watching = follow();

const result: PodStart = {
  createToRunning: [],
  boundToRunning: [],
  direct: [],
  burst: [],
  burstDirect: [],
  burstCpu: { node: [], control: [] },
};
for (let round = -3; round < rounds; round += 1) {
  const started = performance.now();
  const pod = await startPod(`bench-${round + 3}`);
  await removePod(`bench-${round + 3}`);
  const direct = await whileAgentStands(() => startDirectly(`direct-${round}`));
  if (round < 0) continue; // everything is compiled and cached
  result.createToRunning.push((pod.runningMs ?? Number.NaN) - started);
  result.boundToRunning.push((pod.runningMs ?? Number.NaN) - (pod.boundMs ?? Number.NaN));
  result.direct.push(direct);
}
for (let round = 0; round < bursts; round += 1) {
  const names = Array.from({ length: podsInBurst }, (_, index) => `burst-${round}-${index}`);
  const before = { node: cpuMs("node"), control: cpuMs("control") };
  const started = performance.now();
  await Promise.all(names.map(startPod));
  result.burst.push(performance.now() - started);
  for (const name of ["node", "control"] as const)
    result.burstCpu[name].push((cpuMs(name) - before[name]) / podsInBurst);
  await Promise.all(names.map(removePod));
  result.burstDirect.push(await whileAgentStands(() => burstDirectly(round)));
}
stop.abort();
await watching;
console.log(JSON.stringify(result));
process.exit(0);

async function follow(): Promise<void> {
  const from = metadata.resourceVersion === undefined ? {} : { resourceVersion: metadata.resourceVersion };
  try {
    for await (const { type, object } of client.watch(pods, { namespace: "default", ...from }, stop.signal)) {
      const one = seen.get(object.metadata?.name ?? "");
      if (one === undefined) continue;
      one.uid = object.metadata?.uid ?? "";
      if (object.spec?.nodeName !== undefined) one.boundMs ??= performance.now();
      if (object.status?.phase === "Running") {
        one.runningMs ??= performance.now();
        one.running.resolve();
      }
      if (type === "DELETED") one.gone.resolve();
    }
  } catch (cause) {
    if (!stop.signal.aborted) throw cause;
  }
}

async function startPod(name: string): Promise<Seen> {
  const one: Seen = {
    uid: "",
    boundMs: undefined,
    runningMs: undefined,
    running: Promise.withResolvers(),
    gone: Promise.withResolvers(),
  };
  seen.set(name, one);
  await client.create(
    pods,
    {
      metadata: { namespace: "default", name },
      spec: { containers: [{ name: "main", image, command, imagePullPolicy: "IfNotPresent" }] },
    },
    {},
    signal,
  );
  await one.running.promise;
  return one;
}

/** Returns when the runtime has nothing of it either. */
async function removePod(name: string): Promise<void> {
  const one = seen.get(name);
  if (one === undefined) throw new Error(`cannot remove pod "${name}": it was not started`);
  await client.delete(pods, { namespace: "default", name }, { gracePeriodSeconds: 0 }, signal);
  await one.gone.promise;
  while ((await runtime.listSandboxes({ podUid: one.uid }, signal)).length > 0)
    await delay(50, undefined, { signal });
}

/** The agent removes sandboxes that belong to no Pod: it stands still while they are measured. */
async function whileAgentStands<T>(work: () => Promise<T>): Promise<T> {
  process.kill(pidOf("node"), "SIGSTOP");
  try {
    return await work();
  } finally {
    process.kill(pidOf("node"), "SIGCONT");
  }
}

async function burstDirectly(round: number): Promise<number> {
  const names = Array.from({ length: podsInBurst }, (_, index) => `direct-burst-${round}-${index}`);
  const made: Made[] = [];
  const started = performance.now();
  await each(names, async (name) => void made.push(await make(name)));
  const tookMs = performance.now() - started;
  await each(made, remove);
  return tookMs;
}

async function startDirectly(name: string): Promise<number> {
  const started = performance.now();
  const made = await make(name);
  const tookMs = performance.now() - started;
  await remove(made);
  return tookMs;
}

async function each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: parallel }, worker));
}

interface Made {
  readonly sandbox: string;
  readonly container: string;
}

async function make(name: string): Promise<Made> {
  const config: SandboxConfig = {
    podName: name,
    podNamespace: "bench",
    podUid: name,
    attempt: 0,
    hostname: name,
    logDirectory: `/var/log/pods/bench_${name}_${name}`,
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
  const sandbox = await runtime.runSandbox(config, "", signal);
  const container = await runtime.createContainer(
    sandbox,
    {
      name: "main",
      attempt: 0,
      image,
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
    config,
    signal,
  );
  await runtime.startContainer(container, signal);
  return { sandbox, container };
}

async function remove({ sandbox, container }: Made): Promise<void> {
  await runtime.stopContainer(container, 0, signal);
  await runtime.stopSandbox(sandbox, signal);
  await runtime.removeContainer(container, signal);
  await runtime.removeSandbox(sandbox, signal);
}

function pidOf(name: "node" | "control"): number {
  return Number(readFileSync(`/run/keelson/${name}.pid`, "utf8").split(" ")[0]);
}

/** User and system time of the process, in milliseconds (proc(5): clock ticks of 10 ms). */
function cpuMs(name: "node" | "control"): number {
  const text = readFileSync(`/proc/${pidOf(name)}/stat`, "utf8");
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
