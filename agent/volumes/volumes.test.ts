import { existsSync } from "node:fs";
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { mountPoints, unmountBelow } from "#linux/mount.ts";
import type { VolumeFiles } from "../plan/volume-files.ts";
import { writeAtomically } from "./atomic-writer.ts";
import { prepareHostPath } from "./plugins/prepare-host-path.ts";
import { bindSubPath } from "./sub-path.ts";

const none = { fsGroup: undefined, uid: undefined };
const files = (entries: Readonly<Record<string, string>>, mode = 0o644): VolumeFiles =>
  new Map(Object.entries(entries).map(([name, text]) => [name, { data: Buffer.from(text), mode }]));

t.test("VO6: files of a volume change all at once", async (t) => {
  const folder = t.testdir();
  t.equal(await writeAtomically(folder, files({ a: "1", "d/b": "2" }, 0o400), none), true);
  t.equal(await readFile(path.join(folder, "a"), "utf8"), "1");
  t.equal(await readFile(path.join(folder, "d/b"), "utf8"), "2");
  t.equal(await readlink(path.join(folder, "a")), "..data/a");
  t.equal((await stat(path.join(folder, "a"))).mode & 0o777, 0o400);
  t.equal(
    await writeAtomically(folder, files({ a: "1", "d/b": "2" }, 0o400), none),
    false,
    "nothing new writes nothing",
  );
  const before = await readlink(path.join(folder, "..data"));
  t.equal(await writeAtomically(folder, files({ a: "3" }), none), true);
  t.not(await readlink(path.join(folder, "..data")), before);
  t.same((await readdir(folder)).filter((name) => !name.startsWith("..2")).toSorted(), ["..data", "a"]);
  t.notOk(existsSync(path.join(folder, before)), "the old set is gone");
});

t.test("VO5: a hostPath of the wrong type is refused in the kubelet's words", async (t) => {
  const folder = t.testdir({ file: "" });
  await t.rejects(prepareHostPath({ path: `${folder}/file`, type: "Directory" }), {
    message: `hostPath type check failed: ${folder}/file is not a directory`,
  });
  await prepareHostPath({ path: `${folder}/made/deep`, type: "DirectoryOrCreate" });
  t.ok(existsSync(`${folder}/made/deep`));
});

t.test(
  "VO11: a subPath never leads out of its volume",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "sub-path-"));
    t.teardown(async () => {
      await unmountBelow(folder);
      await rm(folder, { recursive: true, force: true });
    });
    const volume = path.join(folder, "volume");
    await mkdir(path.join(volume, "in"), { recursive: true });
    await writeFile(path.join(volume, "in/file"), "yes");
    await symlink("/etc", path.join(volume, "out"));
    await symlink("in", path.join(volume, "link"));
    await t.rejects(bindSubPath(volume, "out/passwd", path.join(folder, "a")), /leads out of the volume/);
    await t.rejects(bindSubPath(volume, "../x", path.join(folder, "b")), /must not contain/);
    await bindSubPath(volume, "link/file", path.join(folder, "c"));
    t.equal(await readFile(path.join(folder, "c"), "utf8"), "yes");
    await chmod(volume, 0o2777);
    await bindSubPath(volume, "new/deep", path.join(folder, "d"));
    for (const made of ["new", "new/deep"])
      t.equal(
        (await stat(path.join(volume, made))).mode & 0o7777,
        0o2777,
        `${made} is made as the volume is`,
      );
    t.ok((await mountPoints()).includes(path.join(folder, "d")));
  },
);
