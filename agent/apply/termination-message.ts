import { open } from "node:fs/promises";
import path from "node:path";
import { terminationFileName } from "../plan/container-config.ts";
import { annotation } from "../plan/names.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { podDirectory } from "../volumes/pod-directories.ts";

const maxFileBytes = 4_096;
const maxLogBytes = 2_048;
const maxLogLines = 80;

/** What a container that has ended said last: its termination file, or when asked for, the end of its log. */
export async function terminationMessage(rootDir: string, ended: ContainerStatus): Promise<string> {
  const file = path.join(
    podDirectory(rootDir, ended.podUid),
    "containers",
    ended.name,
    terminationFileName(ended.podUid, ended.name, ended.attempt),
  );
  const said = await readHead(file, maxFileBytes);
  if (said !== "") return said;
  if (ended.annotations[annotation.terminationPolicy] !== "FallbackToLogsOnError" || ended.exitCode === 0)
    return "";
  const tail = await readTail(ended.logPath, 64 * 1024);
  return tail.replace(/\n$/, "").split("\n").slice(-maxLogLines).map(lineText).join("").slice(-maxLogBytes);
}

/** The words of one line of a log file: CRI's form or Docker's JSON. */
export function lineText(line: string): string {
  const cri = /^\S+ (?:stdout|stderr) ([FP])\S* ?(.*)$/s.exec(line);
  if (cri !== null) return `${cri[2] ?? ""}${cri[1] === "F" ? "\n" : ""}`;
  try {
    const parsed: unknown = JSON.parse(line);
    if (typeof parsed === "object" && parsed !== null && "log" in parsed && typeof parsed.log === "string")
      return parsed.log;
  } catch {
    // A line that was cut in the middle says nothing.
  }
  return "";
}

async function readHead(file: string, bytes: number): Promise<string> {
  return readPart(file, bytes, () => 0);
}

async function readTail(file: string, bytes: number): Promise<string> {
  return readPart(file, bytes, (size) => Math.max(0, size - bytes));
}

async function readPart(file: string, bytes: number, from: (size: number) => number): Promise<string> {
  try {
    await using handle = await open(file, "r");
    const { size } = await handle.stat();
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, from(size));
    return buffer.subarray(0, bytesRead).toString("utf8");
  } catch {
    return "";
  }
}
