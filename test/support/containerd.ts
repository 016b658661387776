import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { run } from "./run-command.ts";

/** A containerd of a test's own: own roots, own socket, own network namespace without an uplink. */
export interface TestContainerd extends AsyncDisposable {
  readonly endpoint: string;
  readonly directory: string;
  readonly netns: string;
  /** Kills the daemon and starts it again; what runs in its shims runs on. @param meanwhile what happens in between. */
  restart(meanwhile: () => Promise<void>): Promise<void>;
}

/** The programs of handlers besides runc, by name; the one that is used when none is named. */
export interface TestRuntimes {
  readonly handlers: Readonly<Record<string, string>>;
  readonly usual: string;
}

/**
 * Starts one; it is stopped and everything of it removed on disposal. Needs root.
 * @param runtimes given the test's directory, where programs may be put.
 */
export async function testContainerd(
  name: string,
  runtimes: (directory: string) => Promise<TestRuntimes> = async () => ({ handlers: {}, usual: "runc" }),
): Promise<TestContainerd> {
  const directory = await mkdtemp(`/tmp/keelson-${name}-`);
  const netns = path.basename(directory).slice(0, 24);
  await run("ip", "netns", "add", netns);
  const cniDir = path.join(directory, "cni");
  await mkdir(cniDir);
  await writeFile(path.join(cniDir, "10-test.conflist"), JSON.stringify(bridgeConfig(directory)));
  const config = path.join(directory, "config.toml");
  await writeFile(config, configText(directory, cniDir, await runtimes(directory)));
  await run("nsenter", `--net=/run/netns/${netns}`, "ip", "link", "set", "lo", "up");
  const log: string[] = [];
  const start = (): ChildProcess => {
    const child = spawn("nsenter", [`--net=/run/netns/${netns}`, "containerd", "--config", config], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    child.stderr.on("data", (chunk: Buffer) => {
      log.push(chunk.toString("utf8"));
      if (log.length > 500) log.shift();
    });
    return child;
  };
  let daemon = start();
  const socket = path.join(directory, "containerd.sock");
  const stop = async (): Promise<void> => {
    await removeSandboxes(`unix://${socket}`).catch(() => {}); // shims and network namespaces go with them
    await endProcess(daemon);
    await stopShims(directory);
    await run(
      "sh",
      "-c",
      `awk '$2 ~ "^${directory}/" {print $2}' /proc/mounts | sort -r | xargs -r umount -l`,
    );
    await run("ip", "netns", "delete", netns);
    await rm(directory, { recursive: true, force: true });
  };
  try {
    await waitForSocket(socket, daemon);
  } catch (cause) {
    await stop();
    throw new Error(`containerd did not start:\n${log.join("").slice(-4_000)}`, { cause });
  }
  const restart = async (meanwhile: () => Promise<void>): Promise<void> => {
    await killProcess(daemon);
    await meanwhile();
    daemon = start();
    await waitForSocket(socket, daemon);
  };
  return { endpoint: `unix://${socket}`, directory, netns, restart, [Symbol.asyncDispose]: stop };
}

/** Asks a process to end, and makes it. */
export async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await ended;
  clearTimeout(timer);
}

/** Ends a process without a word. */
export async function killProcess(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

/** Waits until a daemon listens. @throws when it ended instead. */
export async function waitForSocket(socket: string, daemon: ChildProcess): Promise<void> {
  for (let tries = 0; tries < 600; tries += 1) {
    if (daemon.exitCode !== null) throw new Error(`it ended with ${daemon.exitCode}`);
    if (await connects(socket)) return;
    await delay(50);
  }
  throw new Error(`nothing listens on ${socket}`);
}

async function connects(socket: string): Promise<boolean> {
  const { connect } = await import("node:net");
  return await new Promise((resolve) => {
    const connection = connect(socket);
    connection.once("connect", () => {
      connection.destroy();
      resolve(true);
    });
    connection.once("error", () => resolve(false));
  });
}

async function removeSandboxes(endpoint: string): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  const runtime = await CriRuntime.connect(endpoint, signal);
  for (const sandbox of await runtime.listSandboxes({}, signal)) {
    await runtime.stopSandbox(sandbox.id, signal);
    await runtime.removeSandbox(sandbox.id, signal);
  }
  await runtime.close();
}

/** Shims outlive their daemon by design; only those of this test's own directory are ended. */
async function stopShims(directory: string): Promise<void> {
  for (const pid of await readdir("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (/^[^\0]*containerd-shim/.test(command) && command.includes(`${directory}/`)) {
      process.kill(Number(pid), "SIGKILL");
    }
  }
}

function configText(directory: string, cniDir: string, { handlers, usual }: TestRuntimes): string {
  const cri = `plugins."io.containerd.grpc.v1.cri".containerd`;
  const more = Object.entries(handlers).map(
    ([handler, program]) => `  [${cri}.runtimes.${handler}]
    runtime_type = "io.containerd.runc.v2"
    [${cri}.runtimes.${handler}.options]
      BinaryName = "${program}"
`,
  );
  return `version = 2
root = "${directory}/root"
state = "${directory}/state"
[grpc]
  address = "${directory}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${cniDir}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "${usual}"
  [${cri}.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
${more.join("")}`;
}

function bridgeConfig(directory: string): object {
  return {
    cniVersion: "1.0.0",
    name: "test",
    plugins: [
      {
        type: "bridge",
        bridge: "cni-test0",
        isGateway: true,
        ipam: {
          type: "host-local",
          dataDir: path.join(directory, "ipam"),
          ranges: [[{ subnet: "10.88.7.0/24" }]],
        },
      },
    ],
  };
}
