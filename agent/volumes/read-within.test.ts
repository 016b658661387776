import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { readWithin } from "./read-within.ts";

t.test("EN1: a file is read within its volume, and nothing else is", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "within-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const volume = path.join(folder, "volume");
  await mkdir(path.join(volume, "a/b"), { recursive: true });
  await writeFile(path.join(folder, "secret"), "hush");
  await writeFile(path.join(volume, "a/b/app.env"), "A='1'");
  await symlink("b/app.env", path.join(volume, "a/link"));
  await symlink("../../secret", path.join(volume, "a/out"));
  await symlink(path.join(folder, "secret"), path.join(volume, "absolute"));
  await symlink("/", path.join(volume, "root"));
  execFileSync("mkfifo", [path.join(volume, "pipe")]);
  const read = async (file: string, maxBytes = 5): Promise<string | undefined> => {
    const bytes = await readWithin(volume, file, maxBytes);
    return bytes && Buffer.from(bytes).toString();
  };
  t.equal(await read("a/b/app.env"), "A='1'");
  t.equal(await read("a/link"), "A='1'", "a link that stays inside");
  t.equal(await read("a/none"), undefined);
  t.equal(await read("a/b/app.env/x").catch(() => "refused"), "refused");
  for (const file of ["a/out", "absolute", "root/etc/passwd", "../secret", "a/../../secret"])
    await t.rejects(read(file, 10_000), /leads out of the volume|must not contain/, file);
  await t.rejects(read("pipe"), /"pipe" is not a file/);
  await t.rejects(read("a/b"), /"a\/b" is not a file/);
  await t.rejects(read("a/b/app.env", 4), /has more than 4 bytes/);
});
