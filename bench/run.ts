/**
 * `make bench`: what is claimed to be fast and small, measured on this machine. Prints one table.
 *
 *   node bench/run.ts                        everything, on containerd
 *   node bench/run.ts docker                 everything, on Docker
 *   node bench/run.ts docker pod-start ...   only these: start, idle, pod-start, status-latency, churn, api, probes
 *
 * Method: each number is taken on a test machine (namespaces on this host) that `keelson up` brought up; medians
 * with their spread; times from outside the measured process. Nothing here passes or fails.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { bundle, eventually, type RuntimeName, TestCluster } from "../test/support/cluster.ts";
import { root } from "../test/support/paths.ts";
import type { Churn, Holdings } from "./inside/churn.ts";
import type { PodStart } from "./inside/pod-start.ts";
import type { StatusLatency } from "./inside/status-latency.ts";
import { showSpread } from "./stats.ts";

const words = process.argv.slice(2);
const runtime: RuntimeName = words.includes("docker") ? "docker" : "containerd";
const benches: Readonly<Record<string, (cluster: TestCluster) => Promise<void>>> = {
  start: measureStart,
  idle: measureIdle,
  "pod-start": measurePodStart,
  "status-latency": measureStatusLatency,
  churn: measureChurn,
  api: measureApi,
  probes: measureProbes,
};
const chosen = words.filter((word) => word !== "docker" && word !== "containerd");
const rows: (readonly [string, string])[] = [];
const row = (what: string, value: string): void => {
  rows.push([what, value]);
  console.log(`${what}: ${value}`);
};

await bundle();
await using cluster = await TestCluster.start(runtime);
for (const name of chosen.length === 0 ? Object.keys(benches) : chosen) {
  const measure = benches[name];
  if (measure === undefined)
    throw new Error(`there is no bench "${name}": want ${Object.keys(benches).join(", ")}, docker`);
  await measure(cluster);
}

const width = Math.max(...rows.map(([what]) => what.length));
console.log(`\n${runtime}, ${process.version}, ${new Date().toISOString().slice(0, 10)}`);
for (const [what, value] of rows) console.log(`| ${what.padEnd(width)} | ${value} |`);

/** Three more starts of a cluster whose files are there, and of one from nothing. */
async function measureStart(cluster: TestCluster): Promise<void> {
  const program = path.join(root, "dist/keelson");
  const flags = runtime === "docker" ? ["--runtime", "docker"] : [];
  const ready: number[] = [];
  const first: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    await cluster.machine.exec([program, "down"], { timeoutMs: 120_000 });
    const startedMs = performance.now();
    await cluster.machine.exec([program, "up", ...flags], { timeoutMs: 120_000 });
    ready.push(performance.now() - startedMs);
    await cluster.kubectl([
      "run",
      `first-${round}`,
      "--image=docker.io/library/busybox:1.36",
      "--",
      "sleep",
      "3600",
    ]);
    await cluster.kubectl(`wait --for=condition=Ready pod/first-${round} --timeout=60s`);
    first.push(performance.now() - startedMs);
    await cluster.kubectl(`delete pod first-${round} --grace-period=1`);
  }
  row("keelson up to node Ready", showSpread(ready, "ms"));
  row("keelson up to the first Pod Ready, kubectl included", showSpread(first, "ms"));
}

/** A minute of nothing: without Pods, with 20 and with 100. Memory is taken when the minute has passed. */
async function measureIdle(cluster: TestCluster): Promise<void> {
  // Ten come and go first: what is loaded at the first Pod is not what a Pod costs.
  await cluster.kubectl(
    "create deployment idle --image=docker.io/library/busybox:1.36 --replicas=10 -- sleep 3600",
  );
  let empty = Number.NaN;
  for (const count of [10, 0, 20, 100]) {
    await cluster.kubectl(`scale deployment idle --replicas=${count}`);
    await eventually(
      `${count} Pods are ready`,
      async () =>
        await cluster.get([
          ..."get pods -l app=idle -o".split(" "),
          'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {end}',
        ]),
      (text) => text.trim() === "True ".repeat(count).trim(),
      { timeoutMs: 180_000, everyMs: 1_000 },
    );
    if (count === 10) continue;
    await delay(20_000);
    const before = await usage(cluster);
    await delay(60_000);
    const after = await usage(cluster);
    let cpu = 0;
    for (const [name, now] of after) {
      const ticks = now.ticks - (before.get(name)?.ticks ?? 0);
      cpu += ticks;
      row(
        `${name}, idle with ${count} Pods`,
        `${now.rssMb.toFixed(0)} MB resident (${now.pssMb.toFixed(0)} MB proportional), ${((ticks / 6_000) * 100).toFixed(2)} % of a core`,
      );
    }
    row(`both, idle with ${count} Pods`, `${((cpu / 6_000) * 100).toFixed(2)} % of a core`);
    const node = after.get("node")?.rssMb ?? Number.NaN;
    if (count === 0) empty = node;
    else row(`memory of the node for each of ${count} Pods`, `${((node - empty) / count).toFixed(2)} MB`);
  }
  await cluster.kubectl("delete deployment idle");
  await eventually(
    "the idle Pods are gone",
    async () => await cluster.get("get pods -l app=idle -o name"),
    (text) => text === "",
    { timeoutMs: 120_000, everyMs: 1_000 },
  );
}

