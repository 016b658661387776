import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { VolumeFiles } from "../plan/volume-files.ts";
import { writeAtomically } from "./atomic-writer.ts";

const files = (entries: Readonly<Record<string, string>>, mode = 0o644): VolumeFiles =>
  new Map(Object.entries(entries).map(([name, text]) => [name, { data: Buffer.from(text), mode }]));

t.test("VO6: files of a volume change all at once", async (t) => {
  const folder = t.testdir();
  t.equal(await writeAtomically(folder, files({ a: "1", "d/b": "2" }, 0o400), undefined), true);
  t.equal(await readFile(path.join(folder, "a"), "utf8"), "1");
  t.equal(await readFile(path.join(folder, "d/b"), "utf8"), "2");
  t.equal(await readlink(path.join(folder, "a")), "..data/a");
  t.equal((await stat(path.join(folder, "a"))).mode & 0o777, 0o400);
  t.equal(
    await writeAtomically(folder, files({ a: "1", "d/b": "2" }, 0o400), undefined),
    false,
    "nothing new writes nothing",
  );
  const before = await readlink(path.join(folder, "..data"));
  t.equal(await writeAtomically(folder, files({ a: "3" }), undefined), true);
  t.not(await readlink(path.join(folder, "..data")), before);
  t.same((await readdir(folder)).filter((name) => !name.startsWith("..2")).toSorted(), ["..data", "a"]);
  t.notOk(existsSync(path.join(folder, before)), "the old set is gone");
});

t.test("VO6: what an agent that died in between has left is finished or taken away", async (t) => {
  const folder = t.testdir();
  await writeAtomically(folder, files({ a: "1", b: "2" }), undefined);
  const shown = await readlink(path.join(folder, "..data"));
  await rm(path.join(folder, "b")); // it had not come to this link
  await symlink(path.join("..data", "c"), path.join(folder, "c")); // nor to taking this one away
  await mkdir(path.join(folder, "..2026_01_01_00_00_00.1"));
  await writeFile(path.join(folder, "..2026_01_01_00_00_00.1/secret"), "");
  await symlink("..2026_01_01_00_00_00.1", path.join(folder, "..data_tmp"));
  t.equal(await writeAtomically(folder, files({ a: "1", b: "2" }), undefined), false);
  t.same((await readdir(folder)).toSorted(), [shown, "..data", "a", "b"].toSorted());
  t.equal(await readFile(path.join(folder, "b"), "utf8"), "2");
});

t.test(
  "VO7: the group reads what the owner alone might, and a file has its own user",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const folder = t.testdir();
    const modes = new Map([
      ["private", { data: Buffer.from("1"), mode: 0o400 }],
      ["d/open", { data: Buffer.from("2"), mode: 0o644 }],
      ["token", { data: Buffer.from("3"), mode: 0o600, owner: 1_000 }],
    ]);
    const rights = async (name: string): Promise<string> => {
      const { mode, uid, gid } = await stat(path.join(folder, name));
      return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
    };
    await writeAtomically(folder, modes, undefined);
    t.same(
      [await rights("private"), await rights("d/open"), await rights("token"), await rights("..data")],
      ["0:0 400", "0:0 644", "1000:0 600", "0:0 755"],
    );
    await writeAtomically(folder, new Map([...modes, ["new", { data: Buffer.from(""), mode: 0 }]]), 4_242);
    t.same(
      [await rights("private"), await rights("d/open"), await rights("token"), await rights("new")],
      ["0:4242 440", "0:4242 644", "1000:4242 640", "0:4242 440"],
    );
    t.same([await rights("..data"), await rights("d")], ["0:4242 2755", "0:4242 2755"]);
  },
);
