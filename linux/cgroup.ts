import { mkdir, readdir, readFile, rmdir, statfs, writeFile } from "node:fs/promises";
import path from "node:path";
import { isMissing, readIfThere } from "#lib/read-if-there.ts";

/** Limits of one cgroup; what is undefined is left alone. */
export interface CgroupLimits {
  /** v1 shares; turned into a weight on v2. */
  readonly cpuShares?: number;
  /** Microseconds per 100 ms period; -1 lifts the limit. */
  readonly cpuQuotaUs?: number;
  /** -1 lifts the limit. */
  readonly memoryBytes?: number;
  /** Most processes and threads. */
  readonly pids?: number;
  /** Bytes by size of huge page, `2MB`; sizes that the kernel does not count are passed over. */
  readonly hugePageBytes?: Readonly<Record<string, number>>;
}

/** Where the hierarchies are. */
export interface CgroupMounts {
  readonly version: 1 | 2;
  /** Controller -> mount point; on v2 every controller has the same. */
  readonly controllers: ReadonlyMap<string, string>;
  /** Every mounted hierarchy, those that we limit nothing in too: runtimes make groups in all of them. */
  readonly hierarchies: readonly string[];
}

const used = ["cpu", "cpuacct", "cpuset", "memory", "pids", "devices", "freezer", "blkio", "hugetlb"];
const cgroup2Magic = 0x6367_7270;

/** Finds the mounted hierarchies under `/sys/fs/cgroup`. */
export async function findCgroups(root = "/sys/fs/cgroup"): Promise<CgroupMounts> {
  if ((await statfs(root)).type === cgroup2Magic) {
    return { version: 2, controllers: new Map(used.map((name) => [name, root])), hierarchies: [root] };
  }
  const entries = await readdir(root);
  const controllers = new Map<string, string>();
  for (const name of used) {
    const entry = entries.find((candidate) => candidate.split(",").includes(name));
    if (entry !== undefined) controllers.set(name, path.join(root, entry));
  }
  return { version: 1, controllers, hierarchies: entries.map((entry) => path.join(root, entry)) };
}

/** Makes the cgroup in every hierarchy, its parents too, and writes its limits. */
export async function ensureCgroup(
  cgroups: CgroupMounts,
  group: string,
  limits: CgroupLimits,
): Promise<void> {
  for (const directory of directoriesOf(cgroups, group)) {
    await mkdir(directory, { recursive: true });
  }
  const isV2 = cgroups.version === 2;
  if (isV2) await delegate(cgroups.controllers.get("cpu") ?? "/sys/fs/cgroup", group);
  await setLimit(cgroups, "pids", group, "pids.max", limits.pids);
  for (const [size, bytes] of Object.entries(limits.hugePageBytes ?? {}))
    await setKnown(cgroups, "hugetlb", group, `hugetlb.${size}.${isV2 ? "max" : "limit_in_bytes"}`, bytes);
  if (isV2) {
    await setLimit(cgroups, "cpu", group, "cpu.weight", weightOf(limits.cpuShares));
    await setLimit(cgroups, "cpu", group, "cpu.max", maxOf(limits.cpuQuotaUs));
    await setLimit(
      cgroups,
      "memory",
      group,
      "memory.max",
      limits.memoryBytes === -1 ? "max" : limits.memoryBytes,
    );
    return;
  }
  await fillCpuset(cgroups, group);
  await setLimit(cgroups, "cpu", group, "cpu.shares", limits.cpuShares);
  if (limits.cpuQuotaUs !== undefined && limits.cpuQuotaUs > 0) {
    await setLimit(cgroups, "cpu", group, "cpu.cfs_period_us", 100_000);
  }
  await setLimit(cgroups, "cpu", group, "cpu.cfs_quota_us", limits.cpuQuotaUs);
  await setLimit(cgroups, "memory", group, "memory.limit_in_bytes", limits.memoryBytes);
}

/** The limits of a cgroup as the kernel has them; a limit that is not set is absent. undefined when there is no such group. */
export async function readCgroup(cgroups: CgroupMounts, group: string): Promise<CgroupLimits | undefined> {
  const value = async (controller: string, file: string): Promise<string | undefined> => {
    const mountPoint = cgroups.controllers.get(controller);
    return mountPoint === undefined ? undefined : await readIfThere(path.join(mountPoint, group, file));
  };
  if (cgroups.version === 2) {
    const [weight, max, memory] = await Promise.all([
      value("cpu", "cpu.weight"),
      value("cpu", "cpu.max"),
      value("memory", "memory.max"),
    ]);
    if (weight === undefined && max === undefined && memory === undefined) return undefined;
    const [quota = "max", period = "100000"] = (max ?? "").trim().split(" ");
    return {
      ...(weight === undefined ? {} : { cpuShares: sharesOf(Number(weight)) }),
      ...limit("cpuQuotaUs", (Number(quota) * 100_000) / Number(period)),
      ...limit("memoryBytes", Number(memory)),
    };
  }
  const [shares, quota, memory] = await Promise.all([
    value("cpu", "cpu.shares"),
    value("cpu", "cpu.cfs_quota_us"),
    value("memory", "memory.limit_in_bytes"),
  ]);
  if (shares === undefined && memory === undefined) return undefined;
  return {
    ...(shares === undefined ? {} : { cpuShares: Number(shares) }),
    ...limit("cpuQuotaUs", Number(quota)),
    ...limit("memoryBytes", Number(memory)),
  };
}

