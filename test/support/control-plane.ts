import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { newestKubectl } from "./kubectl.ts";
import { root } from "./paths.ts";
import { run } from "./run-command.ts";

/** The only address besides loopback in there; from a range that is routed nowhere (RFC 5737). */
export const machineAddress = "192.0.2.10";

/** A control plane of its own in a network namespace without a way out. */
export class ControlPlane implements AsyncDisposable {
  readonly netns: string;
  readonly folder: string;
  /** Those that were started; a test may start a second that is to fail. */
  readonly #children: ChildProcess[] = [];
  #output = "";

  private constructor(netns: string, folder: string) {
    this.netns = netns;
    this.folder = folder;
  }

  /** Makes the namespace and folders; `start` starts the program. */
  static async make(): Promise<ControlPlane> {
    const netns = `kc-${process.pid}-${Math.random().toString(36).slice(2, 6)}`;
    await run("ip", "netns", "add", netns);
    await run("ip", "-n", netns, "link", "set", "lo", "up");
    await run("ip", "-n", netns, "link", "add", "m0", "type", "veth", "peer", "name", "m1");
    await run("ip", "-n", netns, "addr", "add", `${machineAddress}/24`, "dev", "m0");
    for (const link of ["m0", "m1"]) await run("ip", "-n", netns, "link", "set", link, "up");
    return new ControlPlane(netns, await mkdtemp(path.join(tmpdir(), "keelson-control-")));
  }

  get dataDir(): string {
    return path.join(this.folder, "data");
  }

  kubeconfig(who: "admin" | "node" | "proxy"): string {
    return path.join(this.folder, "etc", `${who}.kubeconfig`);
  }

  /** What the program has said. */
  get output(): string {
    return this.#output;
  }

  /** Starts the program and waits until it is ready. @returns milliseconds from start to ready. */
  async start(...flags: readonly string[]): Promise<number> {
    const started = performance.now();
    const child = spawn(
      "nsenter",
      [
        `--net=/run/netns/${this.netns}`,
        process.execPath,
        path.join(root, "test/support/control-program.ts"),
        `--data-dir=${this.dataDir}`,
        `--config-dir=${path.join(this.folder, "etc")}`,
        "--node-name=n1",
        ...flags,
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#children.push(child);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const read = (chunk: Buffer): void => {
      this.#output = (this.#output + chunk.toString("utf8")).slice(-100_000);
      if (/^ready$/m.test(chunk.toString("utf8"))) resolve();
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.once("exit", (code, signal) =>
      reject(new Error(`the control plane ended with ${code ?? signal}: ${this.#output.slice(-2_000)}`)),
    );
    await promise;
    return performance.now() - started;
  }

  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    let last: number | null = null;
    for (const child of this.#children.splice(0)) {
      last = child.exitCode;
      if (child.exitCode !== null || child.signalCode !== null) continue;
      child.kill(signal);
      [last] = (await once(child, "exit")) as [number | null];
    }
    return last;
  }

  /** Runs kubectl as the administrator. @throws with its standard error when it fails. */
  kubectl(...args: readonly string[]): Promise<string> {
    return this.exec(newestKubectl().file, "--kubeconfig", this.kubeconfig("admin"), ...args);
  }

  kubectlAs(who: "node" | "proxy", ...args: readonly string[]): Promise<string> {
    return this.exec(newestKubectl().file, "--kubeconfig", this.kubeconfig(who), ...args);
  }

  /** Runs a program in the namespace. */
  exec(program: string, ...args: readonly string[]): Promise<string> {
    return run("nsenter", `--net=/run/netns/${this.netns}`, "env", `HOME=${this.folder}`, program, ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop("SIGKILL");
    await run("ip", "netns", "delete", this.netns);
    await rm(this.folder, { recursive: true, force: true });
  }
}
