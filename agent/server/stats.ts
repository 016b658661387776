import { readFile, statfs } from "node:fs/promises";
import path from "node:path";
import { type CgroupMounts, findCgroups } from "#linux/cgroup.ts";
import type { Clock } from "#lib/clock.ts";
import type { AgentPod, AgentView } from "../model.ts";
import type { VolumeReading } from "../volumes/volume-readings.ts";
import { containerCgroups } from "../resources/container-cgroup.ts";

/** What a cgroup used. */
export interface Usage {
  readonly timeMs: number;
  readonly cpuNs: number;
  readonly cpuNanoCores: number;
  readonly memoryBytes: number;
  /** Without the page cache that can be dropped at once. */
  readonly workingSetBytes: number;
}

/** One Pod's usage, and its containers'. */
export interface PodUsage {
  readonly pod: AgentPod;
  readonly usage: Usage | undefined;
  readonly containers: readonly {
    readonly name: string;
    readonly startedAtMs: number;
    readonly usage: Usage | undefined;
  }[];
}

/** Samples closer than this say little about a rate: the earlier rate is told again. */
const leastSampleMs = 1_000;

interface Sample {
  readonly timeMs: number;
  readonly cpuNs: number;
  readonly nanoCores: number;
}

/** Reads usage from the cgroups, and rates from two readings. */
export class UsageReader {
  readonly #clock: Clock;
  #samples = new Map<string, Sample>();
  #mounts: CgroupMounts | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The node as a whole and every Pod of the view. */
  async read(
    view: AgentView,
  ): Promise<{ readonly node: Usage | undefined; readonly pods: readonly PodUsage[] }> {
    this.#mounts ??= await findCgroups();
    const before = this.#samples;
    this.#samples = new Map();
    const node = await this.#usage("/", before);
    const pods: PodUsage[] = [];
    for (const { metadata } of view.pods()) {
      const pod = view.podByUid(metadata?.uid ?? "");
      if (pod?.sandboxId === undefined || pod.cgroup === "") continue;
      const containers = await Promise.all(
        [...pod.containers.values()]
          .filter((container) => container.state === "running")
          .map(async ({ name, id, startedAtMs }) => ({
            name,
            startedAtMs,
            usage: await this.#containerUsage(pod.cgroup, id, before),
          })),
      );
      pods.push({ pod, usage: await this.#usage(pod.cgroup, before), containers });
    }
    return { node, pods };
  }

  async #containerUsage(
    parent: string,
    id: string,
    before: ReadonlyMap<string, Sample>,
  ): Promise<Usage | undefined> {
    for (const group of containerCgroups(parent, id)) {
      const usage = await this.#usage(group, before);
      if (usage !== undefined) return usage;
    }
    return undefined;
  }

  async #usage(group: string, before: ReadonlyMap<string, Sample>): Promise<Usage | undefined> {
    const mounts = this.#mounts;
    if (mounts === undefined) return undefined;
    const file = (controller: string, name: string): Promise<string> =>
      readFile(path.join(mounts.controllers.get(controller) ?? "/nonexistent", group, name), "utf8");
    try {
      const timeMs = this.#clock.now();
      const cpuNs =
        mounts.version === 1
          ? Number(await file("cpuacct", "cpuacct.usage"))
          : field(await file("cpu", "cpu.stat"), "usage_usec") * 1_000;
      const stat = await file("memory", "memory.stat").catch(() => "");
      const memoryBytes =
        group === "/"
          ? await nodeMemoryBytes()
          : Number(await file("memory", mounts.version === 1 ? "memory.usage_in_bytes" : "memory.current"));
      const inactive = field(stat, mounts.version === 1 ? "total_inactive_file" : "inactive_file");
      const last = before.get(group);
      const sample = nextSample(last, timeMs, cpuNs);
      this.#samples.set(group, sample);
      const workingSetBytes = Math.max(0, memoryBytes - inactive);
      return { timeMs, cpuNs, cpuNanoCores: sample.nanoCores, memoryBytes, workingSetBytes };
    } catch {
      return undefined; // It has ended since the list.
    }
  }
}

