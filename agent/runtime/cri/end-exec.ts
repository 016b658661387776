import { readdir, readFile } from "node:fs/promises";

/** The kernel counts start times in hundredths of a second for every program. @see proc(5), CLK_TCK */
const ticksPerSecond = 100;
/** A start time and the time since the boot are both rounded down to a tick: an age is wrong by less than two. */
const slackSeconds = 0.02;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly isLeader: boolean;
  readonly ageSeconds: number;
}

/**
 * Ends the process group of a command that a runtime runs in a container by ExecSync, which tells no pid: containerd
 * would end the first process alone and then wait for those it has started. The command's process is a child of the
 * container's shim, in the container's cgroup, leads its own group and has the command's words.
 * @param initPid the container's own process.
 * @param startedMs when the runtime was asked to run it, by `performance.now()`: what is older is not ours.
 * @returns whether it was found.
 */
export async function endExec(
  initPid: number,
  command: readonly string[],
  startedMs: number,
): Promise<boolean> {
  const upSeconds = Number((await read("/proc/uptime")).split(" ")[0]);
  // Taken after the time that ages are counted from: a slow machine must not make ours seem too old.
  const withinSeconds = (performance.now() - startedMs) / 1_000 + slackSeconds;
  const init = await processOf(initPid, upSeconds);
  if (init === undefined || init.parent <= 1) return false;
  const cgroup = await read(`/proc/${initPid}/cgroup`);
  const words = command.join("\0");
  const found: Process[] = [];
  for (const pid of await childrenOf(init.parent)) {
    if (pid === initPid) continue;
    const process = await processOf(pid, upSeconds);
    if (process === undefined || !process.isLeader) continue;
    if (process.ageSeconds > withinSeconds) continue;
    if ((await read(`/proc/${pid}/cgroup`)) !== cgroup) continue;
    // A script's interpreter stands before the words, as words of its own.
    const line = (await read(`/proc/${pid}/cmdline`)).replace(/\0$/, "");
    if (line !== words && !line.endsWith(`\0${words}`)) continue;
    found.push(process);
  }
  // The same command may have been started again since: ours is the oldest that is not too old.
  const [first] = found.toSorted((a, b) => b.ageSeconds - a.ageSeconds);
  if (first === undefined) return false;
  try {
    process.kill(-first.pid, "SIGKILL");
    return true;
  } catch {
    return false; // it has just ended by itself
  }
}

/** Every thread of a program may be the parent of some. */
async function childrenOf(pid: number): Promise<readonly number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = await Promise.all(threads.map((thread) => read(`/proc/${pid}/task/${thread}/children`)));
  return lists
    .flatMap((list) => list.trim().split(/\s+/))
    .flatMap((one) => (one === "" ? [] : [Number(one)]));
}

async function processOf(pid: number, upSeconds: number): Promise<Process | undefined> {
  const stat = await read(`/proc/${pid}/stat`);
  // The name in brackets may hold anything: fields are counted after it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [, parent, group] = fields.map(Number);
  const started = Number(fields[19]);
  if (parent === undefined || Number.isNaN(started)) return undefined;
  return { pid, parent, isLeader: group === pid, ageSeconds: upSeconds - started / ticksPerSecond };
}

async function read(file: string): Promise<string> {
  return await readFile(file, "utf8").catch(() => "");
}
