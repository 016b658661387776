import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { rotate } from "./rotate-logs.ts";

const atMs = Date.UTC(2026, 0, 1);
const stamp = "20260101-000000";

t.test("LG3: a log is renamed, begun anew, and the ones before the last are packed", async (t) => {
  const log = await logIn(t, { "0.log": "new", "0.log.20251231-235900": "old" });
  const old = `${log}.20251231-235900`;
  await chmod(old, 0o640);
  const before = await stat(old);
  await rotate(log, 5, atMs, () => writeFile(log, ""));
  t.same(await names(log), ["0.log", "0.log.20251231-235900.gz", `0.log.${stamp}`]);
  t.equal(gunzipSync(await readFile(`${old}.gz`)).toString(), "old");
  t.equal(await readFile(`${log}.${stamp}`, "utf8"), "new", "the newest is left for its readers");
  const packed = await stat(`${old}.gz`);
  t.equal(packed.mode & 0o777, 0o640, "no more people may read it than before");
  t.ok(Math.abs(packed.mtimeMs - before.mtimeMs) < 0.01, "it is as old as what is in it");
});

t.test("LG3: what an agent that died in a rotation left behind is put right by the next", async (t) => {
  const cases: readonly {
    name: string;
    files: Readonly<Record<string, string>>;
    after: readonly string[];
  }[] = [
    {
      name: "while it packed",
      files: { "0.log": "c", "0.log.20251231-235900": "b", "0.log.20251231-235900.tmp": "half" },
      after: ["0.log", "0.log.20251231-235900.gz", `0.log.${stamp}`],
    },
    {
      name: "before it removed what it had packed",
      files: { "0.log": "c", "0.log.20251231-235900": "b", "0.log.20251231-235900.gz": "b, packed" },
      after: ["0.log", "0.log.20251231-235900.gz", `0.log.${stamp}`],
    },
    {
      name: "with more files than are kept now",
      files: { "0.log": "e", "0.log.1": "a", "0.log.2": "b", "0.log.3.gz": "c", "0.log.4": "d" },
      after: ["0.log", `0.log.${stamp}`, "0.log.4.gz"],
    },
  ];
  for (const { name, files, after } of cases) {
    const log = await logIn(t, files);
    await rotate(log, 3, atMs, () => writeFile(log, ""));
    t.same(await names(log), after.toSorted(), name);
  }
});

t.test("LG3: a runtime that does not reopen keeps its log under its name", async (t) => {
  const log = await logIn(t, { "0.log": "text" });
  const refusing = rotate(log, 5, atMs, async () => {
    throw new Error("no");
  });
  await t.rejects(refusing, /no/);
  t.same(await names(log), ["0.log"]);
});

t.test("LG3: two rotations in one second take nothing from each other", async (t) => {
  const log = await logIn(t, { "0.log": "one" });
  await rotate(log, 5, atMs, () => writeFile(log, "two"));
  await rotate(log, 5, atMs, () => writeFile(log, "three"));
  await rotate(log, 5, atMs, () => writeFile(log, "four"));
  t.same(await names(log), [
    "0.log",
    "0.log.20260101-000000.gz",
    "0.log.20260101-000001.gz",
    "0.log.20260101-000002",
  ]);
  const first = gunzipSync(await readFile(`${log}.20260101-000000.gz`)).toString();
  const second = gunzipSync(await readFile(`${log}.20260101-000001.gz`)).toString();
  t.same([first, second, await readFile(`${log}.20260101-000002`, "utf8")], ["one", "two", "three"]);
});

async function logIn(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "keelson-rotate-"));
  t.teardown(() => rm(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
  return path.join(folder, "0.log");
}

async function names(log: string): Promise<readonly string[]> {
  return (await readdir(path.dirname(log))).toSorted();
}
