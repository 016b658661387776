import { type Flags, bool, duration, parseFlags, renderFlags, text } from "#lib/flags.ts";
import type { Runtime } from "../agent/runtime/runtime.ts";
import { type Background, chooseBackground } from "./cluster/background.ts";
import { step } from "./cluster/progress.ts";
import { purge } from "./cluster/purge.ts";
import { containerdPaths } from "./cluster/containerd-config.ts";
import { answers } from "./cluster/machine.ts";
import { loadSettings, settingsFile, type UpSettings, upFlags } from "./cluster/settings.ts";
import { remove } from "./cluster/state-file.ts";
import type { Command, CommandIo } from "./command.ts";
import { openRuntime } from "./node/open-runtime.ts";

interface DownConfig {
  readonly configDir: string;
  readonly purge: boolean;
  readonly graceMs: number;
}

const flags: Flags<DownConfig> = {
  configDir: {
    flag: "config-dir",
    parse: text,
    default: "/etc/keelson",
    help: "where the cluster's settings are",
  },
  purge: {
    flag: "purge",
    parse: bool,
    switch: true,
    default: "false",
    help: "leave no process, device, rule, mount, cgroup, container or file",
  },
  graceMs: {
    flag: "grace-period",
    parse: duration,
    default: "10s",
    help: "time a container has to end by itself",
  },
};

/** `keelson down`: stops the cluster, Pods included; `--purge` removes every trace of it. */
export const down: Command = {
  name: "down",
  summary: "stop it; --purge removes every trace",
  help: () => `usage: keelson down [--purge]\n\n${renderFlags(flags)}\n`,
  async run(args, io, signal) {
    const config = parseFlags("keelson down", flags, args);
    if (process.getuid?.() !== 0) throw new Error("cannot stop a node: this needs root; run it with sudo");
    const saved = await loadSettings(config.configDir);
    if (saved === undefined && !config.purge) {
      io.out("not up\n");
      return 0;
    }
    const settings = saved ?? parseFlags("keelson up", upFlags, ["--config-dir", config.configDir]);
    const background = chooseBackground(settings, io.program);
    await stop(settings, background, config, io, signal);
    if (config.purge) await step(io, "traces removed", () => purge(settings, signal));
    return 0;
  },
};

async function stop(
  settings: UpSettings,
  background: Background,
  config: DownConfig,
  io: CommandIo,
  signal: AbortSignal,
): Promise<void> {
  // The node goes first, or it would start again what is stopped next; the runtime last, for it does the stopping.
  await step(io, "node and control plane stopped", () => background.stop(["node", "control"], signal));
  await step(io, "Pods stopped", async () => {
    const runtime = await runtimeOf(settings, signal);
    if (runtime === undefined) return "no runtime answers";
    try {
      return `${await stopPods(runtime, config.graceMs, signal)} sandboxes`;
    } finally {
      await runtime.close();
    }
  });
  await step(io, "runtime stopped", () => background.stop(["containerd"], signal));
  await remove(settingsFile(settings.configDir));
}

async function runtimeOf(settings: UpSettings, signal: AbortSignal): Promise<Runtime | undefined> {
  const own = `unix://${containerdPaths(settings).socket}`;
  if (await answers(own))
    return await openRuntime({ containerRuntimeEndpoint: own, dockerEndpoint: "" }, signal);
  const choice = {
    containerRuntimeEndpoint: settings.runtimeEndpoint,
    dockerEndpoint: settings.runtime === "docker" ? settings.dockerEndpoint : "",
  };
  return await openRuntime(choice, signal).catch(() => undefined);
}

/** Stops and removes every sandbox, all at once. @returns how many there were. */
async function stopPods(runtime: Runtime, graceMs: number, signal: AbortSignal): Promise<number> {
  const containers = await runtime.listContainers({}, signal);
  const running = containers.filter((container) => container.state === "running");
  await Promise.all(
    running.map((container) => runtime.stopContainer(container.id, Math.ceil(graceMs / 1_000), signal)),
  );
  const sandboxes = await runtime.listSandboxes({}, signal);
  await Promise.all(
    sandboxes.map(async (sandbox) => {
      await runtime.stopSandbox(sandbox.id, signal);
      for (const container of containers.filter(({ sandboxId }) => sandboxId === sandbox.id)) {
        await runtime.removeContainer(container.id, signal);
      }
      await runtime.removeSandbox(sandbox.id, signal);
    }),
  );
  return sandboxes.length;
}
