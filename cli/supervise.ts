import { type ChildProcess, spawn } from "node:child_process";
import { openSync } from "node:fs";
import { rename, stat } from "node:fs/promises";
import path from "node:path";
import { backoffMs } from "#lib/backoff.ts";
import { systemClock } from "#lib/clock.ts";
import { bool, type Flags, parseFlags, renderFlags, text } from "#lib/flags.ts";
import { errorText, jsonLog, type Log } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isRunning, pidFileText, readPidFile } from "./cluster/processes.ts";
import type { ServiceSpec } from "./cluster/services.ts";
import { readJson, remove, writeWhole } from "./cluster/state-file.ts";
import type { Command } from "./command.ts";

/** Where the supervisor finds what to run, and where it leaves pid files and logs. */
interface SuperviseConfig {
  readonly services: string;
  readonly runDir: string;
  readonly logDir: string;
  readonly restart: boolean;
}

const flags: Flags<SuperviseConfig> = {
  services: { flag: "services", parse: text, help: "JSON file with the processes to run" },
  runDir: { flag: "run-dir", parse: text, help: "folder of pid files" },
  logDir: { flag: "log-dir", parse: text, help: "folder of logs" },
  restart: {
    flag: "restart",
    parse: bool,
    switch: true,
    default: "true",
    help: "start a process again when it ends",
  },
};

/** A process that ran this long counts as healthy: the next restart is immediate again. */
const healthyMs = 10_000;
const restartBackoff = { firstMs: 100, maxMs: 10_000 };
/** Time a process has to end by itself before it is killed. Pods are not its children: nothing of theirs waits here. */
const stopMs = 15_000;
/** A log longer than this is renamed to `.1` when its process starts. */
const logLimitBytes = 32 * 1024 * 1024;

/**
 * `keelson supervise`: keeps the cluster's processes running on a machine without systemd.
 * It owns nothing but them; a process that a dead supervisor left behind is adopted, not started twice.
 * SIGTERM stops it and them; SIGUSR1 ends it alone and leaves them running.
 */
export const supervise: Command = {
  name: "supervise",
  summary: "keep the cluster's processes running (machines without systemd)",
  help: () => `usage: keelson supervise [--flag value ...]\n\n${renderFlags(flags)}\n`,
  async run(args, _io, signal) {
    const config = parseFlags("keelson supervise", flags, args);
    const log = jsonLog("supervisor");
    const services = (await readJson(config.services)) as readonly ServiceSpec[];
    await makeFolder(config.runDir, 0o755);
    await makeFolder(config.logDir, 0o755);
    const own = path.join(config.runDir, "supervisor.pid");
    if ((await readPidFile(own)) !== undefined)
      throw new Error(`cannot start: another supervisor runs, see "${own}"`);
    await writeWhole(own, await pidFileText(process.pid), 0o644);
    const leave = new AbortController();
    process.once("SIGUSR1", () => leave.abort());
    const ends = { stop: signal, leave: leave.signal };
    await Promise.all(services.map((service) => keepRunning(service, config, log, ends)));
    await remove(own);
    return 0;
  },
};

/** The two ways in which it ends. */
interface Ends {
  /** With its processes. */
  readonly stop: AbortSignal;
  /** Without them. */
  readonly leave: AbortSignal;
}

async function keepRunning(
  service: ServiceSpec,
  config: SuperviseConfig,
  log: Log,
  ends: Ends,
): Promise<void> {
  const pidFile = path.join(config.runDir, `${service.name}.pid`);
  const either = AbortSignal.any([ends.stop, ends.leave]);
  const failuresFile = path.join(config.runDir, `${service.name}.failures`);
  await remove(failuresFile);
  await adopt(service, pidFile, log, either);
  for (let failures = 0; !either.aborted; ) {
    const startedMs = performance.now();
    const how = await runOnce(service, pidFile, config, ends);
    if (ends.leave.aborted) return;
    await remove(pidFile);
    if (either.aborted || !config.restart) return;
    failures = performance.now() - startedMs > healthyMs ? 1 : failures + 1;
    await writeWhole(failuresFile, `${failures}\n`, 0o644);
    const waitMs = backoffMs(failures, restartBackoff);
    log.warn("process ended", { service: service.name, how, restartInMs: waitMs });
    await systemClock.sleep(waitMs, either).catch(() => undefined);
  }
  const adopted = ends.leave.aborted ? undefined : await readPidFile(pidFile);
  if (adopted !== undefined) process.kill(adopted.pid, "SIGTERM");
}

/** Waits on a process that an earlier supervisor started, until it ends or we do. */
async function adopt(service: ServiceSpec, pidFile: string, log: Log, signal: AbortSignal): Promise<void> {
  const running = await readPidFile(pidFile);
  if (running === undefined) return;
  log.info("adopted", { service: service.name, pid: running.pid });
  while (!signal.aborted && (await isRunning(running)))
    await systemClock.sleep(250, signal).catch(() => undefined);
}

async function runOnce(
  service: ServiceSpec,
  pidFile: string,
  config: SuperviseConfig,
  ends: Ends,
): Promise<string> {
  const [program = "", ...args] = service.command;
  const child = spawn(program, args, {
    // Its own session: a signal to our terminal or group is not one to it.
    detached: true,
    stdio: ["ignore", ...(await logFile(config.logDir, service.name))],
  });
  const ended = Promise.withResolvers<string>();
  child.once("error", (cause) => ended.resolve(errorText(cause)));
  child.once("exit", (code, name) => ended.resolve(name === null ? `code ${code}` : name));
  if (child.pid !== undefined) await writeWhole(pidFile, await pidFileText(child.pid), 0o644);
  const stop = (): void => stopChild(child);
  const leave = (): void => {
    child.unref();
    ended.resolve("left running");
  };
  ends.stop.addEventListener("abort", stop, { once: true });
  ends.leave.addEventListener("abort", leave, { once: true });
  if (ends.stop.aborted) stop();
  if (ends.leave.aborted) leave();
  try {
    return await ended.promise;
  } finally {
    ends.stop.removeEventListener("abort", stop);
    ends.leave.removeEventListener("abort", leave);
  }
}

function stopChild(child: ChildProcess): void {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), stopMs);
  child.once("exit", () => clearTimeout(timer));
}

async function logFile(folder: string, name: string): Promise<readonly [number, number]> {
  const file = path.join(folder, `${name}.log`);
  const size = await stat(file).then(
    (found) => found.size,
    () => 0,
  );
  if (size > logLimitBytes) await rename(file, `${file}.1`);
  const fd = openSync(file, "a", 0o640);
  return [fd, fd];
}
