import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { endExec } from "./end-exec.ts";

t.test("agent §4.1: the command that took too long is ended, and none that only looks like it", async (t) => {
  // The shim is this process: the container's own process and its commands are its children.
  const children: ChildProcess[] = [];
  t.teardown(() => {
    for (const child of children) child.kill("SIGKILL");
  });
  const start = async (name: string, ...words: readonly string[]): Promise<ChildProcess> => {
    const child = spawn("/bin/sleep", words, { argv0: name, detached: true, stdio: "ignore" });
    children.push(child);
    await once(child, "spawn");
    return child;
  };
  const init = await start("init", "60");
  const older = await start("sleep", "61");
  await new Promise((resolve) => setTimeout(resolve, 60)); // several ticks: ages are told in them
  const startedMs = performance.now();
  const alike = await start("my-sleep", "61");
  const end = (): Promise<boolean> => endExec(init.pid ?? 0, ["sleep", "61"], startedMs);
  t.equal(await end(), false, "neither an older one nor one whose name ends alike");
  const ours = await start("sleep", "61");
  t.equal(await end(), true);
  await once(ours, "exit");
  t.equal(ours.signalCode, "SIGKILL");
  for (const other of [init, older, alike]) t.equal(other.signalCode ?? other.exitCode, null);
});