/** `/stats/summary`: the node's and the Pods' cpu and memory, and the node's disk. */
export async function statsSummary(
  view: AgentView,
  reader: UsageReader,
  rootDir: string,
  signal: AbortSignal,
): Promise<object> {
  signal.throwIfAborted();
  const { node, pods } = await reader.read(view);
  const total = await totalMemoryBytes();
  const disk = await statfs(rootDir).catch(() => undefined);
  return {
    node: {
      nodeName: view.nodeName,
      ...(node === undefined ? {} : usageJson(node, total)),
      ...(disk === undefined
        ? {}
        : {
            fs: {
              availableBytes: disk.bavail * disk.bsize,
              capacityBytes: disk.blocks * disk.bsize,
              usedBytes: (disk.blocks - disk.bfree) * disk.bsize,
              inodesFree: disk.ffree,
              inodes: disk.files,
              inodesUsed: disk.files - disk.ffree,
            },
          }),
    },
    pods: pods.map(({ pod, usage, containers }) => ({
      podRef: {
        name: pod.pod.metadata?.name ?? "",
        namespace: pod.pod.metadata?.namespace ?? "",
        uid: pod.uid,
      },
      startTime: pod.pod.status?.startTime ?? null,
      ...(usage === undefined ? {} : usageJson(usage)),
      volume: pod.volumes.map(volumeJson),
      containers: containers.map((container) => ({
        name: container.name,
        startTime: new Date(container.startedAtMs).toISOString(),
        ...(container.usage === undefined ? {} : usageJson(container.usage)),
      })),
    })),
  };
}

/** `/metrics/resource`, what metrics-server reads. */
export async function resourceMetrics(
  view: AgentView,
  reader: UsageReader,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const { node, pods } = await reader.read(view);
  const lines = new Map<string, string[]>();
  const add = (name: string, labels: string, value: number, timeMs?: number): void => {
    const text = `${name}${labels} ${value}${timeMs === undefined ? "" : ` ${timeMs}`}`;
    lines.set(name, [...(lines.get(name) ?? []), text]);
  };
  const addUsage = (prefix: string, labels: string, usage: Usage | undefined): void => {
    if (usage === undefined) return;
    add(`${prefix}_cpu_usage_seconds_total`, labels, usage.cpuNs / 1e9, usage.timeMs);
    add(`${prefix}_memory_working_set_bytes`, labels, usage.workingSetBytes, usage.timeMs);
  };
  addUsage("node", "", node);
  for (const { pod, usage, containers } of pods) {
    const { name = "", namespace = "" } = pod.pod.metadata ?? {};
    addUsage("pod", `{namespace="${namespace}",pod="${name}"}`, usage);
    for (const container of containers) {
      const labels = `{container="${container.name}",namespace="${namespace}",pod="${name}"}`;
      addUsage("container", labels, container.usage);
      add("container_start_time_seconds", labels, container.startedAtMs / 1_000);
    }
  }
  add("resource_scrape_error", "", node === undefined ? 1 : 0);
  const text = [...lines].flatMap(([name, samples]) => [
    `# TYPE ${name} ${name.endsWith("_total") ? "counter" : "gauge"}`,
    ...samples,
  ]);
  return `${text.join("\n")}\n`;
}

function nextSample(last: Sample | undefined, timeMs: number, cpuNs: number): Sample {
  if (last === undefined || cpuNs < last.cpuNs) return { timeMs, cpuNs, nanoCores: 0 };
  if (timeMs - last.timeMs < leastSampleMs) return last;
  const nanoCores = Math.round((cpuNs - last.cpuNs) / ((timeMs - last.timeMs) / 1_000));
  return { timeMs, cpuNs, nanoCores };
}

function usageJson(usage: Usage, totalBytes?: number): object {
  const time = new Date(usage.timeMs).toISOString();
  return {
    cpu: { time, usageNanoCores: usage.cpuNanoCores, usageCoreNanoSeconds: usage.cpuNs },
    memory: {
      time,
      ...(totalBytes === undefined ? {} : { availableBytes: totalBytes - usage.workingSetBytes }),
      usageBytes: usage.memoryBytes,
      workingSetBytes: usage.workingSetBytes,
    },
  };
}

function volumeJson({ volume, claim, timeMs, stats }: VolumeReading): object {
  const { condition, source: _, ...sizes } = stats;
  return {
    time: new Date(timeMs).toISOString(),
    ...sizes,
    name: volume,
    ...(claim === undefined ? {} : { pvcRef: { name: claim.name, namespace: claim.namespace } }),
    ...(condition === undefined ? {} : { volumeHealthStats: { abnormal: condition.abnormal } }),
  };
}

/** The value after a name in a file of `name value` lines; 0 when it is not there. */
function field(text: string, name: string): number {
  return Number(new RegExp(`^${name}:? +(\\d+)`, "m").exec(text)?.[1] ?? 0);
}

async function nodeMemoryBytes(): Promise<number> {
  const info = await readFile("/proc/meminfo", "utf8");
  return (field(info, "MemTotal") - field(info, "MemFree")) * 1_024;
}

async function totalMemoryBytes(): Promise<number> {
  return field(await readFile("/proc/meminfo", "utf8"), "MemTotal") * 1_024;
}
