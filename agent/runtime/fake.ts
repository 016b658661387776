import { mkdir, appendFile } from "node:fs/promises";
import path from "node:path";
import { Duplex, PassThrough } from "node:stream";
import type { Clock } from "#lib/clock.ts";
import { type FakeProcess, startFakeProgram } from "./fake-program.ts";
import {
  type ContainerConfig,
  type ContainerStatus,
  type ExecResult,
  type ExecSyncOptions,
  type ImageStatus,
  type LinuxResources,
  type ProcessStreams,
  type PullOptions,
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeHandler,
  type RuntimeStatus,
  type SandboxConfig,
  type SandboxStatus,
  type StreamOptions,
} from "./runtime.ts";
import { collectOutput } from "./collect-output.ts";

/** Events a slow reader may be behind before its stream breaks and it lists again. */
const maxEventsBehind = 1_024;

/** An image in the fake's registry: what its process runs when the Pod names nothing. */
export interface FakeImage {
  readonly entrypoint: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly user?: { readonly uid?: number; readonly name?: string };
  /** Who pulls has to say it. */
  readonly password?: string;
  /** How long a pull takes. */
  readonly pullMs?: number;
}

/** The methods that can be made to fail once. */
export type FakeCall = Exclude<keyof Runtime, "name" | "close" | "events">;

interface FakeSandbox {
  readonly config: SandboxConfig;
  status: SandboxStatus;
}

interface FakeContainer {
  readonly config: ContainerConfig;
  readonly sandboxId: string;
  status: ContainerStatus;
  resources: LinuxResources;
  process: FakeProcess | undefined;
  oomKilled: boolean;
  readonly attached: Set<ProcessTee>;
  /** Commands that run beside its own process, and end with it. */
  readonly execs: Set<FakeProcess>;
}

interface ProcessTee {
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
}

/**
 * A runtime in memory. It keeps state, runs the small programs of `fake-program.ts`, and refuses what the real
 * ones refuse: containers in sandboxes that are not ready, images that are not there, names taken twice,
 * starting twice, exec into what does not run. With `logs: "files"` it writes container logs in CRI's format.
 */
export class FakeRuntime implements Runtime {
  readonly name: string = "fake";
  /** What a pull can find, by name. */
  readonly registry: Map<string, FakeImage> = new Map();
  /** What every call that changes something was told, in order, as `method id`. */
  readonly history: string[] = [];
  runtimeReady: boolean = true;
  networkReady: boolean = true;
  handlers: readonly RuntimeHandler[] = [];

  readonly #clock: Clock;
  readonly #writeLogs: boolean;
  readonly #sandboxes = new Map<string, FakeSandbox>();
  readonly #containers = new Map<string, FakeContainer>();
  readonly #images = new Map<string, ImageStatus>();
  readonly #listeners = new Set<(event: RuntimeEvent) => void>();
  readonly #failures = new Map<FakeCall, RuntimeError[]>();
  #made = 0;

  constructor(clock: Clock, options: { readonly logs: "none" | "files" } = { logs: "none" }) {
    this.#clock = clock;
    this.#writeLogs = options.logs === "files";
  }

  /** Puts an image on the node, as if it had been pulled. */
  addImage(name: string, image: FakeImage): void {
    const full = fullImageName(name);
    this.registry.set(full, image);
    this.#images.set(full, imageStatusOf(full, image));
  }

  /** The next call of this method throws this, once; several queue up. */
  failNext(call: FakeCall, error: RuntimeError): void {
    this.#failures.set(call, [...(this.#failures.get(call) ?? []), error]);
  }

  /** Ends a running container's process, as a crash or the OOM killer would. */
  async endContainer(id: string, code: number, how: { readonly oomKilled?: boolean } = {}): Promise<void> {
    const container = this.#running(id);
    container.oomKilled = how.oomKilled ?? false;
    container.process?.end(code);
    await container.process?.exit;
    await Promise.resolve();
  }

  /** The sandbox process dies, and with it every container in it: what a node sees after a crash. */
  endSandbox(id: string): void {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined)
      throw new RuntimeError("not-found", `cannot end sandbox "${id}": there is none`);
    sandbox.status = { ...sandbox.status, state: "not-ready" };
    for (const container of this.#inSandbox(id)) container.process?.signal("KILL");
    this.#emit("sandbox", sandbox.config.podUid, id);
  }

  /** The limits a container has now. */
  resourcesOf(id: string): LinuxResources | undefined {
    return this.#containers.get(id)?.resources;
  }

