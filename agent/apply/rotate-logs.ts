import { createReadStream, createWriteStream } from "node:fs";
import { readdir, rename, rm, stat } from "node:fs/promises";
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
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => undefined);
    if (signal.aborted) return;
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
 * with gzip and removes the oldest.
 * @param maxFiles files of one container, the one being written included.
 */
export async function rotate(
  logPath: string,
  maxFiles: number,
  nowMs: number,
  reopen: () => Promise<void>,
): Promise<void> {
  const old = await rotated(logPath);
  for (const file of old.slice(0, Math.max(0, old.length - maxFiles + 2))) await rm(file, { force: true });
  const stamp = new Date(nowMs).toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
  const target = `${logPath}.${stamp}`;
  await rename(logPath, target);
  try {
    await reopen();
  } catch (cause) {
    await rename(target, logPath); // the runtime still writes into it
    throw cause;
  }
  for (const file of await rotated(logPath)) {
    if (file === target || file.endsWith(".gz")) continue; // readers may still follow the newest
    await pipeline(createReadStream(file), createGzip(), createWriteStream(`${file}.tmp`));
    await rename(`${file}.tmp`, `${file}.gz`);
    await rm(file);
  }
}

async function reopened(runtime: Runtime, id: string, signal: AbortSignal): Promise<boolean> {
  return await runtime.reopenLog(id, signal).then(
    () => true,
    () => false,
  );
}

/** Rotated files of a log, oldest first. */
async function rotated(logPath: string): Promise<readonly string[]> {
  const folder = path.dirname(logPath);
  const prefix = `${path.basename(logPath)}.`;
  const names = await readdir(folder);
  return names
    .filter((name) => name.startsWith(prefix) && !name.endsWith(".tmp"))
    .toSorted()
    .map((name) => path.join(folder, name));
}
