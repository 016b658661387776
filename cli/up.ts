import { existsSync } from "node:fs";
import path from "node:path";
import { ApiClient } from "#api/client.ts";
import { HttpTransport } from "#api/http-transport.ts";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import { nodes } from "#api/resources.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags, renderFlags, UsageError } from "#lib/flags.ts";
import { errorText } from "#lib/log.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { allServices, type Background, chooseBackground } from "./cluster/background.ts";
import { containerdPaths, renderContainerdConfig } from "./cluster/containerd-config.ts";
import {
  answers,
  criSockets,
  defaultNodeIp,
  defaultNodeName,
  isPortFree,
  mayLowerOomScore,
} from "./cluster/machine.ts";
import { installPlugins } from "./cluster/plugin-files.ts";
import { step } from "./cluster/progress.ts";
import { type Machine, planServices, type ServiceName, type ServiceSpec } from "./cluster/services.ts";
import { loadSettings, settingsFile, type UpSettings, upFlags } from "./cluster/settings.ts";
import { remove, writeWhole } from "./cluster/state-file.ts";
import type { Command, CommandIo } from "./command.ts";
import { checkMachine } from "./doctor/checks.ts";

/** `keelson up`: a whole cluster on this machine. */
export const up: Command = {
  name: "up",
  summary: "start a whole cluster on this machine",
  help: () =>
    `usage: keelson up [--flag value ...]\n\nStarts the control plane and the node as background services and waits until the node is Ready.\n\n${renderFlags(upFlags)}\n`,
  async run(args, io, signal) {
    const settings = parseFlags("keelson up", upFlags, args);
    if (process.getuid?.() !== 0) throw new Error("cannot start a node: this needs root; run it with sudo");
    const { program } = io;
    const background = chooseBackground(settings, program);
    const before = await loadSettings(settings.configDir);
    if (before !== undefined) {
      const difference = differs(before, settings);
      const running = [...(await background.states()).values()].includes("running");
      if (running && difference !== undefined) {
        throw new UsageError(
          `cannot change ${difference}: a cluster is already up with other settings; run "keelson down" first (its data stays)`,
        );
      }
      if (running && (await isReady(settings, signal))) {
        io.out("already up\n");
        advise(settings, io);
        return 0;
      }
    }
    const startedMs = performance.now();
    try {
      await start(settings, program, background, io, signal);
    } catch (cause) {
      await explainFailure(cause, background, io, signal);
      await background.stop(allServices, AbortSignal.timeout(60_000));
      await remove(settingsFile(settings.configDir));
      throw new Error(`cannot start the cluster: ${errorText(cause)}; nothing was left running`, { cause });
    }
    io.out(`up in ${((performance.now() - startedMs) / 1_000).toFixed(1)} s\n\n`);
    advise(settings, io);
    return 0;
  },
};

async function start(
  settings: UpSettings,
  program: string,
  background: Background,
  io: CommandIo,
  signal: AbortSignal,
): Promise<void> {
  const machine = await step(io, "machine", async () => {
    await refuseWhatIsMissing(settings);
    return {
      nodeName: settings.nodeName === "" ? defaultNodeName() : settings.nodeName,
      nodeIp: settings.nodeIp === "" ? await defaultNodeIp() : settings.nodeIp,
      program,
    };
  });
  const runtime = await step(io, "runtime", () => chooseRuntime(settings));
  await step(io, "files", async () => {
    await makeFolder(settings.podManifestPath, 0o755);
    await installPlugins(program);
    await writeWhole(settingsFile(settings.configDir), JSON.stringify(settings, undefined, 2));
  });
  const services = planServices(settings, { ...machine, runtime });
  await step(io, `services (${background.kind})`, () => background.start(services, signal));
  const watch = (): Promise<void> => refuseWhatKeepsEnding(background, services);
  await step(io, "control plane", () =>
    waitFor(settings, watch, signal, async (client, stop) => {
      await client.json("GET", "/api/v1/namespaces/kube-system", undefined, stop);
      return true;
    }),
  );
  await step(io, `node ${machine.nodeName} Ready`, () =>
    waitFor(settings, watch, signal, async (client, stop) => {
      const node = await client.get(nodes, { namespace: "", name: machine.nodeName }, stop);
      return (
        node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false
      );
    }),
  );
}

async function refuseWhatIsMissing(settings: UpSettings): Promise<void> {
  const missing = (await checkMachine()).filter((check) => check.level === "missing");
  if (missing.length > 0) {
    throw new Error(missing.map((check) => `${check.what}: ${check.why}; ${check.mend}`).join("\n  "));
  }
  for (const [port, flag] of [
    [settings.apiPort, "--secure-port"],
    [10_250, "the agent's port"],
    [10_256, "the proxy's health port"],
  ] as const) {
    if (!(await isPortFree(port)))
      throw new Error(`port ${port} (${flag}) is in use; see "ss -ltnp sport = :${port}"`);
  }
}

