import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { gunzipSync } from "node:zlib";
import t, { type Test } from "tap";
import { type Clock, FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { parseLogOptions } from "../server/log-options.ts";
import { readLog } from "../server/read-log.ts";
import { rotate, rotateLogs } from "./rotate-logs.ts";

/** A runtime with one container, that writes a line into its log when it is told to reopen it. */
class LoggingRuntime extends FakeRuntime {
  readonly #logPath: string;

  constructor(clock: Clock, logPath: string) {
    super(clock);
    this.#logPath = logPath;
  }

  override async listContainers(): Promise<readonly ContainerStatus[]> {
    return [{ ...loggingStatus, logPath: this.#logPath }];
  }

  override async reopenLog(): Promise<void> {
    await writeFile(this.#logPath, "2026-01-01T00:00:01Z stdout F after\n");
  }
}

const loggingStatus: ContainerStatus = {
  id: "c",
  sandboxId: "s",
  podUid: "u",
  podName: "web",
  podNamespace: "default",
  name: "main",
  attempt: 0,
  state: "running",
  createdAtMs: 1,
  startedAtMs: 1,
  finishedAtMs: 0,
  exitCode: 0,
  signal: 0,
  reason: "",
  message: "",
  image: "",
  imageRef: "",
  labels: {},
  annotations: {},
  logPath: "",
  mounts: [],
};
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

t.test(
  "LG3: a log that an agent renamed and did not reopen before it died is reopened by the next",
  async (t) => {
    const log = await logIn(t, { "0.log": "2026-01-01T00:00:00Z stdout F before\n" });
    const signal = AbortSignal.timeout(30_000);
    const clock = new FakeClock(atMs);
    const stop = new AbortController();
    const runtime = new LoggingRuntime(clock, log);
    await rename(log, `${log}.${stamp}`);
    const options = parseLogOptions(new URLSearchParams("follow=true"), 0);
    let text = "";
    const config = { containerLogMaxSizeBytes: 1_000, containerLogMaxFiles: 5 };
    const rotating = rotateLogs({ runtime, clock, log: noLog, config }, stop.signal);
    // Whoever asks for the log meanwhile waits for it.
    const reading = (async () => {
      for await (const part of readLog(log, options, () => !stop.signal.aborted, systemClock, signal))
        text += part.toString();
    })();
    const awake = setInterval(() => {}, 100);
    await clock.advance(10_000);
    while (text === "") await systemClock.sleep(5, signal);
    t.equal(text, "after\n");
    t.same(await names(log), ["0.log", `0.log.${stamp}`]);
    stop.abort();
    await clock.advance(10_000);
    await Promise.all([rotating, reading]);
    clearInterval(awake);
  },
);

async function logIn(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "keelson-rotate-"));
  t.teardown(() => rm(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
  return path.join(folder, "0.log");
}

async function names(log: string): Promise<readonly string[]> {
  return (await readdir(path.dirname(log))).toSorted();
}
