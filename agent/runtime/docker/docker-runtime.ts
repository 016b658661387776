import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { type Duplex, PassThrough, Readable } from "node:stream";
import Docker, { type ContainerInspectInfo } from "dockerode";
import { dockerArchive } from "../image-tar.ts";
import { type Change, OwnChanges } from "../own-changes.ts";
import { dockerPauseReference, pauseImage } from "../pause-image.ts";
import type {
  ContainerConfig,
  ContainerStatus,
  ExecResult,
  ExecSyncOptions,
  ImageStatus,
  LinuxResources,
  NetworkAttachment,
  PodNetwork,
  ProcessStreams,
  PullOptions,
  Runtime,
  RuntimeEvent,
  RuntimeStatus,
  SandboxConfig,
  SandboxStatus,
  StreamOptions,
} from "../runtime.ts";
import { RuntimeError } from "../runtime.ts";
import { connectInNetns } from "./connect-in-netns.ts";
import { demultiplex } from "./demultiplex.ts";
import { statusOf, toRuntimeError } from "./docker-error.ts";
import { type DockerExec, execToEnd, exitCodeOf } from "./exec-to-end.ts";
import { containerFromDocker, imageFromDocker, sandboxFromDocker } from "./from-docker.ts";
import { hijack } from "./hijack.ts";
import { mountImageContent } from "./image-content.ts";
import { dockerLabel } from "./labels.ts";
import { sandboxOomScore } from "./oom-score.ts";
import { readPull } from "./read-pull.ts";
import { formatResolvConf } from "./resolv-conf.ts";
import { containerToDocker, type LogLimits, resourcesToDocker, sandboxToDocker } from "./to-docker.ts";

/** Docker 20.10; older ones lack what we send and are long out of support. */
const leastApi = 1.41;
const sandboxStopSeconds = 10;
/** Docker merges groups, shares its own user namespace, and cannot make what is mounted below a mount read-only. */
const nothingSpecial = { handlers: [], strictGroups: false } as const;
/** kubelet's runtimeRequestTimeout: how long Docker may be silent in a call that has no time of its own. */
const defaultCallMs = 120_000;
/** kubelet's containerLogMaxSize and containerLogMaxFiles. */
const defaultLogs: LogLimits = { maxSizeBytes: 10 * 1024 * 1024, maxFiles: 5 };

/** What may be said of the runtime besides where it is. */
export interface DockerOptions {
  /** How long a call may go without a word; two minutes unless given. */
  readonly callMs?: number;
  /** Of containers that are created from now on; five files of 10 MiB unless given. */
  readonly logs?: LogLimits;
}

/** Docker itself as the runtime, without a shim: the names, labels and meanings of cri-dockerd. */
export class DockerRuntime implements Runtime {
  readonly name: string = "docker";
  readonly #docker: Docker;
  /** For what takes as long as it takes: images and events. */
  readonly #patient: Docker;
  readonly #callMs: number;
  readonly #socketPath: string;
  readonly #network: PodNetwork;
  readonly #logs: LogLimits;
  readonly #oomScoreAdj: number = sandboxOomScore();
  /** Images do not change under their id: asked for once. */
  readonly #images = new Map<string, ImageStatus>();
  /** Containers whose log has its link. */
  readonly #linked = new Set<string>();
  readonly #own = new OwnChanges();

  private constructor(socketPath: string, network: PodNetwork, callMs: number, logs: LogLimits) {
    this.#docker = new Docker({ socketPath, timeout: callMs });
    this.#patient = new Docker({ socketPath });
    this.#callMs = callMs;
    this.#socketPath = socketPath;
    this.#network = network;
    this.#logs = logs;
  }

