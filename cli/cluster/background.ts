import { execFile, spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";
import { systemClock } from "#lib/clock.ts";
import { isRunning, readPidFile } from "./processes.ts";
import type { ServiceSpec } from "./services.ts";
import type { UpSettings } from "./settings.ts";
import { readIfThere, remove, writeWhole } from "./state-file.ts";
import { renderUnit } from "./systemd-unit.ts";

const run = promisify(execFile);
const unitDir = "/etc/systemd/system";

/** How the cluster's processes are kept running: systemd where it runs, else our own supervisor. */
export interface Background {
  readonly kind: "systemd" | "supervisor";
  start(services: readonly ServiceSpec[], signal: AbortSignal): Promise<void>;
  /** Stops them, newest first; true when something ran. */
  stop(signal: AbortSignal): Promise<boolean>;
  /** Each process and whether it runs. */
  states(): Promise<ReadonlyMap<string, "running" | "stopped">>;
  /** The last lines a process wrote. */
  lastWords(name: string): Promise<string>;
}

/** Picks systemd when this machine was booted with it (sd_booted(3)). */
export function chooseBackground(settings: UpSettings, program: string): Background {
  return existsSync("/run/systemd/system") ? systemd() : supervisor(settings, program);
}

const names = ["containerd", "control", "node"] as const;

function systemd(): Background {
  const unit = (name: string): string => `keelson-${name}.service`;
  const installed = (): string[] => names.filter((name) => existsSync(path.join(unitDir, unit(name))));
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
    async stop(signal) {
      const units = installed().map(unit);
      if (units.length === 0) return false;
      await run("systemctl", ["disable", "--now", ...units.reverse()], { signal });
      for (const name of units) await remove(path.join(unitDir, name));
      await run("systemctl", ["daemon-reload"], { signal });
      return true;
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
    async lastWords(name) {
      const { stdout } = await run("journalctl", ["-u", unit(name), "-n", "20", "--no-pager", "-o", "cat"]);
      return stdout.trim();
    },
  };
}

function supervisor(settings: UpSettings, program: string): Background {
  const pidFile = (name: string): string => path.join(settings.runDir, `${name}.pid`);
  const listFile = path.join(settings.configDir, "services.json");
  return {
    kind: "supervisor",
    async start(services) {
      await mkdir(settings.logDir, { recursive: true });
      await writeWhole(listFile, JSON.stringify(services, undefined, 2));
      const out = openSync(path.join(settings.logDir, "supervisor.log"), "a", 0o640);
      const child = spawn(
        program,
        ["supervise", "--services", listFile, "--run-dir", settings.runDir, "--log-dir", settings.logDir],
        { detached: true, stdio: ["ignore", out, out] },
      );
      child.unref();
    },
    async stop(signal) {
      const running = await readPidFile(pidFile("supervisor"));
      const left = await leftBehind();
      if (running === undefined && left.length === 0) return false;
      if (running !== undefined) await end(running, signal);
      for (const process of await leftBehind()) await end(process, signal);
      await remove(listFile);
      return true;
    },
    async states() {
      const states = new Map<string, "running" | "stopped">();
      for (const name of ["supervisor", ...(await listed())]) {
        states.set(name, (await readPidFile(pidFile(name))) === undefined ? "stopped" : "running");
      }
      return states;
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

  async function leftBehind(): Promise<readonly { readonly pid: number; readonly startTime: string }[]> {
    const found = await Promise.all(names.toReversed().map((name) => readPidFile(pidFile(name))));
    return found.filter((process) => process !== undefined);
  }
}

/** TERM, and KILL when that was not heard within 20 s. */
async function end(
  running: { readonly pid: number; readonly startTime: string },
  signal: AbortSignal,
): Promise<void> {
  process.kill(running.pid, "SIGTERM");
  for (const startedMs = performance.now(); await isRunning(running); ) {
    if (performance.now() - startedMs > 20_000) process.kill(running.pid, "SIGKILL");
    await systemClock.sleep(25, signal);
  }
}