async function chooseRuntime(settings: UpSettings): Promise<Machine["runtime"]> {
  if (settings.runtime === "docker") {
    if (await answers(settings.dockerEndpoint)) return { kind: "docker", endpoint: settings.dockerEndpoint };
    throw new Error(
      `Docker does not answer at "${settings.dockerEndpoint}"; start it, or take --runtime containerd`,
    );
  }
  const sockets = settings.runtimeEndpoint === "" ? criSockets : [settings.runtimeEndpoint];
  for (const endpoint of sockets) if (await answers(endpoint)) return { kind: "cri", endpoint, own: false };
  if (settings.runtimeEndpoint !== "") {
    throw new Error(
      `no runtime answers at "${settings.runtimeEndpoint}"; start it, or leave --container-runtime-endpoint out`,
    );
  }
  if (settings.runtime === "auto" && (await answers(settings.dockerEndpoint))) {
    return { kind: "docker", endpoint: settings.dockerEndpoint };
  }
  const paths = containerdPaths(settings);
  const systemdCgroup = existsSync("/run/systemd/system") && existsSync("/sys/fs/cgroup/cgroup.controllers");
  await writeWhole(
    paths.config,
    renderContainerdConfig(paths, await mayLowerOomScore(), systemdCgroup),
    0o644,
  );
  return { kind: "cri", endpoint: `unix://${paths.socket}`, own: true, config: paths.config };
}

/** A service that ended this often in a row will not come up by itself. */
const hopelessFailures = 3;

/** Says of the first service that ends again and again. */
class ServiceEndedError extends Error {
  override readonly name = "ServiceEndedError";
  readonly service: ServiceName;
  constructor(service: ServiceName, failures: number) {
    super(`the service "${service}" ended ${failures} times; its last lines say why`);
    this.service = service;
  }
}

async function refuseWhatKeepsEnding(
  background: Background,
  services: readonly ServiceSpec[],
): Promise<void> {
  for (const { name } of services) {
    const failures = await background.failures(name);
    if (failures >= hopelessFailures) throw new ServiceEndedError(name, failures);
  }
}

async function waitFor(
  settings: UpSettings,
  watch: () => Promise<void>,
  signal: AbortSignal,
  ready: (client: ApiClient, signal: AbortSignal) => Promise<boolean>,
): Promise<void> {
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(settings.timeoutMs)]);
  let last: unknown;
  for (;;) {
    if (deadline.aborted) {
      signal.throwIfAborted();
      throw new Error(
        `not within ${settings.timeoutMs / 1_000} s${last === undefined ? "" : `: ${errorText(last)}`}`,
      );
    }
    try {
      if (await withClient(settings, (client) => ready(client, deadline))) return;
    } catch (cause) {
      last = cause;
    }
    await watch();
    await systemClock.sleep(50, deadline).catch(() => undefined);
  }
}

async function isReady(settings: UpSettings, signal: AbortSignal): Promise<boolean> {
  try {
    return await withClient(settings, async (client) => {
      const list = await client.list(nodes, {}, AbortSignal.any([signal, AbortSignal.timeout(3_000)]));
      return list.items.some((node) =>
        node.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True"),
      );
    });
  } catch {
    return false;
  }
}

async function withClient<T>(settings: UpSettings, use: (client: ApiClient) => Promise<T>): Promise<T> {
  const client = new ApiClient(
    new HttpTransport(loadKubeconfig(path.join(settings.configDir, "admin.kubeconfig"))),
  );
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

async function explainFailure(
  cause: unknown,
  background: Background,
  io: CommandIo,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const culprit = culpritOf(cause);
  for (const [name, state] of await background.states()) {
    if (culprit !== undefined && culprit !== name) continue;
    const words = await background.lastWords(name).catch(() => "");
    if (words !== "") io.err(`--- the last lines of ${name} (${state}):\n${words}\n`);
  }
}

/** The service whose ends were the reason, however often that was wrapped since. */
function culpritOf(cause: unknown): ServiceName | undefined {
  if (cause instanceof ServiceEndedError) return cause.service;
  return cause instanceof Error ? culpritOf(cause.cause) : undefined;
}

/** The first setting that a second `up` asks to be other than it is. */
function differs(before: UpSettings, now: UpSettings): string | undefined {
  const was: readonly (readonly [string, unknown])[] = Object.entries(before);
  const is = new Map<string, unknown>(Object.entries(now));
  const found = was.find(
    ([key, value]) => key !== "timeoutMs" && JSON.stringify(is.get(key)) !== JSON.stringify(value),
  );
  const key = found?.[0];
  const flag = Object.entries(upFlags).find(([name]) => name === key)?.[1].flag;
  return found === undefined
    ? undefined
    : `--${flag ?? key} from "${String(found[1])}" to "${String(is.get(found[0]))}"`;
}

function advise(settings: UpSettings, io: CommandIo): void {
  io.out(
    `export KUBECONFIG=${path.join(settings.configDir, "admin.kubeconfig")}\n\nTry:\n  kubectl get nodes -o wide\n  kubectl apply -f examples/web.yaml\n  kubectl get pods,services -o wide\n`,
  );
}
