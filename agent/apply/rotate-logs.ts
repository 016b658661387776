import { createReadStream, createWriteStream } from "node:fs";
import { access, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import path from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { errorText } from "#lib/log.ts";
import { isMissing } from "#lib/read-if-there.ts";
import type { AgentContext } from "../agent-context.ts";
import type { AgentConfig } from "../config.ts";
import type { Runtime } from "../runtime/runtime.ts";

const everyMs = 10_000;

/** What rotation needs of the agent. */
export interface RotationPorts extends Pick<AgentContext, "runtime" | "clock" | "log"> {
  readonly config: Pick<AgentConfig, "containerLogMaxSizeBytes" | "containerLogMaxFiles">;
}

/** Rotates the logs of running containers that grew too long, until the signal. Docker rotates its own. */
export async function rotateLogs(ports: RotationPorts, signal: AbortSignal): Promise<void> {
  const { runtime, clock, log, config } = ports;
  if (runtime.name === "docker") return;
  // At once, too: an agent before this one may have died between a renaming and the reopening.
  for (; !signal.aborted; await clock.sleep(everyMs, signal).catch(() => undefined)) {
    const containers = await runtime.listContainers({}, signal).catch(() => []);
    for (const { id, state, logPath } of containers) {
      if (state !== "running" || logPath === "") continue;
      try {
        const { size } = await stat(logPath);
        if (size <= config.containerLogMaxSizeBytes) continue;
        await rotate(logPath, config.containerLogMaxFiles, clock.now(), () => runtime.reopenLog(id, signal));
      } catch (cause) {
        // An agent that ended between the rename and the reopening left the runtime writing into the old file.
        if (isMissing(cause) && (await reopened(runtime, id, signal))) continue;
        if (!signal.aborted) log.warn("cannot rotate a log", { logPath, cause: errorText(cause) });
      }
    }
  }
}

/**
 * Renames the log to `<log>.<yyyymmdd-hhmmss>`, lets the runtime begin a new one, packs the ones before the last
 * with gzip and removes the oldest. What an agent that ended in the middle of it left behind is put right.
 * @param maxFiles files of one container, the one being written included; at least 2.
 */
export async function rotate(
  logPath: string,
  maxFiles: number,
  nowMs: number,
  reopen: () => Promise<void>,
): Promise<void> {
  const old = await tidied(logPath);
  for (const file of old.slice(0, Math.max(0, old.length - maxFiles + 2))) await rm(file, { force: true });
  const target = await freeName(logPath, nowMs);
  await rename(logPath, target);
  try {
    await reopen();
  } catch (cause) {
    await rename(target, logPath); // the runtime still writes into it
    throw cause;
  }
  for (const file of await tidied(logPath)) {
    if (file !== target && !file.endsWith(".gz")) await pack(file); // readers may still follow the newest
  }
}

/** A name of its own, also for two rotations in one second: a rename would take the older file's place. */
async function freeName(logPath: string, nowMs: number): Promise<string> {
  for (let ms = nowMs; ; ms += 1_000) {
    const stamp = new Date(ms).toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
    const name = `${logPath}.${stamp}`;
    if (!(await isThere(name)) && !(await isThere(`${name}.gz`))) return name;
  }
}

async function isThere(file: string): Promise<boolean> {
  return await access(file).then(
    () => true,
    () => false,
  );
}

/** Packs a file. It keeps its mode, and the time of its last write: who follows the log tells its files by it. */
async function pack(file: string): Promise<void> {
  const { mode, atimeMs, mtimeMs } = await stat(file);
  const packing = `${file}.tmp`;
  const output = createWriteStream(packing, { mode: mode & 0o777 });
  await pipeline(createReadStream(file), createGzip(), output);
  await utimes(packing, atimeMs / 1_000, mtimeMs / 1_000);
  await rename(packing, `${file}.gz`);
  await rm(file);
}

async function reopened(runtime: Runtime, id: string, signal: AbortSignal): Promise<boolean> {
  return await runtime.reopenLog(id, signal).then(
    () => true,
    () => false,
  );
}

/** Rotated files of a log, oldest first. Half a packed file goes, and a packed one whose original is still there. */
async function tidied(logPath: string): Promise<readonly string[]> {
  const folder = path.dirname(logPath);
  const prefix = `${path.basename(logPath)}.`;
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix));
  const all = new Set(names);
  const isHalf = (name: string): boolean =>
    name.endsWith(".tmp") || (name.endsWith(".gz") && all.has(name.slice(0, -3)));
  for (const name of names.filter(isHalf)) await rm(path.join(folder, name), { force: true });
  return names
    .filter((name) => !isHalf(name))
    .toSorted()
    .map((name) => path.join(folder, name));
}
