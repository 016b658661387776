import { readFile, statfs } from "node:fs/promises";
import os from "node:os";
import type { HugePages } from "../plan/huge-pages.ts";
import { readHugePages } from "./huge-pages.ts";

/** What this machine is, read once: it does not change while the machine runs. */
export interface NodeFacts {
  readonly machineId: string;
  readonly systemUuid: string;
  readonly bootId: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  readonly architecture: string;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly swapBytes: number;
  readonly maxPids: number;
  readonly hugePages: readonly HugePages[];
}

/** Amounts that change. */
export interface NodeUse {
  readonly memoryAvailableBytes: number;
  readonly diskCapacityBytes: number;
  readonly diskAvailableBytes: number;
  readonly inodes: number;
  readonly inodesFree: number;
  readonly pids: number;
}

/** Reads the machine's identity and size. */
export async function readNodeFacts(): Promise<NodeFacts> {
  const release = parseRelease(await text("/etc/os-release"));
  const meminfo = parseMeminfo(await text("/proc/meminfo"));
  const machineId = (await text("/etc/machine-id")).trim();
  const bootId = (await text("/proc/sys/kernel/random/boot_id")).trim();
  return {
    machineId: machineId === "" ? (await text("/var/lib/dbus/machine-id")).trim() : machineId,
    systemUuid: (await text("/sys/class/dmi/id/product_uuid")).trim().toLowerCase() || machineId,
    bootId,
    kernelVersion: os.release(),
    osImage: release["PRETTY_NAME"] ?? os.type(),
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    cpus: os.cpus().length,
    memoryBytes: meminfo["MemTotal"] ?? os.totalmem(),
    swapBytes: meminfo["SwapTotal"] ?? 0,
    maxPids: Number((await text("/proc/sys/kernel/pid_max")).trim()) || 32_768,
    hugePages: await readHugePages(),
  };
}

/** Reads what is in use. @param rootDir its file system is the node's. */
export async function readNodeUse(rootDir: string): Promise<NodeUse> {
  const meminfo = parseMeminfo(await text("/proc/meminfo"));
  const disk = await statfs(rootDir).catch(() => statfs("/"));
  const threads = /\/(\d+) /.exec(await text("/proc/loadavg"))?.[1];
  return {
    memoryAvailableBytes: meminfo["MemAvailable"] ?? os.freemem(),
    diskCapacityBytes: disk.blocks * disk.bsize,
    diskAvailableBytes: disk.bavail * disk.bsize,
    inodes: disk.files,
    inodesFree: disk.ffree,
    pids: Number(threads ?? 0),
  };
}

/** The lowest oom_score_adj that this process may give: without CAP_SYS_RESOURCE, its own. */
export async function lowestOomScoreAdj(): Promise<number> {
  const effective = /^CapEff:\s*([0-9a-f]+)$/m.exec(await text("/proc/self/status"))?.[1] ?? "0";
  const mayLower = (BigInt(`0x${effective}`) >> 24n) & 1n;
  return mayLower === 1n ? -1_000 : Number((await text("/proc/self/oom_score_adj")).trim());
}

/** The machine's addresses, the default route's first, IPv4 before IPv6; without loopback and link-local ones. */
export async function localAddresses(): Promise<readonly string[]> {
  const device = await defaultDevice();
  const all = Object.entries(os.networkInterfaces()).flatMap(([name, list]) =>
    (list ?? [])
      .filter(
        ({ internal, address }) =>
          !internal && !address.startsWith("fe80:") && !address.startsWith("169.254."),
      )
      .map(({ address, family }) => ({ name, address, family })),
  );
  const virtual = /^(docker|cni|flannel|veth|kube|keelson|br-|virbr)/;
  return all
    .filter(({ name }) => !virtual.test(name))
    .toSorted(
      (a, b) => Number(b.name === device) - Number(a.name === device) || a.family.localeCompare(b.family),
    )
    .map(({ address }) => address);
}

async function defaultDevice(): Promise<string | undefined> {
  for (const line of (await text("/proc/net/route")).split("\n").slice(1)) {
    const [device, destination, , , , , , mask] = line.split("\t");
    if (destination === "00000000" && mask === "00000000") return device;
  }
  return undefined;
}

function parseRelease(source: string): Readonly<Record<string, string>> {
  return Object.fromEntries(
    [...source.matchAll(/^(\w+)="?(.*?)"?$/gm)].map(([, key = "", value = ""]) => [key, value]),
  );
}

function parseMeminfo(source: string): Readonly<Record<string, number>> {
  return Object.fromEntries(
    [...source.matchAll(/^(\w+):\s+(\d+) kB$/gm)].map(([, key = "", value = ""]) => [
      key,
      Number(value) * 1_024,
    ]),
  );
}

async function text(file: string): Promise<string> {
  return readFile(file, "utf8").catch(() => "");
}
