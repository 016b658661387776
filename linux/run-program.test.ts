import { existsSync, readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { runProgram } from "./run-program.ts";

const { signal } = new AbortController();

t.test("a program is run to its end, and what it says is told", async (t) => {
  const script = "cat; echo wrong >&2; exit 3";
  const ended = await runProgram("sh", ["-c", script], { timeoutMs: 30_000, input: "in" }, signal);
  t.equal(ended.code, 3);
  t.equal(ended.output, "in");
  t.match(ended.said, /in/);
  t.match(ended.said, /wrong/);
  const env = await runProgram(
    "sh",
    ["-c", "echo $A $LC_ALL"],
    { timeoutMs: 30_000, env: { A: "b" } },
    signal,
  );
  t.equal(env.output, "b C\n");
});

t.test("a program that is not there, and one that is ended from outside, are told apart", async (t) => {
  await t.rejects(runProgram("mount.none-such", [], { timeoutMs: 30_000 }, signal), {
    code: "missing",
    message: 'cannot run "mount.none-such": this node has no such program; install it',
  });
  await t.rejects(runProgram("sh", ["-c", "echo why; kill -TERM $$"], { timeoutMs: 30_000 }, signal), {
    code: "failed",
    message: '"sh" was ended by SIGTERM: why',
  });
});

t.test("a program that takes too long is ended with its children", async (t) => {
  const mark = `4${Date.now() % 100_000}`;
  const isAlive = (): boolean =>
    readdirSync("/proc").some((pid) => {
      const file = `/proc/${pid}/cmdline`;
      try {
        return existsSync(file) && readFileSync(file, "utf8") === `sleep\0${mark}\0`;
      } catch {
        return false; // it ended meanwhile
      }
    });
  const hang = ["-c", `sleep ${mark} & echo began; wait`];
  await t.rejects(runProgram("sh", hang, { timeoutMs: 300 }, signal), {
    code: "late",
    message: /^"sh" has not ended after 0s/,
  });
  const stop = new AbortController();
  const running = runProgram("sh", hang, { timeoutMs: 30_000 }, stop.signal);
  while (!isAlive()) await new Promise((resolve) => setImmediate(resolve));
  stop.abort(new Error("the agent ends"));
  await t.rejects(running, { message: "the agent ends" });
  const deadline = Date.now() + 30_000;
  while (isAlive() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 10));
  t.notOk(isAlive(), "nothing is left of either");
});
