import { existsSync } from "node:fs";
import { lstat, mkdir, readdir, readFile, readlink, rm, stat, writeFile } from "node:fs/promises";
import t from "tap";
import { mountAt, mountPointsBelow, readMounts } from "#linux/mount.ts";
import { run } from "../../../test/support/run-command.ts";
import { standInPrograms } from "../../../test/support/stand-in-programs.ts";
import { testPod } from "../../plan/pod-fixtures.ts";
import { loopDevice } from "../../../test/support/loop-device.ts";
import { mountFolder, needsRoot, volumeRequest } from "../volume-fixture.ts";
import type { VolumeRequest } from "../volume-plugin.ts";
import { LocalPlugin } from "./local.ts";

const { signal } = new AbortController();
const lacking = ["/dev/loop-control", "/usr/sbin/mkfs.ext4", "/usr/sbin/blkid"].find(
  (file) => !existsSync(file),
);
const skip = needsRoot !== false ? needsRoot : lacking !== undefined && `needs ${lacking}`;

function requestOf(
  folder: string,
  local: { readonly path: string; readonly fsType?: string },
  more: Partial<VolumeRequest> & { readonly uid?: string } = {},
): VolumeRequest {
  const { uid = "u1", ...others } = more;
  const pod = testPod({}, { metadata: { name: "web", namespace: "default", uid } });
  return volumeRequest(folder, new LocalPlugin(folder), { persistent: { local } }, { pod, ...others });
}

t.test("VO1: a local volume is the node's directory, which stays when the Pod goes", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const plugin = new LocalPlugin(folder);
  const disk = `${folder}/disk`;
  await mkdir(disk);
  await writeFile(`${disk}/file`, "content");
  const first = requestOf(folder, { path: disk }, { fsGroup: 4_242 });
  const { hostPath } = await plugin.setUp(first, signal);
  t.equal(hostPath, `${folder}/pods/u1/volumes/kubernetes.io~local-volume/pv`);
  t.equal(await readFile(`${hostPath}/file`, "utf8"), "content");
  t.equal((await stat(`${disk}/file`)).gid, 4_242);
  await plugin.setUp(first, signal);
  t.equal((await mountPointsBelow(hostPath)).length, 1, "a second set-up mounts nothing");

  const said: string[] = [];
  const warn = (reason: string, message: string): void => void said.push(`${reason} ${message}`);
  const second = requestOf(folder, { path: disk }, { uid: "u2", fsGroup: 7, warn });
  await plugin.setUp(second, signal);
  t.same(said, [
    "AlreadyMountedVolume The requested fsGroup is 7, but the volume pv has GID 4242. The volume may not be shareable.",
  ]);
  t.equal((await stat(`${disk}/file`)).gid, 4_242, "a Pod that runs does not lose its group to the next");
  const third = requestOf(folder, { path: disk }, { uid: "u3", readOnly: true, mountOptions: ["noexec"] });
  const readOnly = await plugin.setUp(third, signal);
  await t.rejects(writeFile(`${readOnly.hostPath}/x`, ""), { code: "EROFS" });
  t.ok((await mountAt(readOnly.hostPath))?.options.includes("noexec"));
  t.notOk((await mountAt(hostPath))?.options.includes("ro"), "only where it was asked for");

  for (const { place } of [first, second, third]) {
    await new LocalPlugin(folder).tearDown(place, signal); // one that remembers nothing
    await plugin.tearDown(place, signal); // and again
    await t.rejects(lstat(place.directory), { code: "ENOENT" });
  }
  t.same(await mountPointsBelow(folder), []);
  t.equal(await readFile(`${disk}/file`, "utf8"), "content");
});

t.test("VO1: a local volume that cannot be is refused in clear words", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const plugin = new LocalPlugin(folder);
  await writeFile(`${folder}/file`, "");
  const cases: readonly { readonly path: string; readonly isBlock?: boolean; readonly message: string }[] = [
    { path: `${folder}/none`, message: `path "${folder}/none" does not exist` },
    { path: `${folder}/../etc`, message: `invalid path: ${folder}/../etc must not contain '..'` },
    { path: `${folder}/file`, message: "only directory and block device are supported" },
    { path: folder, isBlock: true, message: `path "${folder}" is not a block device` },
  ];
  for (const { path, isBlock = false, message } of cases)
    await t.rejects(plugin.setUp(requestOf(folder, { path }, { isBlock }), signal), { message });
  t.same(await mountPointsBelow(folder), []);
});

