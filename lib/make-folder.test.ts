import { stat, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { makeFolder } from "./make-folder.ts";

t.test("what is missing is made with its mode, what is there stays", async (t) => {
  const folder = path.join(t.testdir(), "a/b");
  await Promise.all([makeFolder(folder, 0o700), makeFolder(folder, 0o700)]);
  t.equal((await stat(path.dirname(folder))).mode & 0o777, 0o700);
  await makeFolder(folder, 0o755);
  t.equal((await stat(folder)).mode & 0o777, 0o700);
});

t.test("where nothing can be made, an error says so", { timeout: 5_000 }, async (t) => {
  await t.rejects(makeFolder("/proc/nothing/below", 0o700), {
    message: /"\/proc\/nothing\/below"/,
    cause: { code: "ENOENT" },
  });
  const file = path.join(t.testdir(), "file");
  await writeFile(file, "");
  await t.rejects(makeFolder(file, 0o700), { cause: { code: "EEXIST" } });
  await t.rejects(makeFolder(path.join(file, "below"), 0o700), { cause: { code: "ENOTDIR" } });
});
