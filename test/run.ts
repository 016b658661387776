/**
 * Runs test files and ends with `N passed, N failed` (and `, N skipped`).
 *
 *   node test/run.ts                  every ring
 *   node test/run.ts unit             ring 1: beside the code, no privileges
 *   node test/run.ts golden netns     rings 2 and 3
 *   node test/run.ts e2e              ring 4: a real cluster
 *   node test/run.ts path/to/x.test.ts ...
 *
 * A test file is a program that prints TAP. Unit files run two at a time; the others one after another,
 * because each uses the machine as a whole.
 */
import { spawn } from "node:child_process";
import { glob } from "node:fs/promises";
import path from "node:path";
import { inspect } from "node:util";
import { Parser } from "tap-parser";

const root = path.join(import.meta.dirname, "..");
const rings: Readonly<
  Record<string, { readonly files: string; readonly jobs: number; readonly timeoutMs: number }>
> = {
  unit: {
    files: "{lib,api,linux,agent,proxy,overlay,cni,control,cli,test/support}/**/*.test.ts",
    jobs: 2,
    timeoutMs: 120_000,
  },
  tidy: { files: "test/*.test.ts", jobs: 2, timeoutMs: 60_000 },
  golden: { files: "test/golden/**/*.test.ts", jobs: 1, timeoutMs: 300_000 },
  flows: { files: "test/flows/**/*.test.ts", jobs: 1, timeoutMs: 600_000 },
  netns: { files: "test/netns/**/*.test.ts", jobs: 1, timeoutMs: 600_000 },
  e2e: { files: "test/e2e/**/*.test.ts", jobs: 1, timeoutMs: 1_800_000 },
};

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
const words = process.argv.slice(2);
const chosen = words.length === 0 ? Object.keys(rings) : words;
for (const word of chosen) {
  const ring = rings[word];
  if (ring === undefined && !word.endsWith(".test.ts")) {
    console.error(
      `cannot run "${word}": want a ring (${Object.keys(rings).join(", ")}) or the path of a .test.ts file`,
    );
    process.exit(2);
  }
  const files =
    ring === undefined
      ? [word]
      : (await Array.fromAsync(glob(ring.files, { cwd: root, exclude: ["**/node_modules/**"] }))).sort();
  await inParallel(ring?.jobs ?? 1, files, (file) => runFile(file, ring?.timeoutMs ?? 1_800_000));
}
const skipped = totals.skipped === 0 ? "" : `, ${totals.skipped} skipped`;
console.log(`${totals.passed} passed, ${totals.failed} failed${skipped}`);
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1;

async function inParallel<T>(
  jobs: number,
  items: readonly T[],
  run: (item: T) => Promise<void>,
): Promise<void> {
  const rest = [...items];
  const worker = async (): Promise<void> => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await run(item);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

async function runFile(file: string, timeoutMs: number): Promise<void> {
  const started = performance.now();
  const before = { ...totals };
  const child = spawn(process.execPath, [file], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: path.join(root, ".cache/compile"),
      TAP: "1",
      TAP_TIMEOUT: "0",
    },
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const failures: string[] = [];
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr = (stderr + chunk.toString("utf8")).slice(-20_000);
  });
  const parser = new Parser();
  watch(parser, [], failures);
  child.stdout.pipe(parser);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
    child.once("close", (...how) => resolve(how));
  });
  clearTimeout(timer);
  const failedHere = totals.failed - before.failed;
  const ranHere =
    totals.passed + totals.skipped + totals.failed - before.passed - before.skipped - before.failed;
  if ((code !== 0 && failedHere === 0) || ranHere === 0) {
    totals.failed += 1;
    failures.push(
      signal === "SIGKILL"
        ? `did not end within ${timeoutMs} ms`
        : `ended with code ${code ?? signal} after ${ranHere} tests`,
    );
  }
  const seconds = ((performance.now() - started) / 1_000).toFixed(1);
  console.log(`${failures.length === 0 ? "ok  " : "FAIL"} ${file} (${seconds} s)`);
  for (const failure of failures) console.log(`     ${failure.replaceAll("\n", "\n     ")}`);
  if (failures.length > 0 && stderr !== "")
    console.log(`     stderr:\n     ${stderr.trim().replaceAll("\n", "\n     ")}`);
}

/** Counts leaves only: the line that sums up a subtest says nothing new. */
function watch(parser: Parser, names: readonly string[], failures: string[]): void {
  let closesSubtest = false;
  parser.on("child", (child: Parser) => {
    closesSubtest = true;
    watch(child, [...names, child.name], failures);
  });
  parser.on("assert", (result) => {
    const summary = closesSubtest;
    closesSubtest = false;
    if (summary && (result.ok || failures.length > 0)) return;
    if (result.skip !== false || result.todo !== false) {
      totals.skipped += 1;
      console.log(`skip ${[...names, result.name].join(" > ")}: ${String(result.skip || result.todo)}`);
    } else if (result.ok) totals.passed += 1;
    else {
      totals.failed += 1;
      failures.push(
        `${[...names, result.name].join(" > ")}\n${inspect(result.diag ?? {}, { depth: 8, maxStringLength: 20_000, breakLength: 110 })}`,
      );
    }
  });
  parser.on("bailout", (reason: string) => failures.push(`bailed out: ${reason}`));
}