/** Pods one by one and 100 at once, each beside the runtime's own time for the same. */
async function measurePodStart(cluster: TestCluster): Promise<void> {
  const found = await inside<PodStart>(cluster, "pod-start.ts", runtime);
  row("Pod create to Running, seen by a watch", showSpread(found.createToRunning, "ms"));
  row("of it after the Pod was bound to the node", showSpread(found.boundToRunning, "ms"));
  row("the same container by direct runtime calls, turn by turn", showSpread(found.direct, "ms"));
  const over = found.createToRunning.map((ms, turn) => ms - (found.direct[turn] ?? Number.NaN));
  row("what a Pod takes beyond the direct calls of its turn", showSpread(over, "ms"));
  row("100 Pods created at once, all Running", showSpread(found.burst, "ms"));
  row("the same 100 by direct runtime calls, 32 at a time", showSpread(found.burstDirect, "ms"));
  const times = found.burst.map((ms, turn) => ms / (found.burstDirect[turn] ?? Number.NaN));
  row("their ratio", showSpread(times, "times", 2));
  for (const name of ["node", "control"] as const)
    row(`CPU of ${name} for one of the 100`, showSpread(found.burstCpu[name], "ms"));
}

/** Changes of containers and probes until the API tells them. */
async function measureStatusLatency(cluster: TestCluster): Promise<void> {
  const found = await inside<StatusLatency>(cluster, "status-latency.ts", runtime);
  row("a container's process is killed, to the API's event", showSpread(found.exit, "ms"));
  row("the same, to the runtime's own answer", showSpread(found.exitDirect, "ms"));
  const over = found.exit.map((ms, turn) => ms - (found.exitDirect[turn] ?? Number.NaN));
  row("the API's event after the runtime's own answer", showSpread(over, "ms"));
  row("a probe's new answer, to the API's event", showSpread(found.flip, "ms"));
}

/** What is left of Pods that have come and gone. */
async function measureChurn(cluster: TestCluster): Promise<void> {
  const { waves } = await inside<Churn>(cluster, "churn.ts", runtime);
  const [first] = waves;
  const last = waves.at(-1);
  if (first === undefined || last === undefined) throw new Error("no wave was measured");
  const pair = (of: (one: Holdings) => number): string =>
    `${of(first).toFixed(0)} and ${of(last).toFixed(0)}`;
  const held = [
    `${pair(({ rssMb }) => rssMb)} MB`,
    `${pair(({ descriptors }) => descriptors)} descriptors`,
    `${pair(({ mounts }) => mounts)} mounts`,
    `${pair(({ netns }) => netns)} network namespaces`,
    `${pair(({ links }) => links)} links`,
    `${pair(({ cgroups }) => cgroups)} cgroups`,
    `${pair(({ folders }) => folders)} entries of Pods on the disk`,
  ];
  row(`after ${first.pods} and after ${last.pods} Pods that came and went`, held.join(", "));
}

async function measureApi(cluster: TestCluster): Promise<void> {
  const api = await inside<{ writesPerSecond: number[]; watchMs: number[] }>(cluster, "api-load.ts");
  row("durable writes through the API, 32 at a time", showSpread(api.writesPerSecond, "writes/s"));
  row("write to event at each of 100 watchers", showSpread(api.watchMs, "ms", 1));
}

/** On this machine itself, over loopback addresses. */
async function measureProbes(): Promise<void> {
  const probes = await promisify(execFile)(process.execPath, [path.join(import.meta.dirname, "probes.ts")]);
  for (const [, what = "", value = ""] of probes.stdout.matchAll(/^\| (.+?) \| (.+) \|$/gm)) row(what, value);
}

async function usage(
  cluster: TestCluster,
): Promise<Map<string, { rssMb: number; pssMb: number; ticks: number }>> {
  const found = new Map<string, { rssMb: number; pssMb: number; ticks: number }>();
  for (const name of ["control", "node"]) {
    const text = await cluster.sh(
      `pid=$(cut -d' ' -f1 /run/keelson/${name}.pid); grep -E '^(Rss|Pss):' /proc/$pid/smaps_rollup; cat /proc/$pid/stat`,
    );
    const kilobytes = (key: string): number =>
      Number(new RegExp(`^${key}: +(\\d+)`, "m").exec(text)?.[1] ?? 0) / 1_024;
    const stat = text.slice(text.lastIndexOf(")") + 2).split(" ");
    found.set(name, {
      rssMb: kilobytes("Rss"),
      pssMb: kilobytes("Pss"),
      ticks: Number(stat[11]) + Number(stat[12]),
    });
  }
  return found;
}

/** Runs a script of ours on the machine and reads the JSON it prints last. */
async function inside<T>(cluster: TestCluster, script: string, ...args: readonly string[]): Promise<T> {
  const file = path.join(import.meta.dirname, "inside", script);
  await readFile(file);
  const { stdout } = await cluster.machine.exec([process.execPath, file, ...args], { timeoutMs: 560_000 });
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as T;
}
