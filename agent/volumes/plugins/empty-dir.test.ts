import { chmod, mkdir, readdir, stat, statfs, writeFile } from "node:fs/promises";
import t from "tap";
import { mountPointsBelow, readMounts, unmountBelow } from "#linux/mount.ts";
import { testContainer, testPod } from "../../plan/pod-fixtures.ts";
import { mountFolder, needsRoot as skip, volumeRequest } from "../volume-fixture.ts";
import { emptyDirPlugin } from "./empty-dir.ts";

const { signal } = new AbortController();
const mebi = 1_048_576;

t.test("VO4: an emptyDir on disk is everyone's, once", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const request = volumeRequest(folder, emptyDirPlugin, { emptyDir: {} }, { fsGroup: 4_242 });
  const { hostPath } = await emptyDirPlugin.setUp(request, signal);
  t.equal(hostPath, `${folder}/pods/u1/volumes/kubernetes.io~empty-dir/data`);
  const { mode, gid } = await stat(hostPath);
  t.equal(mode & 0o7777, 0o2777);
  t.equal(gid, 4_242);
  await chmod(hostPath, 0o700);
  await writeFile(`${hostPath}/file`, "");
  await emptyDirPlugin.setUp(request, signal);
  t.equal((await stat(hostPath)).mode & 0o7777, 0o700, "what the Pod made of it stays");
  await emptyDirPlugin.tearDown(request.place, signal);
  t.same(await readdir(`${folder}/pods/u1/volumes/kubernetes.io~empty-dir`), []);

  await mkdir(`${hostPath}.new/left`, { recursive: true }); // by an agent that died before it was whole
  await emptyDirPlugin.setUp({ ...request, fsGroup: undefined }, signal);
  t.equal((await stat(hostPath)).mode & 0o7777, 0o777);
  t.same(await readdir(hostPath), []);
  t.same(await readdir(`${folder}/pods/u1/volumes/kubernetes.io~empty-dir`), ["data"]);
});

t.test("VO4: an emptyDir in memory takes no more than its limit", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const cases = [
    { name: "own limit", emptyDir: { medium: "Memory", sizeLimit: "1Mi" }, bytes: mebi },
    { name: "the Pod's limit", emptyDir: { medium: "Memory" }, bytes: 8 * mebi, memory: "8Mi" },
    { name: "what the node has for Pods", emptyDir: { medium: "Memory" }, bytes: 64 * mebi },
  ];
  for (const { name, emptyDir, bytes, memory } of cases) {
    const limits = memory === undefined ? {} : { memory };
    const pod = testPod({ containers: [testContainer("web", { resources: { limits } })] });
    const request = volumeRequest(folder, emptyDirPlugin, { emptyDir }, { pod });
    const { hostPath } = await emptyDirPlugin.setUp(request, signal);
    const { bsize, blocks } = await statfs(hostPath);
    t.equal(bsize * blocks, bytes, name);
    const grouped = await emptyDirPlugin.setUp(
      { ...request, place: { ...request.place, directory: `${hostPath}-2` }, fsGroup: 4_242 },
      signal,
    );
    const rights = await stat(grouped.hostPath);
    t.same([rights.mode & 0o7777, rights.gid], [0o2777, 4_242], name);
    await unmountBelow(grouped.hostPath);
    t.equal((await stat(hostPath)).mode & 0o7777, 0o777, name);
    await t.rejects(writeFile(`${hostPath}/file`, Buffer.alloc(bytes + 1)), { code: "ENOSPC" }, name);
    await emptyDirPlugin.setUp(request, signal);
    t.equal((await mountPointsBelow(hostPath)).length, 1, "mounted once");
    await unmountBelow(hostPath); // as after the machine has started anew
    await emptyDirPlugin.setUp(request, signal);
    t.match(
      (await readMounts()).find(({ point }) => point === hostPath),
      { type: "tmpfs" },
    );
    await emptyDirPlugin.tearDown(request.place, signal);
    t.same(await mountPointsBelow(folder), []);
  }
});

t.test("VO4: an emptyDir of huge pages is a hugetlbfs of their size", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const resources = { limits: { "hugepages-2Mi": "4Mi", memory: "8Mi" } };
  const pod = testPod({ containers: [testContainer("web", { resources })] });
  for (const medium of ["HugePages", "HugePages-2Mi"]) {
    const request = volumeRequest(folder, emptyDirPlugin, { emptyDir: { medium } }, { pod, fsGroup: 4_242 });
    const { hostPath } = await emptyDirPlugin.setUp(request, signal);
    t.match(
      (await readMounts()).find(({ point }) => point === hostPath),
      { type: "hugetlbfs" },
    );
    t.equal((await statfs(hostPath)).bsize, 2 * mebi);
    const { mode, gid } = await stat(hostPath);
    t.same([mode & 0o7777, gid], [0o2777, 4_242]);
    await emptyDirPlugin.setUp(request, signal);
    t.equal((await mountPointsBelow(hostPath)).length, 1, "mounted once");
    await emptyDirPlugin.tearDown(request.place, signal);
  }
  const odd = testPod({
    containers: [testContainer("web", { resources: { limits: { "hugepages-3Mi": "3Mi" } } })],
  });
  const request = volumeRequest(folder, emptyDirPlugin, { emptyDir: { medium: "HugePages" } }, { pod: odd });
  await t.rejects(emptyDirPlugin.setUp(request, signal), { code: "EINVAL" }, "a size the kernel has not");
});
