import { execFile, spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { systemClock } from "#lib/clock.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { readIfThere } from "#lib/read-if-there.ts";
import { isRunning, readPidFile, type RunningProcess } from "./processes.ts";
import type { ServiceName, ServiceSpec } from "./services.ts";
import type { UpSettings } from "./settings.ts";
import { remove, writeWhole } from "./state-file.ts";
import { renderUnit } from "./systemd-unit.ts";

const run = promisify(execFile);
const unitDir = "/etc/systemd/system";

/** How the cluster's processes are kept running: systemd where it runs, else our own supervisor. */
export interface Background {
  readonly kind: "systemd" | "supervisor";
  start(services: readonly ServiceSpec[], signal: AbortSignal): Promise<void>;
  /** Stops these, in this order, and what kept them running once none of the others is left. */
  stop(names: readonly ServiceName[], signal: AbortSignal): Promise<void>;
  /** Each process and whether it runs. */
  states(): Promise<ReadonlyMap<string, "running" | "stopped">>;
  /** How often in a row a process ended soon after its start. */
  failures(name: ServiceName): Promise<number>;
  /** The last lines a process wrote. */
  lastWords(name: string): Promise<string>;
}

/** Picks systemd when this machine was booted with it (sd_booted(3)). */
export function chooseBackground(settings: UpSettings, program: string): Background {
  return existsSync("/run/systemd/system") ? systemd() : supervisor(settings, program);
}

/** Every service, in the order in which they stop. */
export const allServices: readonly ServiceName[] = ["node", "control", "containerd"];

function systemd(): Background {
  const unit = (name: string): string => `keelson-${name}.service`;
  const installed = (): readonly ServiceName[] =>
    allServices.filter((name) => existsSync(path.join(unitDir, unit(name))));
  return {
    kind: "systemd",
    async start(services, signal) {
      for (const service of services) {
        await writeWhole(path.join(unitDir, unit(service.name)), renderUnit(service), 0o644);
      }
      await run("systemctl", ["daemon-reload"], { signal });
      await run("systemctl", ["enable", "--now", ...services.map((service) => unit(service.name))], {
        signal,
      });
    },
    async stop(names, signal) {
      for (const name of names.filter((candidate) => installed().includes(candidate))) {
        await run("systemctl", ["disable", "--now", unit(name)], { signal });
        await remove(path.join(unitDir, unit(name)));
      }
      await run("systemctl", ["daemon-reload"], { signal });
    },
    async states() {
      const states = new Map<string, "running" | "stopped">();
      for (const name of installed()) {
        const active = await run("systemctl", ["is-active", unit(name)]).then(
          ({ stdout }) => stdout.trim() === "active",
          () => false,
        );
        states.set(name, active ? "running" : "stopped");
      }
      return states;
    },
    async failures(name) {
      const { stdout } = await run("systemctl", ["show", "--property=NRestarts", "--value", unit(name)]);
      return Number(stdout.trim()) || 0;
    },
    async lastWords(name) {
      const { stdout } = await run("journalctl", ["-u", unit(name), "-n", "20", "--no-pager", "-o", "cat"]);
      return stdout.trim();
    },
  };
}

function supervisor(settings: UpSettings, program: string): Background {
  const pidFile = (name: string): string => path.join(settings.runDir, `${name}.pid`);
  const failuresFile = (name: string): string => path.join(settings.runDir, `${name}.failures`);
  const listFile = path.join(settings.configDir, "services.json");
  return {
    kind: "supervisor",
    async start(services) {
      await makeFolder(settings.logDir, 0o755);
      await writeWhole(listFile, JSON.stringify(services, undefined, 2));
      const out = openSync(path.join(settings.logDir, "supervisor.log"), "a", 0o640);
      const child = spawn(
        program,
        ["supervise", "--services", listFile, "--run-dir", settings.runDir, "--log-dir", settings.logDir],
        { detached: true, stdio: ["ignore", out, out] },
      );
      child.unref();
    },
    async stop(names, signal) {
      // Told first to give up its processes, so that it starts none of them again; they go on.
      const running = await readPidFile(pidFile("supervisor"));
      if (running !== undefined) {
        process.kill(running.pid, "SIGUSR1");
        await gone(running, signal);
      }
      for (const name of names) {
        const process = await readPidFile(pidFile(name));
        if (process !== undefined) await end(process, signal);
        await remove(pidFile(name));
        await remove(failuresFile(name));
      }
      await remove(listFile);
    },
    async states() {
      const states = new Map<string, "running" | "stopped">();
      for (const name of ["supervisor", ...(await listed())]) {
        states.set(name, (await readPidFile(pidFile(name))) === undefined ? "stopped" : "running");
      }
      return states;
    },
    async failures(name) {
      return Number((await readIfThere(failuresFile(name))) ?? "0");
    },
    async lastWords(name) {
      const log = (await readIfThere(path.join(settings.logDir, `${name}.log`))) ?? "";
      return log.trim().split("\n").slice(-20).join("\n");
    },
  };

  async function listed(): Promise<readonly string[]> {
    const source = await readIfThere(listFile);
    return source === undefined
      ? []
      : (JSON.parse(source) as readonly ServiceSpec[]).map((service) => service.name);
  }
}

/** TERM, and KILL when that was not heard within 20 s. */
async function end(
  running: { readonly pid: number; readonly startTime: string },
  signal: AbortSignal,
): Promise<void> {
  process.kill(running.pid, "SIGTERM");
  await gone(running, signal);
}

/** Waits until the process has ended; after 20 s it is killed. */
async function gone(running: RunningProcess, signal: AbortSignal): Promise<void> {
  for (const startedMs = performance.now(); await isRunning(running); ) {
    if (performance.now() - startedMs > 20_000) process.kill(running.pid, "SIGKILL");
    await systemClock.sleep(25, signal);
  }
}
