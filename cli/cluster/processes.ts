import { readFile } from "node:fs/promises";
import { readIfThere } from "#lib/read-if-there.ts";

/** A process that one of our pid files names, still the one that was written there. */
export interface RunningProcess {
  readonly pid: number;
  /** Clock ticks since boot; with the pid it names a process for good (proc(5), field 22). */
  readonly startTime: string;
}

/** Reads a pid file; undefined when there is none or its process is gone. */
export async function readPidFile(file: string): Promise<RunningProcess | undefined> {
  const [, pid = "", startTime = ""] = /^(\d+) (\d+)\n?$/.exec((await readIfThere(file)) ?? "") ?? [];
  if (pid === "") return undefined;
  return (await startTimeOf(Number(pid))) === startTime ? { pid: Number(pid), startTime } : undefined;
}

/** What a pid file holds. */
export async function pidFileText(pid: number): Promise<string> {
  return `${pid} ${(await startTimeOf(pid)) ?? "0"}\n`;
}

/** True while the process runs. A zombie does not. */
export async function isRunning(process: RunningProcess): Promise<boolean> {
  return (await startTimeOf(process.pid)) === process.startTime;
}

async function startTimeOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[0] === "X" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
