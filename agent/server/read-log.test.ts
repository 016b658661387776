import { appendFile, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { HttpError } from "./http-error.ts";
import { parseLogLine } from "./log-line.ts";
import { parseLogOptions } from "./log-options.ts";
import { readLog } from "./read-log.ts";

const signal = AbortSignal.timeout(20_000);
const stamp = (second: number): string => `2026-01-01T00:00:0${second}.000000001Z`;

t.test("LG2 LG4: a line of CRI or of Docker is read, and nonsense is not", async (t) => {
  const read = (line: string): unknown => {
    const entry = parseLogLine(Buffer.from(line));
    return entry === undefined ? undefined : [entry.stream, entry.text.toString()];
  };
  t.same(read(`${stamp(1)} stdout F hello there`), ["stdout", "hello there\n"]);
  t.same(read(`${stamp(1)} stderr P part`), ["stderr", "part"]);
  t.same(read(`${stamp(1)} stdout F `), ["stdout", "\n"]);
  t.same(read(`${stamp(1)} stdout F`), ["stdout", "\n"]);
  t.same(read(`{"log":"a\\n","stream":"stderr","time":"${stamp(1)}"}`), ["stderr", "a\n"]);
  t.equal(read("cut sh"), undefined);
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
    { name: "the last two lines", query: "tailLines=2", want: "ee\nfour\n" },
    { name: "none of it", query: "tailLines=0", want: "" },
    { name: "more lines than there are", query: "tailLines=99", want: "one\ntwo\nthree\nfour\n" },
    { name: "since a time", query: "sinceTime=2026-01-01T00:00:03Z", want: "three\nfour\n" },
    { name: "a number of bytes", query: "limitBytes=5", want: "one\nt" },
    { name: "one stream", query: "stream=Stderr", want: "two\n" },
    {
      name: "with times, once a line",
      query: "timestamps=true&tailLines=3",
      want: `${stamp(3)} three\n${stamp(4)} four\n`,
    },
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

t.test("agent §2.4: options that cannot be are refused", async (t) => {
  const status = (query: string): number => {
    try {
      parseLogOptions(new URLSearchParams(query), 0);
      return 200;
    } catch (cause) {
      return cause instanceof HttpError ? cause.status : 500;
    }
  };
  t.equal(status("tailLines=many"), 400);
  t.equal(status("tailLines=-1"), 422);
  t.equal(status("limitBytes=0"), 422);
  t.equal(status("sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z"), 422);
  t.equal(status("sinceTime=yesterday"), 400);
  t.equal(status("stream=Both"), 422);
});

async function logFile(t: Test, lines: readonly string[]): Promise<string> {
  const directory = await mkdtemp(path.join(tmpdir(), "keelson-log-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, "0.log");
  await writeFile(file, lines.map((line) => `${line}\n`).join(""));
  return file;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(10, undefined, { signal });
}
