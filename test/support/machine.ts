import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { mkdir, mkdtemp, rm, rmdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { root } from "./paths.ts";

/** How a command inside a machine ended. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ExecOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Codes other than 0 are an answer, not an error. */
  readonly mayFail?: boolean;
}

/** Where a node writes outside of /run. Each is a folder of the machine's own. */
const writable = [
  "/etc/keelson",
  "/etc/cni",
  "/etc/docker",
  "/opt/cni",
  "/var/lib/keelson",
  "/var/lib/kubelet",
  "/var/lib/containerd",
  "/var/lib/docker",
  "/var/lib/cni",
  "/var/log/keelson",
  "/var/log/pods",
  "/var/log/containers",
];

/**
 * A machine made of namespaces: its own network without an uplink, mounts, processes, control groups and name.
 * Default paths work in it as on a real one; when it is disposed of, every process in it dies and nothing is left.
 */
export class TestMachine implements AsyncDisposable {
  readonly name: string;
  readonly folder: string;
  /** As seen from outside. */
  readonly pid: number;
  readonly #unshare: ChildProcess;
  readonly #made: readonly string[];
  readonly #cgroup: string;

  private constructor(
    name: string,
    folder: string,
    pid: number,
    unshare: ChildProcess,
    made: readonly string[],
    cgroup: string,
  ) {
    this.name = name;
    this.folder = folder;
    this.pid = pid;
    this.#unshare = unshare;
    this.#made = made;
    this.#cgroup = cgroup;
  }

  /** @param address of its one network link, `10.99.0.10/24`; "none" for no link. */
  static async start(name: string, address: string): Promise<TestMachine> {
    const folder = await mkdtemp(`/var/tmp/keelson-${name}-`);
    const made = writable.filter((target) => !existsSync(target));
    for (const target of made) await mkdir(target, { recursive: true });
    await writeFile(path.join(folder, "targets"), `${writable.join("\n")}\n`);
    const cgroup = `keelson-test-${path.basename(folder)}`;
    const unshare = spawn(
      "sh",
      [
        "-c",
        `${joinCgroups} exec setpriv --pdeathsig KILL unshare --pid --fork --kill-child --net --mount --uts --cgroup ${path.join(root, "test/support/machine-init.sh")} "$@"`,
        cgroup,
        name,
        folder,
        address,
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    let stderr = "";
    unshare.stderr.on("data", (chunk: Buffer) => {
      stderr += chunk.toString("utf8");
    });
    const [first] = (await Promise.race([
      once(unshare.stdout, "data"),
      once(unshare, "exit").then(() => [Buffer.from("")]),
    ])) as [Buffer];
    if (first.toString("utf8").trim() !== "ready")
      throw new Error(`cannot start the test machine "${name}": ${stderr}`);
    const children = readFileSync(`/proc/${unshare.pid}/task/${unshare.pid}/children`, "utf8")
      .trim()
      .split(" ");
    return new TestMachine(name, folder, Number(children[0]), unshare, made, cgroup);
  }

  /** The words that run a command inside. */
  enter(command: readonly string[]): readonly string[] {
    // nsenter forks into the process table inside; what it started ends when it is ended.
    // It leaves the process in the control groups of its caller; the machine's own are writable inside.
    const join =
      'for procs in /sys/fs/cgroup/*/cgroup.procs; do echo $$ >"$procs"; done 2>/dev/null; exec setpriv --pdeathsig TERM "$@"';
    return [
      "nsenter",
      "-t",
      String(this.pid),
      "-p",
      "-n",
      "-m",
      "-u",
      "-C",
      "--",
      "sh",
      "-c",
      join,
      "sh",
      ...command,
    ];
  }

  /** Starts a command inside and leaves it running. Its output goes to `<folder>/<log>` when a name is given. */
  spawn(
    command: readonly string[],
    options: { readonly env?: Readonly<Record<string, string>> } = {},
  ): ChildProcess {
    const [program = "", ...args] = this.enter(command);
    return spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...options.env } });
  }

  /** Runs a command inside to its end. @throws with its output when it fails. */
  async exec(command: readonly string[], options: ExecOptions = {}): Promise<Ended> {
    const child = this.spawn(command, options);
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    child.stdout?.on("data", (chunk: Buffer) => out.push(chunk));
    child.stderr?.on("data", (chunk: Buffer) => err.push(chunk));
    child.stdin?.on("error", () => undefined); // a command may end without reading
    child.stdin?.end(options.input ?? "");
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    clearTimeout(timer);
    const ended = {
      code: code ?? 128,
      stdout: Buffer.concat(out).toString("utf8"),
      stderr: Buffer.concat(err).toString("utf8"),
    };
    if (ended.code !== 0 && options.mayFail !== true) {
      const why =
        signal === null ? `code ${ended.code}` : `${signal} after ${options.timeoutMs ?? 60_000} ms`;
      throw new Error(
        `on ${this.name}: "${command.join(" ")}" ended with ${why}\n${ended.stdout}${ended.stderr}`,
      );
    }
    return ended;
  }

  /** Runs a shell script inside. */
  async sh(script: string, options: ExecOptions = {}): Promise<string> {
    return (await this.exec(["sh", "-ec", script], options)).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone =
      this.#unshare.exitCode !== null || this.#unshare.signalCode !== null
        ? undefined
        : once(this.#unshare, "exit");
    // The first process of a pid namespace takes every other one with it (pid_namespaces(7)).
    process.kill(this.pid, "SIGKILL");
    await gone;
    removeCgroups(this.#cgroup);
    await rm(this.folder, { recursive: true, force: true });
    for (const target of this.#made.toReversed()) await rmdir(target).catch(() => undefined);
  }
}

/** $0 is the group's name. A v1 cpuset takes no process before it has CPUs and memory nodes. */
const joinCgroups = `
for c in /sys/fs/cgroup/*; do
  [ -w "$c/cgroup.procs" ] || continue
  mkdir -p "$c/$0"
  if [ -e "$c/$0/cpuset.cpus" ]; then
    echo 1 > "$c/$0/cgroup.clone_children"
    cat "$c/cpuset.cpus" > "$c/$0/cpuset.cpus"
    cat "$c/cpuset.mems" > "$c/$0/cpuset.mems"
  fi
  echo $$ > "$c/$0/cgroup.procs"
done
if [ -w /sys/fs/cgroup/cgroup.procs ]; then mkdir -p "/sys/fs/cgroup/$0"; echo $$ > "/sys/fs/cgroup/$0/cgroup.procs"; fi
`;

function removeCgroups(name: string): void {
  for (const controller of ["", ...readdirSync("/sys/fs/cgroup")])
    removeCgroup(path.join("/sys/fs/cgroup", controller, name));
}

function removeCgroup(folder: string): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(path.join(folder, entry.name));
  }
  for (let tries = 0; tries < 50; tries += 1) {
    try {
      rmdirSync(folder);
      return;
    } catch {
      // The last process is still leaving it.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
