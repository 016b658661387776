import { existsSync } from "node:fs";
import { mkdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import t, { type Test } from "tap";
import type { FCVolumeSource } from "#api/generated/kubernetes.ts";
import { mountAt, mountPointsBelow } from "#linux/mount.ts";
import { loopDevice } from "../../../test/support/loop-device.ts";
import { testPod } from "../../plan/pod-fixtures.ts";
import { mountFolder, needsRoot, volumeRequest } from "../volume-fixture.ts";
import type { VolumeRequest } from "../volume-plugin.ts";
import { FcPlugin } from "./fc.ts";

const { signal } = new AbortController();
const lacking = ["/dev/loop-control", "/usr/sbin/mkfs.ext4", "/usr/sbin/blkid"].find(
  (file) => !existsSync(file),
);
const skip = needsRoot !== false ? needsRoot : lacking !== undefined && `needs ${lacking}`;
const fc: FCVolumeSource = { targetWWNs: ["500a0982991b8dc5"], lun: 0 };

/** Folders as udev and the kernel have them, with one adapter, and a loop device for the disk. */
async function scene(t: Test): Promise<{
  readonly folder: string;
  readonly device: string;
  readonly plugin: () => FcPlugin;
  readonly requestOf: (uid: string, more?: Partial<VolumeRequest>) => VolumeRequest;
}> {
  const folder = await mountFolder(t);
  const device = await loopDevice(t, `${folder}/image`, 16);
  for (const place of ["links/by-path", "sys/class/scsi_host/host1", `sys/block/${device.slice(5)}/device`])
    await mkdir(`${folder}/${place}`, { recursive: true });
  await writeFile(`${folder}/sys/block/${device.slice(5)}/device/delete`, "");
  const plugin = (): FcPlugin =>
    new FcPlugin({ rootDir: folder, links: `${folder}/links`, sys: `${folder}/sys` });
  const requestOf = (uid: string, more: Partial<VolumeRequest> = {}): VolumeRequest => {
    const pod = testPod({}, { metadata: { name: "web", namespace: "default", uid } });
    return volumeRequest(folder, plugin(), { persistent: { fc } }, { pod, ...more });
  };
  return { folder, device, plugin, requestOf };
}

t.test(
  "VO1: a Fibre Channel disk is looked for, mounted for its Pods, and let go of by the last",
  { skip, timeout: 110_000 },
  async (t) => {
    const { folder, device, plugin, requestOf } = await scene(t);
    const [first, second] = [requestOf("u1", { fsGroup: 4_242 }), requestOf("u2")];
    await t.rejects(plugin().setUp(first, signal), { message: "no fc disk found" });
    t.equal(
      await readFile(`${folder}/sys/class/scsi_host/host1/scan`, "utf8"),
      "- - -",
      "the adapter has looked",
    );
    await symlink(device, `${folder}/links/by-path/pci-0000:41:00.0-fc-0x500a0982991b8dc5-lun-0`);
    const { hostPath } = await plugin().setUp(first, signal);
    const shared = `${folder}/plugins/kubernetes.io/fc/500a0982991b8dc5-lun-0`;
    t.match(await mountAt(shared), { type: "ext4", source: device });
    await writeFile(`${hostPath}/file`, "kept");
    t.equal((await stat(hostPath)).gid, 4_242);
    const other = await plugin().setUp(second, signal);
    t.equal(await readFile(`${other.hostPath}/file`, "utf8"), "kept");
    const deleted = (): Promise<string> =>
      readFile(`${folder}/sys/block/${device.slice(5)}/device/delete`, "utf8");
    await plugin().tearDown(first.place, signal);
    t.equal(await deleted(), "", "the other Pod uses it still");
    await plugin().tearDown(second.place, signal);
    t.equal(await deleted(), "1");
    t.same(await mountPointsBelow(folder), []);
    for (const place of [shared, first.place.directory, second.place.directory])
      t.notOk(existsSync(place), place);
  },
);

t.test("VO14: a Fibre Channel disk of mode Block is shown as the device that it is", { skip }, async (t) => {
  const { folder, device, plugin, requestOf } = await scene(t);
  await symlink(device, `${folder}/links/by-path/fc-0x500a0982991b8dc5-lun-0`);
  const request = requestOf("u1", { isBlock: true });
  t.same(await plugin().setUp(request, signal), { hostPath: device });
  await plugin().tearDown(request.place, signal);
  t.notOk(existsSync(request.place.deviceFile));
});