  /**
   * Connects and checks the version.
   * @param endpoint `unix:///var/run/docker.sock`, or the path alone.
   * @throws {RuntimeError} `unavailable` when nobody answers, `unsupported` when Docker is too old.
   */
  static async connect(
    endpoint: string,
    network: PodNetwork,
    signal: AbortSignal,
    { callMs = defaultCallMs, logs = defaultLogs }: DockerOptions = {},
  ): Promise<DockerRuntime> {
    signal.throwIfAborted();
    const socketPath = endpoint.replace(/^unix:\/\//, "");
    const docker = new Docker({ socketPath, timeout: callMs });
    const version = await docker.version().catch((cause: unknown) => {
      throw toRuntimeError(`reach Docker at "${socketPath}"`, cause);
    });
    const [, minor = "0"] = version.ApiVersion.split(".");
    if (Number(minor) < Math.round((leastApi - 1) * 100))
      throw new RuntimeError(
        "unsupported",
        `cannot use Docker at "${socketPath}": ${version.Version} is too old (API ${version.ApiVersion}, at least ${leastApi} is needed); install Docker 20.10 or newer`,
      );
    return new DockerRuntime(socketPath, network, callMs, logs);
  }

  async version(
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly version: string; readonly apiVersion: string }> {
    const version = await this.#ask("read the version", signal, () => this.#docker.version());
    return { name: "docker", version: version.Version, apiVersion: version.ApiVersion };
  }

  async status(signal: AbortSignal): Promise<RuntimeStatus> {
    const network = await this.#network.ready();
    try {
      const info: unknown = await this.#ask("read the status", signal, () => this.#docker.info());
      const driver =
        typeof info === "object" && info !== null && "CgroupDriver" in info ? info.CgroupDriver : undefined;
      return {
        runtimeReady: true,
        networkReady: network.ready,
        message: network.ready ? "" : `NetworkReady is false: NetworkPluginNotReady: ${network.why}`,
        cgroupDriver: driver === "systemd" || driver === "cgroupfs" ? driver : undefined,
        ...nothingSpecial,
      };
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      return {
        runtimeReady: false,
        networkReady: network.ready,
        message: `RuntimeReady is false: DockerDaemonNotReady: ${why}`,
        cgroupDriver: undefined,
        ...nothingSpecial,
      };
    }
  }

  async runSandbox(config: SandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<string> {
    await this.#ensurePauseImage(signal);
    const what = `run the sandbox of pod "${config.podName}"`;
    const withText = await withSeccompText(what, config);
    const body = sandboxToDocker(withText, dockerPauseReference, runtimeHandler, this.#oomScoreAdj);
    const { id } = await this.#ask(what, signal, () => this.#docker.createContainer(body));
    this.#own.expect("started", id);
    try {
      await this.#ask(what, signal, () => this.#docker.getContainer(id).start());
      const info = await this.#ask(what, signal, () => this.#docker.getContainer(id).inspect());
      await writeFile(info.ResolvConfPath, formatResolvConf(config.dns));
      if (config.network === "pod") {
        await this.#network.add(attachmentOf(id, info, config), signal);
      }
      return id;
    } catch (cause) {
      // What half exists would keep the name taken and its address used.
      const cleanup = AbortSignal.timeout(30_000);
      if (config.network === "pod") {
        await this.#network.delete({ ...attachmentOf(id, undefined, config) }, cleanup).catch(() => {});
      }
      await this.#remove(id, cleanup).catch(() => {});
      throw toRuntimeError(what, cause);
    }
  }

  async stopSandbox(id: string, signal: AbortSignal): Promise<void> {
    const info = await this.#inspect(id, signal);
    if (info === undefined) return;
    for (const container of await this.#list("container", { sandboxId: id }, signal)) {
      if (container.State === "running") await this.stopContainer(container.Id, 0, signal);
    }
    if (info.HostConfig.NetworkMode !== "host") {
      await this.#network.delete(attachmentOf(id, info, podOf(info)), signal);
    }
    this.#own.expect("ended", id);
    await this.#stop(id, sandboxStopSeconds, signal);
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    await this.stopSandbox(id, signal);
    for (const keeper of await this.#list("image", { sandboxId: id }, signal)) {
      await this.#remove(keeper.Id, signal);
    }
    for (const container of await this.#list("container", { sandboxId: id }, signal)) {
      await this.removeContainer(container.Id, signal);
    }
    await this.#remove(id, signal);
  }

  async listSandboxes(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly SandboxStatus[]> {
    const found = await this.#list("podsandbox", filter, signal);
    return await Promise.all(
      found.map(async (info) => sandboxFromDocker(info, await this.#network.addresses(info.Id))),
    );
  }

  async createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandbox: SandboxConfig,
    signal: AbortSignal,
  ): Promise<string> {
    const what = `create container "${config.name}"`;
    const holder = await this.#inspect(sandboxId, signal);
    if (holder === undefined)
      throw new RuntimeError("not-found", `cannot ${what}: there is no sandbox "${sandboxId}"`);
    if (!holder.State.Running)
      throw new RuntimeError("invalid", `cannot ${what}: sandbox "${sandboxId}" is not ready`);
    const holding = { id: sandboxId, handler: holder.Config.Labels[dockerLabel.runtimeHandler] ?? "" };
    const body = containerToDocker(await withSeccompText(what, config), sandbox, holding, this.#logs);
    const { id } = await this.#ask(what, signal, () => this.#docker.createContainer(body));
    return id;
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    const what = `start container "${id}"`;
    const before = await this.#inspect(id, signal);
    if (before === undefined) throw new RuntimeError("not-found", `cannot ${what}: there is none`);
    // Docker would start an ended one again.
    if (before.State.Status !== "created")
      throw new RuntimeError("invalid", `cannot ${what}: it is ${before.State.Status}`);
    this.#own.expect("started", id);
    await this.#ask(what, signal, () => this.#docker.getContainer(id).start());
    // Only a container that was started has a log file.
    const started = await this.#inspect(id, signal);
    if (started !== undefined) await this.#linkLog(started);
  }

  async stopContainer(id: string, timeoutSeconds: number, signal: AbortSignal): Promise<void> {
    await this.#stop(id, timeoutSeconds, signal);
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    const info = await this.#inspect(id, signal);
    if (info === undefined) return;
    await this.#remove(id, signal);
    this.#linked.delete(id);
    const link = info.Config.Labels[dockerLabel.logPath] ?? "";
    if (link !== "") await rm(link, { force: true });
  }

  async listContainers(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly ContainerStatus[]> {
    const found = await this.#list("container", filter, signal);
    const all = await Promise.all(found.map((info) => this.containerStatus(info.Id, signal)));
    return all.filter((status) => status !== undefined);
  }

  async containerStatus(id: string, signal: AbortSignal): Promise<ContainerStatus | undefined> {
    const info = await this.#inspect(id, signal);
    if (info === undefined) return undefined;
    // An agent that ended between the start and the link left a log that nobody would find.
    if (info.State.Status !== "created") await this.#linkLog(info).catch(() => {});
    return containerFromDocker(info, await this.imageStatus(info.Image, signal));
  }

  async writableLayerBytes(id: string, signal: AbortSignal): Promise<number | undefined> {
    // Docker counts the files for it: asked only of containers that have a limit.
    const filters = { id: [id] };
    const [info] = await this.#ask(`measure container "${id}"`, signal, () =>
      this.#docker.listContainers({ all: true, size: true, filters }),
    );
    if (info === undefined) throw new RuntimeError("not-found", `there is no container "${id}" to measure`);
    return "SizeRw" in info && typeof info.SizeRw === "number" ? info.SizeRw : 0;
  }

  async updateResources(id: string, resources: LinuxResources, signal: AbortSignal): Promise<void> {
    await this.#ask(`update container "${id}"`, signal, () =>
      this.#docker.getContainer(id).update(resourcesToDocker(resources)),
    );
  }

  /** Docker rotates by itself. */
  async reopenLog(): Promise<void> {}

  async execSync(
    id: string,
    command: readonly string[],
    options: ExecSyncOptions,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const streams = { stdin: false, stdout: true, stderr: true, tty: false };
    const what = `run "${command.join(" ")}"`;
    return await execToEnd(what, (either) => this.#createExec(id, command, streams, either), options, signal);
  }

  async exec(
    id: string,
    options: StreamOptions & { readonly command: readonly string[] },
    signal: AbortSignal,
  ): Promise<ProcessStreams> {
    const { open, inspect, resize } = await this.#createExec(id, options.command, options, signal);
    const socket = await open(signal);
    const ended = once(socket, "close");
    const streams = streamsOf(socket, options);
    return {
      ...streams,
      resize,
      exit: ended.then(() => exitCodeOf({ inspect }, AbortSignal.timeout(60_000))),
      close: () => socket.destroy(),
    };
  }

  async attach(id: string, options: StreamOptions, signal: AbortSignal): Promise<ProcessStreams> {
    const info = await this.#inspect(id, signal);
    if (info?.State.Running !== true)
      throw new RuntimeError("invalid", `cannot attach to container "${id}": it is not running`);
    const flag = (on: boolean): string => (on ? "1" : "0");
    const query = `stream=1&stdin=${flag(options.stdin)}&stdout=${flag(options.stdout)}&stderr=${flag(options.stderr)}`;
    const socket = await hijack(this.#socketPath, `/containers/${id}/attach?${query}`, {}, signal);
    const ended = once(socket, "close");
    const container = this.#docker.getContainer(id);
    return {
      ...streamsOf(socket, { ...options, tty: info.Config.Tty }),
      resize: async ({ width, height }) => {
        await container.resize({ w: width, h: height });
      },
      exit: ended.then(() => 0),
      close: () => socket.destroy(),
    };
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    const info = await this.#inspect(sandboxId, signal);
    if (info?.State.Running !== true)
      throw new RuntimeError("not-found", `cannot forward to sandbox "${sandboxId}": it is not ready`);
    return await connectInNetns(`/proc/${info.State.Pid}/ns/net`, port, signal);
  }

  /** Docker's streams have a form of its own. */
  async streamingUrl(): Promise<undefined> {}

  async mountImage(sandboxId: string, image: string, directory: string, signal: AbortSignal): Promise<void> {
    const name = imageName(image);
    const what = `mount image "${image}"`;
    const { GraphDriver: driver } = await this.#ask(what, signal, () =>
      this.#docker.getImage(name).inspect(),
    );
    const data: unknown = driver.Data;
    const top = typeof data === "object" && data !== null && "UpperDir" in data ? data.UpperDir : undefined;
    if (driver.Name !== "overlay2" || typeof top !== "string")
      throw new RuntimeError(
        "unsupported",
        `cannot ${what}: Docker keeps it with its storage driver "${driver.Name}"; it needs "overlay2"`,
      );
    await this.#keepImage(what, sandboxId, name, signal);
    await mountImageContent(image, top, directory);
  }

  async pullImage(
    image: string,
    { auth, progress: tell }: PullOptions,
    signal: AbortSignal,
  ): Promise<{ readonly imageRef: string }> {
    const name = withTag(image);
    try {
      signal.throwIfAborted();
      const authconfig = {
        username: auth?.username ?? "",
        password: auth?.password ?? "",
        serveraddress: auth?.serverAddress ?? "",
        ...(auth?.identityToken === undefined ? {} : { identitytoken: auth.identityToken }),
        ...(auth?.registryToken === undefined ? {} : { registrytoken: auth.registryToken }),
      };
      const progress = await this.#patient.pull(
        name,
        auth === undefined ? { abortSignal: signal } : { authconfig, abortSignal: signal },
      );
      await readPull(Readable.from(progress), tell);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new RuntimeError("image-pull", `cannot pull image "${image}": ${why}`, { cause });
    }
    const status = await this.imageStatus(name, signal);
    if (status === undefined)
      throw new RuntimeError("image-pull", `cannot find image "${image}" after its pull`);
    return { imageRef: status.repoDigests[0] ?? status.id };
  }

  async imageStatus(image: string, signal: AbortSignal): Promise<ImageStatus | undefined> {
    const name = imageName(image);
    const known = this.#images.get(name);
    if (known !== undefined) return known;
    try {
      const info = await this.#ask(`read image "${image}"`, signal, () =>
        this.#docker.getImage(name).inspect(),
      );
      const status = imageFromDocker({ ...info, user: info.Config?.User ?? "" });
      if (name.startsWith("sha256:") && this.#images.size < 1_000) this.#images.set(name, status);
      return status;
    } catch (cause) {
      if (isGone(cause)) return undefined;
      throw cause;
    }
  }

  async listImages(signal: AbortSignal): Promise<readonly ImageStatus[]> {
    this.#images.clear(); // tags move
    const images = await this.#ask("list images", signal, () => this.#docker.listImages());
    return images.map((image) =>
      imageFromDocker({
        Id: image.Id,
        RepoTags: image.RepoTags ?? [],
        RepoDigests: image.RepoDigests ?? [],
        Size: image.Size,
        user: "",
      }),
    );
  }

  async removeImage(image: string, signal: AbortSignal): Promise<void> {
    this.#images.clear();
    await unlessGone(
      this.#ask(`remove image "${image}"`, signal, () =>
        this.#docker.getImage(image).remove({ force: true }),
      ),
    );
  }

  async imageFsInfo(signal: AbortSignal): Promise<{ readonly path: string; readonly usedBytes: number }> {
    const info: unknown = await this.#ask("read the status", signal, () => this.#docker.info());
    const root =
      typeof info === "object" && info !== null && "DockerRootDir" in info ? String(info.DockerRootDir) : "/";
    const images = await this.listImages(signal);
    return { path: root, usedBytes: images.reduce((sum, image) => sum + image.sizeBytes, 0) };
  }

  async *events(signal: AbortSignal): AsyncGenerator<RuntimeEvent, void, undefined> {
    if (signal.aborted) return;
    const stream = await this.#ask("follow events", signal, () =>
      this.#patient.getEvents({
        abortSignal: signal,
        filters: JSON.stringify({
          type: ["container"],
          event: Object.keys(changeOfEvent),
          label: [dockerLabel.type],
        }),
      }),
    );
    try {
      let text = "";
      for await (const chunk of stream) {
        const lines = (text + String(chunk)).split("\n");
        text = lines.pop() ?? "";
        for (const line of lines) {
          if (line.trim() === "") continue;
          const { change, ...event } = parseEvent(line);
          if (change === undefined || !this.#own.explains(change, event.containerId, true)) yield event;
        }
      }
    } catch (cause) {
      if (signal.aborted) return;
      throw toRuntimeError("follow events", cause);
    }
    if (!signal.aborted) throw new RuntimeError("unavailable", "Docker ended its stream of events");
  }

  async close(): Promise<void> {}

  async #ensurePauseImage(signal: AbortSignal): Promise<void> {
    if ((await this.imageStatus(dockerPauseReference, signal)) !== undefined) return;
    const archive = dockerArchive(pauseImage(process.arch), dockerPauseReference);
    const progress = await this.#ask("load the sandbox image", signal, () =>
      this.#patient.loadImage(Readable.from([archive])),
    );
    await readPull(Readable.from(progress), undefined);
  }

