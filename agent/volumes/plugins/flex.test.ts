import { chmod, lstat, mkdir, readFile, stat, writeFile } from "node:fs/promises";
import t, { type Test } from "tap";
import { mountPointsBelow } from "#linux/mount.ts";
import { parseFlexAnswer } from "../../plan/flex-options.ts";
import { mountFolder, needsRoot as skip, volumeRequest } from "../volume-fixture.ts";
import { type FlexPlugin, flexPlugins } from "./flex.ts";

const { signal } = new AbortController();

/** The one driver `example.com/disk` of a node, as a shell script; what it is called with stands in `calls`. */
async function driver(
  t: Test,
  script: string,
): Promise<{ readonly folder: string; readonly plugin: FlexPlugin }> {
  const folder = await mountFolder(t);
  const place = `${folder}/exec/example.com~disk`;
  await mkdir(place, { recursive: true });
  await mkdir(`${folder}/exec/empty`);
  await writeFile(`${place}/disk`, `#!/bin/sh\necho "$*" >>${folder}/calls\n${script}`);
  await chmod(`${place}/disk`, 0o755);
  const secret = async (namespace: string, name: string): Promise<ReadonlyMap<string, string>> =>
    new Map([["key", `${namespace}/${name}`]]);
  const [plugin, ...others] = await flexPlugins(`${folder}/exec`, secret);
  if (plugin === undefined || others.length > 0) throw new Error("one driver was to be found");
  return { folder, plugin };
}

const works = `case "$1" in
init) echo '{"status": "Success", "capabilities": {"attach": false}}';;
mount) mount -t tmpfs none "$2" && echo '{"status": "Success"}';;
unmount) umount "$2" && echo '{"status": "Success"}';;
*) echo '{"status": "Not supported"}';;
esac`;

t.test("VO1: a FlexVolume is mounted and unmounted by its driver", { skip }, async (t) => {
  const { folder, plugin } = await driver(t, works);
  t.equal(plugin.name, "example.com/disk");
  const flexVolume = {
    driver: "example.com/disk",
    fsType: "ext4",
    options: { size: "1" },
    secretRef: { name: "s" },
  };
  const request = volumeRequest(folder, plugin, { flexVolume }, { fsGroup: 4_242 });
  const { directory } = request.place;
  t.equal(directory, `${folder}/pods/u1/volumes/example.com~disk/data`);
  t.ok(plugin.serves(request.source));
  t.notOk(plugin.serves({ from: "pod", volume: { name: "x", flexVolume: { driver: "example.com/other" } } }));
  t.same(await plugin.setUp(request, signal), { hostPath: directory });
  t.equal((await stat(directory)).gid, 4_242);
  await plugin.setUp(request, signal);
  const [init, mount, ...others] = (await readFile(`${folder}/calls`, "utf8")).trim().split("\n");
  t.equal(init, "init");
  t.same(others, [], "mounted once");
  t.same(JSON.parse(mount?.replace(`mount ${directory} `, "") ?? ""), {
    "kubernetes.io/fsType": "ext4",
    "kubernetes.io/readwrite": "rw",
    "kubernetes.io/pvOrVolumeName": "data",
    "kubernetes.io/pod.name": "web",
    "kubernetes.io/pod.namespace": "default",
    "kubernetes.io/pod.uid": "u1",
    "kubernetes.io/serviceAccount.name": "",
    "kubernetes.io/mounterArgs.FsGroup": "4242",
    "kubernetes.io/secret/key": Buffer.from("default/s").toString("base64"),
    size: "1",
  });
  await plugin.tearDown(request.place, signal);
  await plugin.tearDown(request.place, signal);
  t.same(await mountPointsBelow(folder), []);
  await t.rejects(lstat(directory), { code: "ENOENT" });
});

t.test(
  "VO1: a FlexVolume driver that fails, attaches or says nothing is told in clear words",
  { skip },
  async (t) => {
    const cases = [
      {
        script: works.replace(/mount\) .*/, `mount) echo '{"status": "Failure", "message": "no disk"}';;`),
        message: "mount command failed, status: Failure, reason: no disk",
      },
      {
        script: `echo '{"status": "Success"}'`,
        message:
          'FlexVolume driver "example.com/disk" attaches its volumes, which this node does not do; use a CSI driver',
      },
      {
        script: "echo oops",
        message: 'FlexVolume driver "example.com/disk" init: it said no JSON: oops',
      },
      {
        script: works.replace("mount)", "nothing)"),
        message: 'FlexVolume driver "example.com/disk" does not support mount',
      },
    ];
    for (const { script, message } of cases) {
      const { folder, plugin } = await driver(t, script);
      const request = volumeRequest(folder, plugin, { flexVolume: { driver: "example.com/disk" } });
      await t.rejects(plugin.setUp(request, signal), { message });
      await t.rejects(lstat(request.place.directory), { code: "ENOENT" });
    }
    for (const text of ["", "[]", "1", '{"status": "Fine"}'])
      t.throws(() => parseFlexAnswer(text), /it (said|answered)/);
  },
);