  async version(
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly version: string; readonly apiVersion: string }> {
    this.#enter("version", undefined, signal);
    return { name: "fake", version: "1.0.0", apiVersion: "v1" };
  }

  async status(signal: AbortSignal): Promise<RuntimeStatus> {
    this.#enter("status", undefined, signal);
    const message = this.runtimeReady ? (this.networkReady ? "" : "cni plugin not initialized") : "not ready";
    return {
      runtimeReady: this.runtimeReady,
      networkReady: this.networkReady,
      message,
      cgroupDriver: "cgroupfs",
      handlers: this.handlers,
      strictGroups: false,
    };
  }

  async runSandbox(config: SandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<string> {
    this.#enter("runSandbox", config.podName, signal);
    const same = (other: SandboxStatus): boolean =>
      other.podUid === config.podUid &&
      other.podName === config.podName &&
      other.podNamespace === config.podNamespace &&
      other.attempt === config.attempt;
    if ([...this.#sandboxes.values()].some(({ status }) => same(status))) {
      throw new RuntimeError(
        "exists",
        `cannot run sandbox of pod "${config.podName}": attempt ${config.attempt} is there`,
      );
    }
    const id = this.#newId();
    const status: SandboxStatus = {
      id,
      podName: config.podName,
      podNamespace: config.podNamespace,
      podUid: config.podUid,
      attempt: config.attempt,
      state: "ready",
      createdAtMs: this.#clock.now(),
      ips: config.network === "pod" ? [`10.0.${(this.#made >> 8) & 255}.${this.#made & 255}`] : [],
      network: config.network,
      labels: config.labels,
      annotations: config.annotations,
      runtimeHandler,
    };
    this.#sandboxes.set(id, { config, status });
    this.#emit("sandbox", config.podUid, id);
    return id;
  }

  async stopSandbox(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("stopSandbox", id, signal);
    const sandbox = this.#sandboxes.get(id);
    if (sandbox?.status.state !== "ready") return;
    for (const container of this.#inSandbox(id)) container.process?.signal("KILL");
    await Promise.all(this.#inSandbox(id).flatMap(({ process }) => process?.exit ?? []));
    sandbox.status = { ...sandbox.status, state: "not-ready", ips: [] };
    this.#emit("sandbox", sandbox.config.podUid, id);
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("removeSandbox", id, signal);
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) return;
    await this.stopSandbox(id, signal);
    for (const container of this.#inSandbox(id)) this.#containers.delete(container.status.id);
    this.#sandboxes.delete(id);
    this.#emit("sandbox", sandbox.config.podUid, id);
  }

  async listSandboxes(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly SandboxStatus[]> {
    this.#enter("listSandboxes", undefined, signal);
    return [...this.#sandboxes.values()]
      .map(({ status }) => status)
      .filter((status) => filter.podUid === undefined || status.podUid === filter.podUid);
  }

  async createContainer(
    sandboxId: string,
    config: ContainerConfig,
    _sandbox: SandboxConfig,
    signal: AbortSignal,
  ): Promise<string> {
    this.#enter("createContainer", config.name, signal);
    const sandbox = this.#sandboxes.get(sandboxId);
    const what = `cannot create container "${config.name}"`;
    if (sandbox === undefined)
      throw new RuntimeError("not-found", `${what}: there is no sandbox "${sandboxId}"`);
    if (sandbox.status.state !== "ready")
      throw new RuntimeError("invalid", `${what}: sandbox "${sandboxId}" is not ready`);
    const image = this.#findImage(config.image);
    if (image === undefined)
      throw new RuntimeError("not-found", `${what}: there is no image "${config.image}"`);
    const taken = this.#inSandbox(sandboxId).some(
      ({ status }) => status.name === config.name && status.attempt === config.attempt,
    );
    if (taken) throw new RuntimeError("exists", `${what}: attempt ${config.attempt} is there`);
    const id = this.#newId();
    const { podUid, podName, podNamespace } = sandbox.status;
    const status: ContainerStatus = {
      id,
      sandboxId,
      podUid,
      podName,
      podNamespace,
      name: config.name,
      attempt: config.attempt,
      state: "created",
      createdAtMs: this.#clock.now(),
      startedAtMs: 0,
      finishedAtMs: 0,
      exitCode: 0,
      signal: 0,
      reason: "",
      message: "",
      image: config.userImage,
      imageRef: image.repoDigests[0] ?? image.id,
      labels: config.labels,
      annotations: config.annotations,
      logPath: path.join(sandbox.config.logDirectory, config.logPath),
      stopSignal: config.stopSignal ?? "SIGTERM",
      mounts: config.mounts,
    };
    this.#containers.set(id, {
      config,
      sandboxId,
      status,
      resources: config.resources,
      process: undefined,
      oomKilled: false,
      attached: new Set(),
      execs: new Set(),
    });
    this.#emit("container", podUid, id);
    return id;
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("startContainer", id, signal);
    const container = this.#container(id);
    if (container.status.state !== "created") {
      throw new RuntimeError("invalid", `cannot start container "${id}": it is ${container.status.state}`);
    }
    const { config } = container;
    const image = this.registry.get(this.#findImage(config.image)?.repoTags[0] ?? "");
    const argv =
      config.command.length > 0
        ? [...config.command, ...config.args]
        : [...(image?.entrypoint ?? []), ...config.args];
    if (this.#writeLogs) await mkdir(path.dirname(container.status.logPath), { recursive: true });
    const process = startFakeProgram(argv, this.#envOf(container), (ms, callback) =>
      this.#clock.after(ms, callback),
    );
    container.process = process;
    container.status = { ...container.status, state: "running", startedAtMs: this.#clock.now() };
    this.#drain(container, process.stdout, "stdout");
    this.#drain(container, process.stderr, "stderr");
    void process.exit.then((code) => this.#ended(container, code));
    this.#emit("container", container.status.podUid, id);
  }

  async stopContainer(id: string, timeoutSeconds: number, signal: AbortSignal): Promise<void> {
    this.#enter("stopContainer", id, signal);
    const container = this.#containers.get(id);
    const process = container?.process;
    if (container === undefined || process === undefined || container.status.state !== "running") return;
    if (timeoutSeconds > 0) process.signal((container.config.stopSignal ?? "SIGTERM").replace(/^SIG/, ""));
    const cancel = this.#clock.after(timeoutSeconds * 1_000, () => process.signal("KILL"));
    await process.exit;
    cancel();
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("removeContainer", id, signal);
    const container = this.#containers.get(id);
    if (container === undefined) return;
    container.process?.signal("KILL");
    await container.process?.exit;
    this.#containers.delete(id);
    this.#emit("container", container.status.podUid, id);
  }

  async listContainers(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly ContainerStatus[]> {
    this.#enter("listContainers", undefined, signal);
    return [...this.#containers.values()]
      .map(({ status }) => status)
      .filter((status) => filter.podUid === undefined || status.podUid === filter.podUid);
  }

  async containerStatus(id: string, signal: AbortSignal): Promise<ContainerStatus | undefined> {
    this.#enter("containerStatus", undefined, signal);
    return this.#containers.get(id)?.status;
  }

  async writableLayerBytes(id: string, signal: AbortSignal): Promise<number | undefined> {
    this.#enter("writableLayerBytes", undefined, signal);
    return this.#container(id).process?.writtenBytes() ?? 0;
  }

  async updateResources(id: string, resources: LinuxResources, signal: AbortSignal): Promise<void> {
    this.#enter("updateResources", id, signal);
    const container = this.#container(id);
    container.resources = { ...container.resources, ...resources };
  }

  async reopenLog(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("reopenLog", id, signal);
    this.#running(id);
  }

  async execSync(
    id: string,
    command: readonly string[],
    options: ExecSyncOptions,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    this.#enter("execSync", id, signal);
    const process = this.#startExec(id, command);
    process.stdin.end();
    const output = Promise.all([
      collectOutput(process.stdout, options.maxOutputBytes),
      collectOutput(process.stderr, options.maxOutputBytes),
    ]);
    let timedOut = false;
    const cancel =
      options.timeoutMs === 0
        ? (): void => {}
        : this.#clock.after(options.timeoutMs, () => {
            timedOut = true;
            process.signal("KILL");
          });
    const stop = (): void => process.signal("KILL");
    signal.addEventListener("abort", stop, { once: true });
    const exitCode = await process.exit;
    signal.removeEventListener("abort", stop);
    cancel();
    signal.throwIfAborted();
    const [stdout, stderr] = await output;
    if (timedOut) {
      throw new RuntimeError(
        "timeout",
        `cannot run "${command.join(" ")}": it did not end in ${options.timeoutMs} ms`,
      );
    }
    return { exitCode, stdout, stderr };
  }

  async exec(
    id: string,
    options: StreamOptions & { readonly command: readonly string[] },
    signal: AbortSignal,
  ): Promise<ProcessStreams> {
    this.#enter("exec", id, signal);
    const process = this.#startExec(id, options.command);
    if (!options.stdin) process.stdin.end();
    if (!options.stdout) process.stdout.resume();
    if (!options.stderr) process.stderr.resume();
    return {
      stdin: options.stdin ? process.stdin : undefined,
      stdout: options.stdout ? process.stdout : undefined,
      stderr: options.stderr && !options.tty ? process.stderr : undefined,
      resize: async () => {},
      exit: process.exit,
      close: () => process.signal("KILL"),
    };
  }

  async attach(id: string, options: StreamOptions, signal: AbortSignal): Promise<ProcessStreams> {
    this.#enter("attach", id, signal);
    const container = this.#running(id);
    const tee: ProcessTee = { stdout: new PassThrough(), stderr: new PassThrough() };
    container.attached.add(tee);
    const ended = container.process?.exit.then(() => 0) ?? Promise.resolve(0);
    const closed = Promise.withResolvers<number>();
    return {
      stdin: options.stdin && container.config.stdin ? container.process?.stdin : undefined,
      stdout: options.stdout ? tee.stdout : undefined,
      stderr: options.stderr && !options.tty ? tee.stderr : undefined,
      resize: async () => {},
      exit: Promise.race([ended, closed.promise]),
      close: () => {
        container.attached.delete(tee);
        tee.stdout.end();
        tee.stderr.end();
        closed.resolve(0);
      },
    };
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    this.#enter("portForward", sandboxId, signal);
    const sandbox = this.#sandboxes.get(sandboxId);
    if (sandbox?.status.state !== "ready")
      throw new RuntimeError("not-found", `cannot forward to sandbox "${sandboxId}": it is not ready`);
    const listens = this.#inSandbox(sandboxId).some(
      ({ status, process }) => status.state === "running" && (process?.echoPorts.includes(port) ?? false),
    );
    if (!listens)
      throw new RuntimeError(
        "failed",
        `cannot forward to port ${port} in "${sandboxId}": connection refused`,
      );
    return new PassThrough();
  }

  /** It has no streaming server unless a test gives it one. */
  streamingUrl: Runtime["streamingUrl"] = async () => undefined;

  async pullImage(
    image: string,
    { auth, progress }: PullOptions,
    signal: AbortSignal,
  ): Promise<{ readonly imageRef: string }> {
    this.#enter("pullImage", image, signal);
    const full = fullImageName(image);
    const found = this.registry.get(full);
    if (found === undefined)
      throw new RuntimeError("image-pull", `cannot pull image "${image}": not found in the registry`);
    if (found.password !== undefined && auth?.password !== found.password)
      throw new RuntimeError("image-pull", `cannot pull image "${image}": unauthorized`);
    const status = imageStatusOf(full, found);
    if (found.pullMs !== undefined) {
      progress?.({ currentBytes: Math.floor(status.sizeBytes / 2), totalBytes: status.sizeBytes });
      await this.#clock.sleep(found.pullMs, signal);
    }
    this.#images.set(full, status);
    return { imageRef: status.repoDigests[0] ?? status.id };
  }

  async imageStatus(image: string, signal: AbortSignal): Promise<ImageStatus | undefined> {
    this.#enter("imageStatus", undefined, signal);
    return this.#findImage(image);
  }

  async listImages(signal: AbortSignal): Promise<readonly ImageStatus[]> {
    this.#enter("listImages", undefined, signal);
    return [...this.#images.values()];
  }

  async removeImage(image: string, signal: AbortSignal): Promise<void> {
    this.#enter("removeImage", image, signal);
    const found = this.#findImage(image);
    for (const tag of found?.repoTags ?? []) this.#images.delete(tag);
  }

  async imageFsInfo(signal: AbortSignal): Promise<{ readonly path: string; readonly usedBytes: number }> {
    this.#enter("imageFsInfo", undefined, signal);
    const usedBytes = [...this.#images.values()].reduce((sum, image) => sum + image.sizeBytes, 0);
    return { path: "/", usedBytes };
  }

  async *events(signal: AbortSignal): AsyncGenerator<RuntimeEvent, void, undefined> {
    const waiting: RuntimeEvent[] = [];
    let wake = Promise.withResolvers<void>();
    let overflowed = false;
    const listener = (event: RuntimeEvent): void => {
      if (waiting.length >= maxEventsBehind) overflowed = true;
      else waiting.push(event);
      wake.resolve();
    };
    const stop = (): void => wake.resolve();
    this.#listeners.add(listener);
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        if (overflowed) throw new RuntimeError("failed", "cannot follow events: the reader is too slow");
        const event = waiting.shift();
        if (event !== undefined) yield event;
        else {
          await wake.promise;
          wake = Promise.withResolvers<void>();
        }
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", stop);
    }
  }

  async close(): Promise<void> {
    for (const container of this.#containers.values()) container.process?.signal("KILL");
  }

  #enter(call: FakeCall, subject: string | undefined, signal: AbortSignal): void {
    signal.throwIfAborted();
    if (subject !== undefined) this.history.push(`${call} ${subject}`);
    const failure = this.#failures.get(call)?.shift();
    if (failure !== undefined) throw failure;
  }

  #newId(): string {
    this.#made += 1;
    return this.#made.toString(16).padStart(64, "0");
  }

  #container(id: string): FakeContainer {
    const container = this.#containers.get(id);
    if (container === undefined) throw new RuntimeError("not-found", `there is no container "${id}"`);
    return container;
  }

  #running(id: string): FakeContainer {
    const container = this.#container(id);
    if (container.status.state !== "running")
      throw new RuntimeError("invalid", `container "${id}" is not running: it is ${container.status.state}`);
    return container;
  }

  #inSandbox(sandboxId: string): FakeContainer[] {
    return [...this.#containers.values()].filter((container) => container.sandboxId === sandboxId);
  }

  #findImage(name: string): ImageStatus | undefined {
    return (
      this.#images.get(fullImageName(name)) ??
      [...this.#images.values()].find((image) => image.id === name || image.repoDigests.includes(name))
    );
  }

  #envOf(container: FakeContainer): Record<string, string> {
    const image = this.registry.get(this.#findImage(container.config.image)?.repoTags[0] ?? "");
    return {
      ...image?.env,
      ...Object.fromEntries(container.config.env.map(({ name, value }) => [name, value])),
    };
  }

  #startExec(id: string, command: readonly string[]): FakeProcess {
    const container = this.#running(id);
    const process = startFakeProgram(command, this.#envOf(container), (ms, callback) =>
      this.#clock.after(ms, callback),
    );
    container.execs.add(process);
    void process.exit.then(() => container.execs.delete(process));
    return process;
  }

  #drain(container: FakeContainer, from: PassThrough, stream: "stdout" | "stderr"): void {
    let write = Promise.resolve();
    from.on("data", (chunk: Buffer) => {
      for (const tee of container.attached) tee[stream].write(chunk);
      if (!this.#writeLogs) return;
      const time = new Date(this.#clock.now()).toISOString().replace("Z", "000000Z");
      const lines = chunk.toString("utf8").replace(/\n$/, "").split("\n");
      const text = lines.map((line) => `${time} ${stream} F ${line}\n`).join("");
      write = write.then(() => appendFile(container.status.logPath, text));
    });
    from.on("end", () => {
      for (const tee of container.attached) tee[stream].end();
    });
  }

  #ended(container: FakeContainer, exitCode: number): void {
    for (const process of container.execs) process.signal("KILL");
    const reason = container.oomKilled ? "OOMKilled" : exitCode === 0 ? "Completed" : "Error";
    container.status = {
      ...container.status,
      state: "exited",
      finishedAtMs: this.#clock.now(),
      exitCode,
      reason,
    };
    this.#emit("container", container.status.podUid, container.status.id);
  }

  #emit(type: RuntimeEvent["type"], podUid: string, containerId: string): void {
    for (const listener of this.#listeners) listener({ type, podUid, containerId });
  }
}

/** `busybox` is `docker.io/library/busybox:latest` for every runtime. */
function fullImageName(name: string): string {
  const parts = name.split("/");
  const hasHost = parts.length > 1 && /[.:]|^localhost$/.test(parts[0] ?? "");
  const withHost = hasHost ? name : `docker.io/${parts.length === 1 ? "library/" : ""}${name}`;
  const last = withHost.slice(withHost.lastIndexOf("/"));
  return /[:@]/.test(last) ? withHost : `${withHost}:latest`;
}

function imageStatusOf(full: string, image: FakeImage): ImageStatus {
  const digest = Buffer.from(full).toString("hex").padEnd(64, "0").slice(-64);
  const repository = full.replace(/[:@][^/]*$/, "");
  return {
    id: `sha256:${digest}`,
    repoTags: [full],
    repoDigests: [`${repository}@sha256:${digest}`],
    sizeBytes: 1_000_000,
    user: image.user ?? { uid: 0 },
    pinned: false,
  };
}
