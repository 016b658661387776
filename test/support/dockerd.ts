import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import { endProcess, type TestRuntimes, waitForSocket } from "./containerd.ts";
import { run } from "./run-command.ts";

/** A Docker of a test's own: own root, own socket, own network namespace without an uplink. */
export interface TestDockerd extends AsyncDisposable {
  readonly endpoint: string;
  readonly directory: string;
  readonly netns: string;
  /** Stops the daemon and starts it again; with `liveRestore` containers run on. @param meanwhile what happens in between. */
  restart(meanwhile: () => Promise<void>): Promise<void>;
}

/**
 * Starts one; it is stopped and everything of it removed on disposal. Needs root.
 * @param options with `liveRestore` the test removes its containers itself; `runtimes` is given the test's directory.
 */
export async function testDockerd(
  name: string,
  options: {
    readonly liveRestore?: boolean;
    readonly runtimes?: (directory: string) => Promise<TestRuntimes>;
  } = {},
): Promise<TestDockerd> {
  const directory = await mkdtemp(`/tmp/keelson-${name}-`);
  const netns = path.basename(directory).slice(0, 24);
  await run("ip", "netns", "add", netns);
  await run("nsenter", `--net=/run/netns/${netns}`, "ip", "link", "set", "lo", "up");
  const socket = path.join(directory, "docker.sock");
  const log: string[] = [];
  const { handlers, usual } = (await options.runtimes?.(directory)) ?? { handlers: {}, usual: "runc" };
  const start = (): ChildProcess => {
    const child = spawn(
      "nsenter",
      [
        `--net=/run/netns/${netns}`,
        "/usr/sbin/dockerd",
        `--data-root=${directory}/root`,
        `--exec-root=${directory}/exec`,
        `--pidfile=${directory}/docker.pid`,
        `--host=unix://${socket}`,
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--ip-forward=false",
        ...Object.entries(handlers).map(([handler, program]) => `--add-runtime=${handler}=${program}`),
        `--default-runtime=${usual}`,
        ...(options.liveRestore === true ? ["--live-restore"] : []),
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    child.stderr.on("data", (chunk: Buffer) => {
      log.push(chunk.toString("utf8"));
      if (log.length > 500) log.shift();
    });
    return child;
  };
  let daemon = start();
  const stop = async (): Promise<void> => {
    await endProcess(daemon);
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
    throw new Error(`dockerd did not start:\n${log.join("").slice(-4_000)}`, { cause });
  }
  const restart = async (meanwhile: () => Promise<void>): Promise<void> => {
    await endProcess(daemon);
    await meanwhile();
    daemon = start();
    await waitForSocket(socket, daemon);
  };
  return { endpoint: `unix://${socket}`, directory, netns, restart, [Symbol.asyncDispose]: stop };
}
