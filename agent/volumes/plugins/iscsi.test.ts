import { existsSync } from "node:fs";
import { chown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import t, { type Test } from "tap";
import type { ISCSIPersistentVolumeSource } from "#api/generated/kubernetes.ts";
import { mountAt, mountPointsBelow, unmountBelow } from "#linux/mount.ts";
import { loopDevice } from "../../../test/support/loop-device.ts";
import { standInPrograms } from "../../../test/support/stand-in-programs.ts";
import { testPod } from "../../plan/pod-fixtures.ts";
import { mountFolder, needsRoot, volumeRequest } from "../volume-fixture.ts";
import type { VolumeRequest } from "../volume-plugin.ts";
import { IscsiPlugin } from "./iscsi.ts";

const { signal } = new AbortController();
const lacking = ["/dev/loop-control", "/usr/sbin/mkfs.ext4", "/usr/sbin/blkid"].find(
  (file) => !existsSync(file),
);
const skip = needsRoot !== false ? needsRoot : lacking !== undefined && `needs ${lacking}`;
const iqn = "iqn.2001-04.com.example:disk-1";
const source: ISCSIPersistentVolumeSource = { targetPortal: "192.0.2.1", iqn, lun: 0, fsType: "ext4" };

/**
 * An iscsiadm that knows one target: a login shows its disk as a link to a loop device, as udev would. What it is asked
 * stands in `calls`; a file `away` takes the target away.
 */
async function scene(t: Test): Promise<{
  readonly folder: string;
  readonly plugin: () => IscsiPlugin;
  readonly calls: () => Promise<readonly string[]>;
}> {
  const folder = await mountFolder(t);
  const device = await loopDevice(t, `${folder}/image`, 16);
  await mkdir(`${folder}/links`);
  const link = `${folder}/links/ip-192.0.2.1:3260-iscsi-${iqn}-lun-0`;
  await standInPrograms(t, folder, {
    iscsiadm: `
echo "$*" >>${folder}/calls
case "$*" in
*--login*) [ -e ${folder}/away ] && { echo "connect to 192.0.2.1 timed out" >&2; exit 8; }
  [ -e ${link} ] && exit 15; ln -s ${device} ${link};;
*--logout*) rm ${link};;
"-m session") [ -e ${link} ] || exit 21; echo "tcp: [1] 192.0.2.1:3260,1 ${iqn} (non-flash)";;
esac`,
  });
  const secret = async (namespace: string, name: string): Promise<ReadonlyMap<string, string>> =>
    new Map([
      ["node.session.auth.username", `${namespace}/${name}`],
      ["node.session.auth.password", "hush"],
    ]);
  return {
    folder,
    plugin: () => new IscsiPlugin({ rootDir: folder, secret, links: `${folder}/links` }),
    calls: async () => (await readFile(`${folder}/calls`, "utf8")).trim().split("\n"),
  };
}

function requestOf(
  folder: string,
  iscsi: ISCSIPersistentVolumeSource,
  uid: string,
  more: Partial<VolumeRequest> = {},
): VolumeRequest {
  const plugin = new IscsiPlugin({ rootDir: folder, secret: async () => new Map(), links: "" });
  const pod = testPod({}, { metadata: { name: "web", namespace: "default", uid } });
  return volumeRequest(folder, plugin, { persistent: { iscsi } }, { pod, ...more });
}

t.test(
  "VO1: an iSCSI disk is logged in to, mounted for its Pods, and logged out of by the last",
  { skip, timeout: 110_000 },
  async (t) => {
    const { folder, plugin, calls } = await scene(t);
    const [first, second] = [
      requestOf(folder, source, "u1", { fsGroup: 4_242 }),
      requestOf(folder, source, "u2"),
    ];
    const one = plugin();
    const { hostPath } = await one.setUp(first, signal);
    t.equal(hostPath, `${folder}/pods/u1/volumes/kubernetes.io~iscsi/pv`);
    const shared = `${folder}/plugins/kubernetes.io/iscsi/iface-default/192.0.2.1:3260-${iqn}-lun-0`;
    t.match(await mountAt(shared), { type: "ext4" });
    t.equal((await stat(hostPath)).gid, 4_242);
    await writeFile(`${hostPath}/file`, "kept");
    const other = await one.setUp(second, signal);
    t.equal(await readFile(`${other.hostPath}/file`, "utf8"), "kept");
    await one.tearDown(second.place, signal);
    await chown(hostPath, 0, 0); // as if an agent had died before the volume was its group's
    const before = (await calls()).length;
    await one.setUp(first, signal);
    t.equal((await stat(hostPath)).gid, 4_242);
    t.equal((await calls()).length, before, "what is mounted asks for nothing");

    await one.setUp(second, signal);
    await plugin().tearDown(first.place, signal); // one that remembers nothing
    t.ok(await mountAt(shared), "the other Pod uses it still");
    t.notOk((await calls()).some((call) => call.includes("--logout")));
    await plugin().tearDown(second.place, signal);
    await plugin().tearDown(second.place, signal);
    t.same(await mountPointsBelow(folder), []);
    t.same(await readdir(`${folder}/links`), [], "logged out");
    t.same((await calls()).slice(-2), [
      `-m node -p 192.0.2.1:3260 -T ${iqn} --logout`,
      `-m node -p 192.0.2.1:3260 -T ${iqn} -o delete`,
    ]);
    await one.setUp(first, signal);
    t.equal(await readFile(`${hostPath}/file`, "utf8"), "kept", "it is not formatted again");
    await one.tearDown(first.place, signal);
  },
);

t.test("VO14: an iSCSI disk of mode Block is shown, and its session ends with it", { skip }, async (t) => {
  const { folder, plugin } = await scene(t);
  const request = requestOf(folder, source, "u1", { isBlock: true });
  const { hostPath } = await plugin().setUp(request, signal);
  t.ok((await stat(hostPath)).isBlockDevice());
  t.match(hostPath, /^\/dev\/loop\d+$/, "the device, not a link");
  await plugin().tearDown(request.place, signal);
  t.same(await readdir(`${folder}/links`), []);
  t.notOk(existsSync(request.place.deviceFile));
});

t.test(
  "VO1: an agent that died after the login, or before the logout, is followed by one that logs out",
  { skip },
  async (t) => {
    const { folder, plugin } = await scene(t);
    const sessions = (): Promise<readonly string[]> => readdir(`${folder}/links`);
    for (const isBlock of [false, true]) {
      const request = requestOf(folder, source, "u1", { isBlock });
      await plugin().setUp(request, signal);
      if (!isBlock) await unmountBelow(folder); // it had come as far as this
      await plugin().tearDown(request.place, signal);
      t.same(await sessions(), []);
    }
    const request = requestOf(folder, source, "u1", { mountOptions: ["none-such"] });
    await t.rejects(plugin().setUp(request, signal), /mount failed/, "logged in, and no further");
    t.equal((await sessions()).length, 1);
    await plugin().tearDown(request.place, signal);
    t.same(await sessions(), []);
    t.same(await readdir(`${folder}/plugins/kubernetes.io/iscsi/iface-default`), []);
    t.notOk(existsSync(request.place.directory));
  },
);

t.test(
  "VO1: a set-up or an end that is cut off anywhere leaves nothing that the next one does not end",
  { skip, timeout: 110_000 },
  async (t) => {
    const { folder, plugin } = await scene(t);
    const request = requestOf(folder, source, "u1", { fsGroup: 4_242 });
    const cut = async (
      afterMs: number,
      work: (within: AbortSignal) => Promise<unknown>,
    ): Promise<boolean> => {
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), afterMs);
      const isWhole = await work(stop.signal).then(
        () => true,
        () => false,
      );
      clearTimeout(timer);
      return isWhole;
    };
    const seen = new Set<boolean>();
    // Shorter and longer than it takes on any machine; what it was cut at is another thing each time.
    for (let afterMs = 0; afterMs < 20_000 && !seen.has(true); afterMs = afterMs * 1.5 + 1) {
      seen.add(await cut(afterMs, (within) => plugin().setUp(request, within)));
      await cut(afterMs, (within) => plugin().tearDown(request.place, within));
      await plugin().tearDown(request.place, signal);
      t.same(await mountPointsBelow(folder), [], `after ${Math.round(afterMs)} ms`);
      t.same(await readdir(`${folder}/links`), []);
      t.notOk(existsSync(request.place.directory));
    }
    t.ok(seen.has(false) && seen.has(true), "some were cut off, and the last was not");
    const { hostPath } = await plugin().setUp(request, signal);
    t.match(await mountAt(hostPath), { type: "ext4" });
    await plugin().tearDown(request.place, signal);
  },
);