t.test(
  "VO1: a local volume on an empty disk is formatted once, and mounted for all its Pods",
  { skip, timeout: 110_000 },
  async (t) => {
    const folder = await mountFolder(t);
    const device = await loopDevice(t, `${folder}/image`, 32);
    const plugin = new LocalPlugin(folder);
    const shared = `${folder}/plugins/kubernetes.io/local-volume/mounts/pv`;
    const [first, second] = ["u1", "u2"].map((uid) =>
      requestOf(folder, { path: device }, { uid, fsGroup: 4_242 }),
    );
    if (first === undefined || second === undefined) throw new Error("no requests");
    const [one, other] = await Promise.all([plugin.setUp(first, signal), plugin.setUp(second, signal)]);
    t.match(await mountAt(shared), { type: "ext4", source: device });
    await writeFile(`${one.hostPath}/file`, "kept");
    t.equal(await readFile(`${other.hostPath}/file`, "utf8"), "kept", "both Pods see one file system");
    t.equal((await stat(one.hostPath)).gid, 4_242);
    await plugin.tearDown(first.place, signal);
    t.ok(await mountAt(shared), "the other Pod uses it still");
    t.equal(await readFile(`${other.hostPath}/file`, "utf8"), "kept");
    await new LocalPlugin(folder).tearDown(second.place, signal);
    t.same(await mountPointsBelow(folder), []);
    t.same(await readdir(`${folder}/plugins/kubernetes.io/local-volume/mounts`), []);
    t.notOk(
      (await readMounts()).some(({ source }) => source === device),
      "the disk is free",
    );

    await plugin.setUp(first, signal);
    t.equal(await readFile(`${one.hostPath}/file`, "utf8"), "kept", "it is not formatted again");
    await plugin.tearDown(first.place, signal);

    const asXfs = requestOf(folder, { path: device, fsType: "xfs" });
    await t.rejects(plugin.setUp(asXfs, signal), {
      message:
        /^failed to mount the volume as "xfs", it already contains ext4\. Mount error: mount failed: exit status/,
    });
    await plugin.setUp(first, signal);
    t.equal(await readFile(`${one.hostPath}/file`, "utf8"), "kept", "and nothing has been done to it");
    await plugin.tearDown(first.place, signal);
  },
);

t.test("VO1: a disk that is not empty, or not to be written, is never formatted", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const device = await loopDevice(t, `${folder}/image`, 8);
  const plugin = new LocalPlugin(folder);
  const readOnly = requestOf(folder, { path: device }, { mountOptions: ["ro"] });
  await t.rejects(plugin.setUp(readOnly, signal), {
    message: `cannot mount unformatted disk ${device} as we are manipulating it in read-only mode`,
  });
  // The boot sector of a disk with one partition: nothing but its table.
  const table = Buffer.alloc(512);
  table.set([0x00, 0x02, 0x03, 0x00, 0x83, 0x20, 0x20, 0x00, 0x00, 0x08, 0, 0, 0, 0x08, 0, 0], 446);
  table.set([0x55, 0xaa], 510);
  await writeFile(device, table);
  await t.rejects(plugin.setUp(requestOf(folder, { path: device }), signal), {
    message: /^failed to mount the volume as "ext4", it already contains unknown data, probably partitions\./,
  });
  t.same((await readFile(device)).subarray(0, 512), table, "the table is as it was");
  const odd = requestOf(folder, { path: device, fsType: "none-such" });
  await run("wipefs", "--all", device);
  await t.rejects(plugin.setUp(odd, signal), {
    message: 'cannot run "mkfs.none-such": this node has no such program; install it',
  });
  t.same(await mountPointsBelow(folder), []);
});

t.test("VO1: a disk is checked before it is mounted, on a node that can", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const device = await loopDevice(t, `${folder}/image`, 16);
  const plugin = new LocalPlugin(folder);
  const request = requestOf(folder, { path: device });
  await run("mkfs.ext4", "-q", device);
  const own = ["mount", "umount", "blkid"].map((name) => [name, `PATH=/usr/sbin:/usr/bin exec ${name} "$@"`]);
  const fsck = `echo "$*" >>${folder}/calls; read -r code <${folder}/code; exit $code`;
  await standInPrograms(t, folder, { ...Object.fromEntries(own), fsck }, true);
  const cases = [
    { name: "clean", code: 0, mounts: true },
    { name: "errors were corrected", code: 1, mounts: true },
    { name: "errors are left", code: 4, mounts: false },
    { name: "it cannot work on this kind", code: 8, mounts: true },
  ];
  for (const { name, code, mounts } of cases) {
    await writeFile(`${folder}/code`, `${code}\n`);
    if (mounts) await plugin.setUp(request, signal);
    else
      await t.rejects(plugin.setUp(request, signal), {
        message: `'fsck' found errors on device ${device} but could not correct them: `,
      });
    await plugin.tearDown(request.place, signal);
    t.pass(name);
  }
  t.same(
    (await readFile(`${folder}/calls`, "utf8")).trim().split("\n"),
    cases.map(() => `-a ${device}`),
  );
  await rm(`${folder}/bin/fsck`);
  await plugin.setUp(request, signal);
  t.ok(await mountAt(request.place.directory), "a node without fsck goes on without");
  await plugin.tearDown(request.place, signal);
});

t.test("VO14: a local volume of mode Block is shown as the device that it is", { skip }, async (t) => {
  const folder = await mountFolder(t);
  const device = await loopDevice(t, `${folder}/image`, 1);
  const plugin = new LocalPlugin(folder);
  const request = requestOf(folder, { path: device }, { isBlock: true });
  t.same(await plugin.setUp(request, signal), { hostPath: device });
  const link = `${folder}/pods/u1/volumeDevices/kubernetes.io~local-volume/pv`;
  t.equal(await readlink(link), device);
  await rm(link);
  await writeFile(link, "left by something else");
  await plugin.setUp(request, signal);
  t.equal(await readlink(link), device);
  await new LocalPlugin(folder).tearDown(request.place, signal);
  await t.rejects(lstat(link), { code: "ENOENT" });
  t.ok((await stat(device)).isBlockDevice());
});
