import { appendFile, mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { HttpError } from "./http-error.ts";
import { parseLogLine } from "./log-line.ts";
import { collectGarbage } from "../../test/support/collect-garbage.ts";
import { fuzz, mutateBytes, oddTexts } from "../../test/support/mutate.ts";
import { rotate } from "../apply/rotate-logs.ts";
import { parseLogOptions } from "./log-options.ts";
import { readLog } from "./read-log.ts";

const signal = AbortSignal.timeout(100_000);
const stamp = (second: number): string => `2026-01-01T00:00:0${second}.000000001Z`;

t.test("LG2 LG4: a line of CRI or of Docker is read, and nonsense is not", async (t) => {
  const read = (line: string): unknown => {
    const entry = parseLogLine(Buffer.from(line));
    return entry === undefined ? undefined : [entry.stream, entry.text.toString(), entry.partial];
  };
  t.same(read(`${stamp(1)} stdout F hello there`), ["stdout", "hello there", false]);
  t.same(read(`${stamp(1)} stderr P part`), ["stderr", "part", true]);
  t.same(read(`${stamp(1)} stderr P:more part`), ["stderr", "part", true]);
  t.same(read(`${stamp(1)} stdout F `), ["stdout", "", false]);
  t.same(read(`${stamp(1)} stdout F`), ["stdout", "", false]);
  t.same(read(`{"log":"a\\n","stream":"stderr","time":"${stamp(1)}"}`), ["stderr", "a", false]);
  t.same(read(`{"log":"a","stream":"stdout","time":"${stamp(1)}"}`), ["stdout", "a", true]);
  t.equal(read("cut sh"), undefined);
  t.equal(read(`${stamp(1)} stdin F hello`), undefined);
  t.equal(read('{"log":"a'), undefined);
});

t.test("agent §2.4: what a reader asks for is what it gets", async (t) => {
  const file = await logFile(t, [
    `${stamp(1)} stdout F one`,
    `${stamp(2)} stderr F two`,
    `${stamp(3)} stdout P thr`,
    `${stamp(3)} stdout F ee`,
    `${stamp(4)} stdout F four`,
  ]);
  const cases = [
    { name: "all of it", query: "", want: "one\ntwo\nthree\nfour\n" },
    { name: "the last two lines, each whole", query: "tailLines=2", want: "three\nfour\n" },
    { name: "the old name of it", query: "tail=1", want: "four\n" },
    { name: "all by the old name", query: "tail=all&tailLines=1", want: "one\ntwo\nthree\nfour\n" },
    { name: "none of it", query: "tailLines=0", want: "" },
    { name: "more lines than there are", query: "tailLines=99", want: "one\ntwo\nthree\nfour\n" },
    { name: "since a time", query: "sinceTime=2026-01-01T00:00:03Z", want: "three\nfour\n" },
    { name: "a number of bytes", query: "limitBytes=5", want: "one\nt" },
    { name: "one stream", query: "stream=Stderr", want: "two\n" },
    {
      name: "with times, once a line",
      query: "timestamps=true&tailLines=3",
      want: `${stamp(2)} two\n${stamp(3)} three\n${stamp(4)} four\n`,
    },
    { name: "a flag without a value is set", query: "timestamps&tailLines=1", want: `${stamp(4)} four\n` },
  ];
  for (const { name, query, want } of cases) {
    const options = parseLogOptions(new URLSearchParams(query), 0);
    let text = "";
    for await (const part of readLog(file, options, () => false, systemClock, signal))
      text += part.toString();
    t.equal(text, want, name);
  }
});

t.test("agent §2.4: the tail of a large file is found without reading it all", async (t) => {
  const lines = Array.from({ length: 20_000 }, (_, index) => `${stamp(1)} stdout F line ${index}`);
  const file = await logFile(t, lines);
  const options = parseLogOptions(new URLSearchParams("tailLines=5000"), 0);
  let text = "";
  for await (const part of readLog(file, options, () => false, systemClock, signal)) text += part.toString();
  t.equal(text.split("\n")[0], "line 15000");
  t.equal(text.trimEnd().split("\n").length, 5_000);
});

t.test("LG3 agent §2.4: a followed log goes on through a rotation and ends with the container", async (t) => {
  const file = await logFile(t, [`${stamp(1)} stdout F before`]);
  let running = true;
  const options = parseLogOptions(new URLSearchParams("follow=true"), 0);
  let text = "";
  const reading = (async () => {
    for await (const part of readLog(file, options, () => running, systemClock, signal))
      text += part.toString();
  })();
  const awake = setInterval(() => {}, 100);
  await until(() => text === "before\n");
  await appendFile(file, `${stamp(2)} stdout F more\n${stamp(2)} stdout F cut`);
  await until(() => text.endsWith("more\n"));
  await appendFile(file, " short\n");
  await rename(file, `${file}.20260101-000000`);
  await appendFile(`${file}.20260101-000000`, `${stamp(3)} stdout F last of the old\n`);
  await writeFile(file, `${stamp(4)} stdout F first of the new\n`);
  await until(() => text.endsWith("new\n"));
  running = false;
  await reading;
  clearInterval(awake);
  t.equal(text, "before\nmore\ncut short\nlast of the old\nfirst of the new\n");
});

t.test("agent §2.4: --tail begins at the first byte of a line, however the runtime has cut it", async (t) => {
  const cri = [
    `${stamp(1)} stdout F first`,
    `${stamp(2)} stdout P ${"a".repeat(100_000)}`,
    `${stamp(2)} stdout P ${"b".repeat(100_000)}`,
    `${stamp(2)} stdout F c`,
    `${stamp(3)} stdout F last`,
    `${stamp(4)} stdout P unfinished`,
  ];
  const docker = (text: string): string => JSON.stringify({ log: text, stream: "stdout", time: stamp(1) });
  const json = [
    docker("first\n"),
    docker("a".repeat(100_000)),
    docker(`${"b".repeat(100_000)}\\n`),
    docker("c\n"),
    docker("last\n"),
    docker("unfinished"),
  ];
  for (const [name, lines, mid] of [
    ["CRI", cri, `${"a".repeat(100_000)}${"b".repeat(100_000)}c\n`],
    ["Docker", json, `${"a".repeat(100_000)}${"b".repeat(100_000)}\\nc\n`],
  ] as const) {
    const file = await logFile(t, lines);
    t.equal(await tail(file, 1), "unfinished", name);
    t.equal(await tail(file, 2), "last\nunfinished", name);
    t.ok((await tail(file, 3)) === `${mid}last\nunfinished`, `${name}: a line of three entries`);
    t.ok((await tail(file, 4)) === `first\n${mid}last\nunfinished`, `${name}: four`);
    t.ok((await tail(file, 5)) === `first\n${mid}last\nunfinished`, `${name}: more than there are`);
  }
  const empty = await logFile(t, []);
  t.equal(await tail(empty, 3), "", "an empty file");
  await writeFile(empty, "\n");
  t.equal(await tail(empty, 3), "", "one line feed");
});

t.test("agent §2.4: the tail of any file is what is left of all of it", async (t) => {
  const file = await logFile(t, []);
  const ran = await fuzz(200, 6_000, async (random) => {
    const entries = Array.from({ length: random.below(60) }, (_, index) => {
      const length = random.pick([0, 1, 200, 300, 16_384, 65_000, 65_536, 70_000]);
      const text = `${index}${String.fromCharCode(97 + random.below(26)).repeat(length)}`;
      const partial = random.below(3) === 0;
      if (random.below(2) === 0) return `${stamp(1)} stdout ${partial ? "P" : "F"} ${text}\n`;
      return `${JSON.stringify({ log: partial ? text : `${text}\n`, stream: "stderr", time: stamp(1) })}\n`;
    });
    await writeFile(file, entries.join(""));
    const lines = (await tail(file, undefined)).match(/[^\n]*\n|[^\n]+$/g) ?? [];
    for (const count of [1, 2, random.below(70)]) {
      const want = count === 0 ? [] : lines.slice(-count);
      if ((await tail(file, count)) !== want.join("")) throw new Error(`tail ${count} is not right`);
    }
  });
  t.ok(ran > 50, `${ran} files`);
});

t.test("LG2: an entry that its writer did not finish is shown, as far as it came", async (t) => {
  const file = await logFile(t, [`${stamp(1)} stdout F whole`]);
  await appendFile(file, `${stamp(2)} stdout F cut sh`);
  t.equal(await tail(file, 9), "whole\ncut sh");
  await writeFile(file, `nonsense\n${stamp(2)} stdout F good\n{"log":"a`);
  t.equal(await tail(file, 9), "good\n");
});

t.test("agent §2.4: times have nine digits, whatever the runtime wrote", async (t) => {
  const times = ["2026-01-01T00:00:01Z", "2026-01-01T00:00:01.5+02:00", "2026-01-01T00:00:01.123456789Z"];
  const file = await logFile(
    t,
    times.map((time) => `${time} stdout F x`),
  );
  t.same((await tail(file, undefined, "timestamps=1")).split("\n"), [
    "2026-01-01T00:00:01.000000000Z x",
    "2026-01-01T00:00:01.500000000+02:00 x",
    "2026-01-01T00:00:01.123456789Z x",
    "",
  ]);
});

t.test("LG3: a reader that was slow finds the files that were rotated and packed meanwhile", async (t) => {
  for (const runtime of ["cri", "docker"]) {
    const file = await logFile(t, [`${stamp(0)} stdout F 0`]);
    const base = Date.UTC(2026, 0, 1) / 1_000;
    await utimes(file, base, base);
    let running = true;
    const options = parseLogOptions(new URLSearchParams("follow=true"), 0);
    const reader = readLog(file, options, () => running, systemClock, signal);
    let text = "";
    while (text === "") text += String((await reader.next()).value);
    for (let round = 1; round <= 6; round += 1) {
      if (runtime === "cri") {
        // Ours: the time of the rotation in the name, all but the newest packed, at most four of the old kept.
        await rotate(file, 5, Date.UTC(2026, 0, 1, 0, 0, round), () => writeFile(file, ""));
      } else {
        for (let index = round - 1; index >= 1; index -= 1)
          await rename(`${file}.${index}`, `${file}.${index + 1}`);
        await rename(file, `${file}.1`);
        await writeFile(file, "");
      }
      await appendFile(file, `${stamp(round)} stdout F ${round}\n`);
      await utimes(file, base + round, base + round); // the kernel's clock of files has coarse ticks
    }
    running = false;
    const awake = setInterval(() => {}, 100);
    for await (const part of reader) text += part.toString();
    clearInterval(awake);
    const want = runtime === "cri" ? "0\n2\n3\n4\n5\n6\n" : "0\n1\n2\n3\n4\n5\n6\n";
    t.equal(text, want, `${runtime}: what is still there, in order, nothing twice`);
  }
});

t.test("agent §2.4: a log of 200 MB is never in memory, nor is a line of 50 MB", async (t) => {
  const file = await logFile(t, []);
  const line = `${stamp(1)} stdout F ${"x".repeat(180)}\n`;
  const block = line.repeat(5_000);
  for (let size = 0; size < 150_000_000; size += block.length) await appendFile(file, block);
  await appendFile(file, `${stamp(2)} stdout F `);
  for (let count = 0; count < 50; count += 1) await appendFile(file, Buffer.alloc(1_000_000, "y"));
  await appendFile(file, `\n${stamp(3)} stdout F end\n`);
  const cases = [
    { query: "tailLines=10", least: 50_000_000 },
    { query: "", least: 170_000_000 },
    { query: "follow=true&timestamps=true", least: 170_000_000 },
    { query: "stream=Stderr", least: 0 },
    { query: "sinceTime=2026-01-01T00:00:03Z", least: 4 },
  ];
  for (const { query, least } of cases) {
    const options = parseLogOptions(new URLSearchParams(query), 0);
    let bytes = 0;
    let most = 0;
    let largest = 0;
    let measured = 0;
    let last = "";
    const before = liveBytes();
    for await (const part of readLog(file, options, () => false, systemClock, signal)) {
      bytes += part.length;
      largest = Math.max(largest, part.length);
      if (part.length > 0) last = part.toString("utf8", part.length - 4);
      if (bytes - measured < 8_000_000) continue;
      measured = bytes;
      most = Math.max(most, liveBytes() - before);
    }
    t.ok(bytes >= least, `"${query}": ${bytes} bytes`);
    t.ok(largest < 256 * 1024, `"${query}": at most ${largest} at once`);
    if (!query.includes("Stderr")) t.equal(last, "end\n", `"${query}": to its end`);
    t.ok(most < 32_000_000, `"${query}": ${(most / 1e6).toFixed(1)} MB more than before`);
  }
});

t.test("agent §2.4: options that cannot be are refused in kubelet's words, with their names", async (t) => {
  const refused = (query: string): readonly [number, string] => {
    try {
      parseLogOptions(new URLSearchParams(query), 0);
      return [200, ""];
    } catch (cause) {
      return cause instanceof HttpError ? [cause.status, cause.message] : [500, String(cause)];
    }
  };
  const cases: readonly (readonly [string, number, RegExp])[] = [
    ["tailLines=many", 400, /^Unable to decode query: tailLines: cannot read "many"/],
    ["tailLines=", 400, /tailLines/],
    ["tailLines=1e3", 400, /tailLines/],
    ["tailLines=9223372036854775808", 400, /tailLines/],
    ["tailLines=-1", 422, /^tailLines: Invalid value: -1: must be greater than or equal to 0$/],
    ["tail=-1", 422, /^tailLines: Invalid value: -1/],
    ["limitBytes=0", 422, /^limitBytes: Invalid value: 0: must be greater than 0$/],
    ["sinceSeconds=0", 422, /^sinceSeconds: Invalid value: 0: must be greater than 0$/],
    ["sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422, /at most one of `sinceTime` or `sinceSeconds`/],
    ["sinceTime=yesterday", 400, /sinceTime/],
    ["sinceTime=2026", 400, /sinceTime/],
    ["sinceTime=2026-13-01T00:00:00Z", 400, /sinceTime/],
    ["stream=Both", 422, /^stream: Unsupported value: "Both": supported values: "All", "Stderr", "Stdout"$/],
    ["stream=", 422, /stream/],
    ["stream=Stdout&tailLines=1", 422, /`tailLines` and specific `stream` are mutually exclusive/],
    ["tailLines=%2B5&sinceSeconds=9223372036854775807&limitBytes=9223372036854775807", 200, /^$/],
    ["sinceTime=null&follow=banana&insecureSkipTLSVerifyBackend=x&container=y&nonsense=z", 200, /^$/],
  ];
  for (const [query, status, words] of cases) {
    const [got, message] = refused(query);
    t.equal(got, status, query);
    t.match(message, words, query);
  }
});

t.test("agent §2.4: no mutated query crashes, and every refusal names the field", async (t) => {
  const good: Readonly<Record<string, string>> = {
    follow: "true",
    previous: "false",
    timestamps: "1",
    sinceSeconds: "60",
    sinceTime: "2026-01-01T00:00:00Z",
    tailLines: "10",
    tail: "all",
    limitBytes: "1000",
    stream: "All",
  };
  let refusals = 0;
  const ran = await fuzz(20_000, 8_000, (random) => {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(good)) {
      if (random.below(2) === 0) continue;
      const odd = random.pick([
        value,
        random.pick(oddTexts),
        mutateBytes(random, Buffer.from(value)).toString(),
      ]);
      query.append(random.below(20) === 0 ? random.pick(oddTexts) : name, odd);
    }
    try {
      const options = parseLogOptions(new URLSearchParams(query.toString()), 1_800_000_000_000);
      for (const value of [options.sinceMs, options.tailLines, options.limitBytes])
        if (Number.isNaN(value)) throw new Error(`not a number came of ${query.toString()}`);
    } catch (cause) {
      if (!(cause instanceof HttpError)) throw cause;
      refusals += 1;
      const names = Object.keys(good).some((name) => cause.message.includes(name));
      if (!names || cause.message.length > 400 || (cause.status !== 400 && cause.status !== 422))
        throw new Error(`${cause.status} "${cause.message}" for ${query.toString()}`, { cause });
    }
  });
  t.ok(ran > 5_000 && refusals > 1_000, `${ran} queries, ${refusals} refused`);
});

async function tail(file: string, lines: number | undefined, more = ""): Promise<string> {
  const query = new URLSearchParams(more);
  if (lines !== undefined) query.set("tailLines", String(lines));
  let text = "";
  for await (const part of readLog(file, parseLogOptions(query, 0), () => false, systemClock, signal))
    text += part.toString();
  return text;
}

async function logFile(t: Test, lines: readonly string[]): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), "keelson-log-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, "0.log");
  await writeFile(file, lines.map((line) => `${line}\n`).join(""));
  return file;
}

/** What is in use, garbage not counted. */
function liveBytes(): number {
  collectGarbage();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(10, undefined, { signal });
}