  /** A container that never runs: Docker removes no layer that one stands on. */
  async #keepImage(what: string, sandboxId: string, image: string, signal: AbortSignal): Promise<void> {
    const holder = await this.#inspect(sandboxId, signal);
    if (holder === undefined)
      throw new RuntimeError("not-found", `cannot ${what}: there is no sandbox "${sandboxId}"`);
    const hash = createHash("sha256").update(image).digest("hex").slice(0, 12);
    const body = {
      name: `keelson-image-${sandboxId.slice(0, 12)}-${hash}`,
      Image: image,
      Entrypoint: ["none"],
      Labels: {
        [dockerLabel.type]: "image",
        [dockerLabel.sandboxId]: sandboxId,
        [dockerLabel.podUid]: holder.Config.Labels[dockerLabel.podUid] ?? "",
      },
      HostConfig: { NetworkMode: "none" },
    };
    try {
      await this.#ask(what, signal, () => this.#docker.createContainer(body));
    } catch (cause) {
      if (!(cause instanceof RuntimeError && cause.code === "exists")) throw cause;
    }
  }

  async #createExec(
    id: string,
    command: readonly string[],
    options: StreamOptions,
    signal: AbortSignal,
  ): Promise<DockerExec> {
    const exec = await this.#ask(`run a command in container "${id}"`, signal, () =>
      this.#docker.getContainer(id).exec({
        Cmd: [...command],
        AttachStdin: options.stdin,
        AttachStdout: options.stdout,
        AttachStderr: options.stderr,
        Tty: options.tty,
        abortSignal: signal,
      }),
    );
    const body = { Detach: false, Tty: options.tty };
    return {
      open: (until) => hijack(this.#socketPath, `/exec/${exec.id}/start`, body, until),
      inspect: (until) => exec.inspect({ abortSignal: until }),
      resize: async ({ width, height }) => {
        await exec.resize({ w: width, h: height });
      },
    };
  }

  async #list(
    type: "podsandbox" | "container" | "image",
    filter: { readonly podUid?: string; readonly sandboxId?: string },
    signal: AbortSignal,
  ): Promise<readonly Docker.ContainerInfo[]> {
    const label = [
      `${dockerLabel.type}=${type}`,
      ...(filter.podUid === undefined ? [] : [`${dockerLabel.podUid}=${filter.podUid}`]),
      ...(filter.sandboxId === undefined ? [] : [`${dockerLabel.sandboxId}=${filter.sandboxId}`]),
    ];
    return await this.#ask("list containers", signal, () =>
      this.#docker.listContainers({ all: true, filters: { label } }),
    );
  }

  async #inspect(id: string, signal: AbortSignal): Promise<ContainerInspectInfo | undefined> {
    try {
      return await this.#ask(`read container "${id}"`, signal, () => this.#docker.getContainer(id).inspect());
    } catch (cause) {
      if (isGone(cause)) return undefined;
      throw cause;
    }
  }

  async #stop(id: string, timeoutSeconds: number, signal: AbortSignal): Promise<void> {
    try {
      signal.throwIfAborted();
      // Docker says nothing until the container has ended.
      const timeout = timeoutSeconds * 1_000 + this.#callMs;
      const docker = new Docker({ socketPath: this.#socketPath, timeout });
      await docker.getContainer(id).stop({ t: timeoutSeconds });
    } catch (cause) {
      if (statusOf(cause) !== 304 && statusOf(cause) !== 404) throw toRuntimeError(`stop "${id}"`, cause);
    }
  }

  async #remove(id: string, signal: AbortSignal): Promise<void> {
    this.#own.expect("removed", id);
    await unlessGone(
      this.#ask(`remove container "${id}"`, signal, () =>
        this.#docker.getContainer(id).remove({ force: true, v: true }),
      ),
    );
  }

  /** Docker's own log file under the name that log shippers and `kubectl logs` look for. */
  async #linkLog(info: ContainerInspectInfo): Promise<void> {
    const link = info.Config.Labels[dockerLabel.logPath] ?? "";
    if (link === "" || info.LogPath === "" || this.#linked.has(info.Id)) return;
    if ((await readlink(link).catch(() => "")) !== info.LogPath) {
      await mkdir(path.dirname(link), { recursive: true });
      await rm(link, { force: true });
      await symlink(info.LogPath, link);
    }
    this.#linked.add(info.Id);
  }

  async #ask<T>(what: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    try {
      return await call();
    } catch (cause) {
      throw toRuntimeError(what, cause);
    }
  }
}