t.test("VO1: an iSCSI disk that cannot be had says why, without its password", { skip }, async (t) => {
  const { folder, plugin, calls } = await scene(t);
  await writeFile(`${folder}/away`, "");
  const chap = { ...source, chapAuthSession: true, secretRef: { namespace: "storage", name: "chap" } };
  const request = requestOf(folder, chap, "u1");
  await t.rejects(plugin().setUp(request, signal), {
    message:
      "failed to get any path for iscsi disk, last err seen:\n" +
      `iscsi: iscsiadm -m node -p 192.0.2.1:3260 -T ${iqn} -I default --login ended with 8: connect to 192.0.2.1 timed out`,
  });
  t.ok((await calls()).some((call) => call.endsWith("-n node.session.auth.username -v storage/chap")));
  t.same(await mountPointsBelow(folder), []);
  const { secretRef: _, ...without } = chap;
  await t.rejects(plugin().setUp(requestOf(folder, without, "u1"), signal), {
    message: "CHAP enabled but secret name is empty",
  });
  await rm(`${folder}/away`);
  await symlink("/nowhere", `${folder}/links/ip-192.0.2.1:3260-iscsi-${iqn}-lun-0`);
  await rm(`${folder}/bin/iscsiadm`);
  await t.rejects(plugin().setUp(request, signal), {
    message: "iscsiadm is not on this node: install open-iscsi or iscsi-initiator-utils",
  });
});