/** Memory of a group that the kernel cannot take back at once, in bytes; undefined when there is no such group. */
export async function readWorkingSet(cgroups: CgroupMounts, group: string): Promise<number | undefined> {
  const folder = path.join(cgroups.controllers.get("memory") ?? "/nonexistent", group);
  const v1 = cgroups.version === 1;
  const usage = await readIfThere(path.join(folder, v1 ? "memory.usage_in_bytes" : "memory.current"));
  if (usage === undefined) return undefined;
  const stat = (await readIfThere(path.join(folder, "memory.stat"))) ?? "";
  const inactive = new RegExp(`^${v1 ? "total_inactive_file" : "inactive_file"} (\\d+)$`, "m").exec(
    stat,
  )?.[1];
  return Math.max(0, Number(usage) - Number(inactive ?? 0));
}

/** Removes the cgroup and what is below it. A group with processes stays. */
export async function removeCgroup(cgroups: CgroupMounts, group: string): Promise<void> {
  for (const hierarchy of cgroups.hierarchies) await removeTree(path.join(hierarchy, group));
}

/** The names of the groups directly below, in any hierarchy: a removal that broke off leaves one in some. */
export async function childCgroups(cgroups: CgroupMounts, group: string): Promise<ReadonlySet<string>> {
  const lists = await Promise.all(
    cgroups.hierarchies.map((hierarchy) =>
      readdir(path.join(hierarchy, group), { withFileTypes: true }).catch(() => []),
    ),
  );
  return new Set(lists.flatMap((list) => list.flatMap((one) => (one.isDirectory() ? [one.name] : []))));
}

function directoriesOf(cgroups: CgroupMounts, group: string): readonly string[] {
  return [...new Set(cgroups.controllers.values())].map((mountPoint) => path.join(mountPoint, group));
}

async function setLimit(
  cgroups: CgroupMounts,
  controller: string,
  group: string,
  file: string,
  value: number | string | undefined,
): Promise<void> {
  const mountPoint = cgroups.controllers.get(controller);
  if (value === undefined || mountPoint === undefined) return;
  const target = path.join(mountPoint, group, file);
  try {
    await writeFile(target, String(value));
  } catch (cause) {
    if (isMissing(cause)) return; // the controller lacks this knob
    throw new Error(`cannot write "${value}" to "${target}"`, { cause });
  }
}

/** Writes a file that is there, and no other: in a cgroup none can be made. */
async function setKnown(
  cgroups: CgroupMounts,
  controller: string,
  group: string,
  file: string,
  value: number,
): Promise<void> {
  const mountPoint = cgroups.controllers.get(controller);
  if (mountPoint === undefined) return;
  const target = path.join(mountPoint, group, file);
  if ((await readIfThere(target)) !== undefined) await setLimit(cgroups, controller, group, file, value);
}

/** v1: a new cpuset is empty and takes no process until it has its parent's CPUs and memory nodes. */
async function fillCpuset(cgroups: CgroupMounts, group: string): Promise<void> {
  const mountPoint = cgroups.controllers.get("cpuset");
  if (mountPoint === undefined) return;
  let at = mountPoint;
  for (const part of group.split("/").filter((name) => name !== "")) {
    for (const file of ["cpuset.cpus", "cpuset.mems"]) {
      const parent = await readFile(path.join(at, file), "utf8").catch(() => "");
      const own = await readFile(path.join(at, part, file), "utf8").catch(() => "");
      if (own.trim() === "" && parent.trim() !== "")
        await writeFile(path.join(at, part, file), parent.trim());
    }
    at = path.join(at, part);
  }
}

/** v2: a controller reaches a group only when every group above hands it down. */
async function delegate(root: string, group: string): Promise<void> {
  let at = root;
  for (const part of group.split("/").filter((name) => name !== "")) {
    const available = (await readFile(path.join(at, "cgroup.controllers"), "utf8")).trim().split(" ");
    const wanted = ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"].filter((name) =>
      available.includes(name),
    );
    for (const name of wanted) {
      await writeFile(path.join(at, "cgroup.subtree_control"), `+${name}`).catch(() => undefined);
    }
    at = path.join(at, part);
  }
}

async function removeTree(directory: string): Promise<void> {
  let entries: string[];
  try {
    entries = (await readdir(directory, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory())
      .map((entry) => entry.name);
  } catch {
    return; // gone already
  }
  for (const entry of entries) await removeTree(path.join(directory, entry));
  await rmdir(directory).catch(() => undefined);
}

/** The kubelet's linear map from v1 shares to v2 weight. */
function weightOf(shares: number | undefined): number | undefined {
  return shares === undefined ? undefined : 1 + Math.floor(((shares - 2) * 9_999) / 262_142);
}

/** The least v1 shares that make this weight. */
function sharesOf(weight: number): number {
  return 2 + Math.ceil(((weight - 1) * 262_142) / 9_999);
}

/** More than any machine has: how v1 writes that there is no limit. */
const unlimited = 2 ** 60;

function limit<K extends string>(name: K, value: number): { readonly [key in K]?: number } {
  const given: { [key in K]?: number } = {};
  if (value >= 0 && value < unlimited) given[name] = value;
  return given;
}

function maxOf(quotaUs: number | undefined): string | undefined {
  if (quotaUs === undefined) return undefined;
  return quotaUs < 0 ? "max 100000" : `${quotaUs} 100000`;
}
