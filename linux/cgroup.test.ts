import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t, { type Test } from "tap";
import { type CgroupMounts, ensureCgroup, readCgroup, readWorkingSet } from "./cgroup.ts";

const group = "/kubepods/podu1";

/** A hierarchy made of plain files: the kernel's own are looked at by the tests of the agent. */
async function setUp(
  t: Test,
  version: 1 | 2,
  files: Readonly<Record<string, string>>,
): Promise<CgroupMounts> {
  const root = t.testdir();
  for (const controller of version === 1 ? ["cpu", "memory"] : [""]) {
    const folder = path.join(root, controller, group);
    await mkdir(folder, { recursive: true });
    for (const [name, text] of Object.entries(files))
      if (version === 2 || name.startsWith(controller)) await writeFile(path.join(folder, name), text);
  }
  const at = (controller: string) => path.join(root, version === 1 ? controller : "");
  return {
    version,
    controllers: new Map(["cpu", "memory"].map((name) => [name, at(name)])),
    hierarchies: version === 1 ? [at("cpu"), at("memory")] : [root],
  };
}

t.test("the limits of a v1 group are read; one that is not set is absent", async (t) => {
  const limited = await setUp(t, 1, {
    "cpu.shares": "512\n",
    "cpu.cfs_quota_us": "20000\n",
    "memory.limit_in_bytes": "67108864\n",
  });
  t.same(await readCgroup(limited, group), { cpuShares: 512, cpuQuotaUs: 20_000, memoryBytes: 67_108_864 });
  const free = await setUp(t, 1, {
    "cpu.shares": "2\n",
    "cpu.cfs_quota_us": "-1\n",
    "memory.limit_in_bytes": "9223372036854771712\n",
  });
  t.same(await readCgroup(free, group), { cpuShares: 2 });
  t.equal(await readCgroup(free, "/kubepods/gone"), undefined);
});

t.test("the limits of a v2 group are read in v1's units", async (t) => {
  const limited = await setUp(t, 2, {
    "cpu.weight": "20\n",
    "cpu.max": "10000 50000\n",
    "memory.max": "67108864\n",
  });
  t.same(await readCgroup(limited, group), { cpuShares: 501, cpuQuotaUs: 20_000, memoryBytes: 67_108_864 });
  const free = await setUp(t, 2, { "cpu.weight": "1\n", "cpu.max": "max 100000\n", "memory.max": "max\n" });
  t.same(await readCgroup(free, group), { cpuShares: 2 });
  t.equal(await readCgroup(free, "/kubepods/gone"), undefined);
});

t.test("what is written to a v2 group is what is read again, and -1 lifts a limit", async (t) => {
  const mounts = await setUp(t, 2, { "cpu.weight": "1", "cpu.max": "max 100000", "memory.max": "max" });
  const folder = path.join(mounts.controllers.get("cpu") ?? "", group);
  const root = path.join(folder, "../..");
  for (const at of [root, path.join(root, "kubepods")])
    await writeFile(path.join(at, "cgroup.controllers"), "cpu memory\n");
  for (const shares of [2, 102, 512, 1_024, 262_144]) {
    await ensureCgroup(mounts, group, { cpuShares: shares, cpuQuotaUs: 30_000, memoryBytes: 4_096 });
    const { cpuShares = 0, ...limits } = (await readCgroup(mounts, group)) ?? {};
    t.same(limits, { cpuQuotaUs: 30_000, memoryBytes: 4_096 });
    const weight = await readFile(path.join(folder, "cpu.weight"), "utf8");
    await ensureCgroup(mounts, group, { cpuShares });
    t.equal(
      await readFile(path.join(folder, "cpu.weight"), "utf8"),
      weight,
      `${shares} make the same weight`,
    );
  }
  await ensureCgroup(mounts, group, { cpuQuotaUs: -1, memoryBytes: -1 });
  t.equal(await readFile(path.join(folder, "cpu.max"), "utf8"), "max 100000");
  t.equal(await readFile(path.join(folder, "memory.max"), "utf8"), "max");
});

t.test("memory that the kernel can take back at once is not counted as used", async (t) => {
  const v1 = await setUp(t, 1, {
    "memory.usage_in_bytes": "1000\n",
    "memory.stat": "inactive_file 1\ntotal_inactive_file 300\n",
  });
  t.equal(await readWorkingSet(v1, group), 700);
  const v2 = await setUp(t, 2, { "memory.current": "1000\n", "memory.stat": "anon 5\ninactive_file 1200\n" });
  t.equal(await readWorkingSet(v2, group), 0);
  t.equal(await readWorkingSet(v2, "/kubepods/gone"), undefined);
});

t.test("processes and huge pages are limited where the kernel counts them", async (t) => {
  for (const version of [1, 2] as const) {
    const name = version === 1 ? "limit_in_bytes" : "max";
    const root = t.testdir();
    const at = (controller: string): string =>
      path.join(root, String(version), version === 1 ? controller : "");
    for (const controller of ["pids", "hugetlb"])
      await mkdir(path.join(at(controller), group), { recursive: true });
    await writeFile(path.join(at("hugetlb"), group, `hugetlb.2MB.${name}`), "max");
    await writeFile(path.join(root, String(version), "cgroup.controllers"), "");
    if (version === 2) await writeFile(path.join(root, "2/kubepods/cgroup.controllers"), "");
    const cgroups: CgroupMounts = {
      version,
      controllers: new Map(["cpu", "pids", "hugetlb"].map((one) => [one, at(one)])),
      hierarchies: [],
    };
    await ensureCgroup(cgroups, group, { pids: 7, hugePageBytes: { "2MB": 4_194_304, "1GB": 0 } });
    const file = (controller: string, one: string) => readFile(path.join(at(controller), group, one), "utf8");
    t.equal(await file("pids", "pids.max"), "7");
    t.equal(await file("hugetlb", `hugetlb.2MB.${name}`), "4194304");
    await t.rejects(file("hugetlb", `hugetlb.1GB.${name}`), { code: "ENOENT" }, "no such pages");
  }
});
