import { type ChildProcess, spawn } from "node:child_process";
import { cp, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { loadImages } from "./images.ts";
import { type Kubectl, newestKubectl } from "./kubectl.ts";
import { type Ended, type ExecOptions, TestMachine } from "./machine.ts";
import { cache, root } from "./paths.ts";

export type RuntimeName = "containerd" | "docker";

/** Where a failed test leaves the logs of every part. */
const logFolder = path.join(cache, "logs");

/** A whole cluster on one test machine, started by `keelson up` as a user would. */
export class TestCluster implements AsyncDisposable {
  readonly machine: TestMachine;
  readonly runtime: RuntimeName;
  readonly upOutput: string;
  readonly #dockerd: ChildProcess | undefined;

  private constructor(
    machine: TestMachine,
    runtime: RuntimeName,
    upOutput: string,
    dockerd: ChildProcess | undefined,
  ) {
    this.machine = machine;
    this.runtime = runtime;
    this.upOutput = upOutput;
    this.#dockerd = dockerd;
  }

  /** @param flags more flags for `keelson up`. */
  static async start(runtime: RuntimeName, ...flags: readonly string[]): Promise<TestCluster> {
    const machine = await TestMachine.start(`node-${runtime}`, "10.99.0.10/24");
    let dockerd: ChildProcess | undefined;
    try {
      if (runtime === "docker") dockerd = await startDocker(machine);
      const command = [
        path.join(root, "dist/keelson"),
        "up",
        "--runtime",
        runtime === "docker" ? "docker" : "auto",
        ...flags,
      ];
      const { stdout } = await machine.exec(command, { timeoutMs: 120_000 });
      const cluster = new TestCluster(machine, runtime, stdout, dockerd);
      await loadImages(machine, runtime);
      return cluster;
    } catch (cause) {
      const saved = await saveLogs(machine);
      await machine[Symbol.asyncDispose]();
      throw new Error(`cannot start a cluster on ${runtime}; logs are in ${saved}`, { cause });
    }
  }

  /** Runs kubectl inside, with the admin's kubeconfig; the newest version unless one is given. */
  async kubectl(
    words: string | readonly string[],
    options: ExecOptions & { readonly kubectl?: Kubectl } = {},
  ): Promise<Ended> {
    const { file } = options.kubectl ?? newestKubectl();
    const args = typeof words === "string" ? words.split(" ") : words;
    return await this.machine.exec([file, ...args], {
      ...options,
      env: { KUBECONFIG: "/etc/keelson/admin.kubeconfig", HOME: "/run", ...options.env },
    });
  }

  /** Standard output of kubectl, trimmed. */
  async get(
    words: string | readonly string[],
    options: ExecOptions & { readonly kubectl?: Kubectl } = {},
  ): Promise<string> {
    return (await this.kubectl(words, options)).stdout.trim();
  }

  /** Starts kubectl and leaves it running. */
  spawnKubectl(words: string | readonly string[], kubectl: Kubectl = newestKubectl()): ChildProcess {
    const args = typeof words === "string" ? words.split(" ") : words;
    return this.machine.spawn([kubectl.file, ...args], {
      env: { KUBECONFIG: "/etc/keelson/admin.kubeconfig", HOME: "/run" },
    });
  }

  async apply(yaml: string): Promise<void> {
    await this.kubectl("apply -f -", { input: yaml });
  }

  /** Runs a script on the node. */
  async sh(script: string, options: ExecOptions = {}): Promise<string> {
    return await this.machine.sh(script, options);
  }

  /** Copies the logs of every part to one place and says where. */
  async saveLogs(): Promise<string> {
    return await saveLogs(this.machine);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine[Symbol.asyncDispose]();
    this.#dockerd?.kill();
  }
}

/** Asks until the answer is right. @throws with the last answer when it never is. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T>,
  isRight: (answer: T) => boolean,
  options: { readonly timeoutMs?: number; readonly everyMs?: number } = {},
): Promise<T> {
  const deadline = performance.now() + (options.timeoutMs ?? 30_000);
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (isRight(answer)) return answer;
      last = answer;
    } catch (cause) {
      last = cause;
    }
    if (performance.now() > deadline) {
      const text = last instanceof Error ? last.message : JSON.stringify(last);
      throw new Error(`${what}: not within ${options.timeoutMs ?? 30_000} ms; the last answer was ${text}`);
    }
    await delay(options.everyMs ?? 100);
  }
}

async function startDocker(machine: TestMachine): Promise<ChildProcess> {
  const script =
    "mkdir -p /var/log/keelson; exec dockerd --iptables=false --ip-masq=false --bridge=none --live-restore >/var/log/keelson/dockerd.log 2>&1";
  const dockerd = machine.spawn(["sh", "-c", script]);
  dockerd.stdin?.end();
  await eventually(
    "dockerd answers",
    () => machine.sh("test -S /run/docker.sock && docker version >/dev/null && echo yes"),
    (text) => text.trim() === "yes",
    { timeoutMs: 60_000 },
  );
  return dockerd;
}

async function saveLogs(machine: TestMachine): Promise<string> {
  const folder = path.join(logFolder, `${machine.name}-${machine.pid}`);
  await mkdir(folder, { recursive: true });
  await cp(path.join(machine.folder, "var/log"), folder, { recursive: true, verbatimSymlinks: true }).catch(
    () => undefined,
  );
  const state = await machine
    .sh("ps axf; ip address; ip route; iptables-save; mount", { mayFail: true })
    .catch((cause: unknown) => String(cause));
  await writeFile(path.join(folder, "state.txt"), state);
  return folder;
}

/** Builds the bundle when a source is newer than it. */
export async function bundle(): Promise<void> {
  const child = spawn(process.execPath, [path.join(root, "cli/bundle.ts")], { stdio: "inherit" });
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once("exit", resolve);
  if ((await promise) !== 0) throw new Error("cannot build the bundle");
}
