import { existsSync } from "node:fs";
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { VolumeFiles } from "../plan/volume-files.ts";
import { writeAtomically } from "./atomic-writer.ts";

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