function attachmentOf(
  sandboxId: string,
  info: ContainerInspectInfo | undefined,
  pod: Pick<NetworkAttachment, "podName" | "podNamespace" | "podUid" | "portMappings" | "annotations">,
): NetworkAttachment {
  const pid = info?.State.Pid ?? 0;
  return {
    sandboxId,
    netnsPath: pid === 0 ? "" : `/proc/${pid}/ns/net`,
    podName: pod.podName,
    podNamespace: pod.podNamespace,
    podUid: pod.podUid,
    portMappings: pod.portMappings,
    annotations: pod.annotations,
  };
}

/** What is known of a sandbox's Pod without its configuration; the runner remembers the port mappings. */
function podOf(
  info: ContainerInspectInfo,
): Pick<NetworkAttachment, "podName" | "podNamespace" | "podUid" | "portMappings" | "annotations"> {
  const { Labels: labels } = info.Config;
  return {
    podName: labels[dockerLabel.podName] ?? "",
    podNamespace: labels[dockerLabel.podNamespace] ?? "",
    podUid: labels[dockerLabel.podUid] ?? "",
    portMappings: [],
    annotations: {},
  };
}

/** Docker wants the text of a seccomp profile, the Pod names its file. @throws {RuntimeError} `invalid` without it. */
async function withSeccompText<C extends SandboxConfig | ContainerConfig>(
  what: string,
  config: C,
): Promise<C> {
  const { seccomp } = config.security;
  if (seccomp?.type !== "Localhost") return config;
  try {
    const ref = await readFile(seccomp.ref.replace(/^localhost\//, ""), "utf8");
    return { ...config, security: { ...config.security, seccomp: { type: "Localhost", ref } } };
  } catch (cause) {
    const why = `the seccomp profile "${seccomp.ref}" cannot be read; put it there or name another`;
    throw new RuntimeError("invalid", `cannot ${what}: ${why}`, { cause });
  }
}

function streamsOf(
  socket: Duplex,
  options: StreamOptions,
): Pick<ProcessStreams, "stdin" | "stdout" | "stderr"> {
  const stdin = options.stdin ? socket : undefined;
  if (options.tty) return { stdin, stdout: socket.pipe(new PassThrough()), stderr: undefined };
  const { stdout, stderr } = demultiplex(socket);
  if (!options.stdout) stdout.resume();
  if (!options.stderr) stderr.resume();
  return {
    stdin,
    stdout: options.stdout ? stdout : undefined,
    stderr: options.stderr ? stderr : undefined,
  };
}

/** What Docker's events mean; a container that was only created runs nothing yet. */
const changeOfEvent: Readonly<Record<string, Change>> = {
  start: "started",
  die: "ended",
  oom: "hurt",
  destroy: "removed",
};

function parseEvent(line: string): RuntimeEvent & { readonly change: Change | undefined } {
  const event = JSON.parse(line) as {
    readonly Action?: string;
    readonly Actor?: { readonly ID?: string; readonly Attributes?: Readonly<Record<string, string>> };
  };
  const attributes = event.Actor?.Attributes ?? {};
  return {
    type: attributes[dockerLabel.type] === "podsandbox" ? "sandbox" : "container",
    podUid: attributes[dockerLabel.podUid] ?? "",
    containerId: event.Actor?.ID ?? "",
    change: changeOfEvent[event.Action ?? ""],
  };
}

function imageName(reference: string): string {
  return reference.replace(/^docker(-pullable)?:\/\//, "");
}

/** Without a tag Docker would pull every tag there is. */
function withTag(image: string): string {
  return /[:@][^/]*$/.test(image.slice(image.lastIndexOf("/"))) ? image : `${image}:latest`;
}

async function unlessGone(done: Promise<unknown>): Promise<void> {
  try {
    await done;
  } catch (cause) {
    if (!isGone(cause)) throw cause;
  }
}

function isGone(cause: unknown): boolean {
  return cause instanceof RuntimeError && cause.code === "not-found";
}
