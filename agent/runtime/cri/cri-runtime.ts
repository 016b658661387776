import type { Duplex } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { OwnChanges } from "../own-changes.ts";
import { pauseImage } from "../pause-image.ts";
import type {
  ContainerConfig,
  ContainerStatus,
  ExecResult,
  ExecSyncOptions,
  ImageStatus,
  LinuxResources,
  ProcessStreams,
  PullOptions,
  Runtime,
  RuntimeEvent,
  RuntimeStatus,
  SandboxConfig,
  SandboxStatus,
  StreamOptions,
  StreamTarget,
} from "../runtime.ts";
import { RuntimeError } from "../runtime.ts";
import { Channel } from "./channel.ts";
import type { Codec } from "../../grpc/message-codec.ts";
import { criCodec } from "./codec.ts";
import { endExec } from "./end-exec.ts";
import { changes, runs } from "./events.ts";
import { containerFromCri, imageFromCri, sandboxFromCri } from "./from-cri.ts";
import { importImage } from "./import-image.ts";
import type { CriContainer, CriContainerStatus, CriImage, CriSandbox, CriSandboxStatus } from "./messages.ts";
import { followPull } from "./pull-progress.ts";
import { askToStop } from "./stop-signal.ts";
import { connectPort, connectProcess } from "./streaming.ts";
import { authToCri, containerToCri, resourcesToCri, sandboxToCri } from "./to-cri.ts";

/** kubelet's runtimeRequestTimeout: what a call may take that has no time of its own. */
const callMs = 120_000;
const sandboxMs = 240_000;
const importedWithinMs = 10_000;
/** How long CRI may show as running what has ended by an event. */
const endTakesMs = 5_000;
/** PodSandboxState and ContainerState of CRI. */
const sandboxReady = 0;
const containerRunning = 1;
/** How long the call of a command that was ended may still take. */
const execEndMs = 2_000;

/** A runtime that speaks CRI (runtime.v1) on a Unix socket: containerd or CRI-O. */
export class CriRuntime implements Runtime {
  readonly name: string;
  readonly #version: string;
  readonly #channel: Channel;
  readonly #codec: Codec;
  /** Ended containers do not change any more: their status is asked for once. */
  #ended = new Map<string, ContainerStatus>();
  /** Running ones as last seen. A list of the whole node takes them from here: see {@link listContainers}. */
  #running = new Map<string, ContainerStatus>();
  /** Addresses of ready sandboxes, asked for once. */
  #networks = new Map<string, Pick<SandboxStatus, "ips" | "network">>();
  /** Which Pod a container or sandbox is of, as last listed: to name it in events. */
  readonly #podOf = new Map<string, string>();
  readonly #sandboxIds = new Set<string>();
  readonly #own = new OwnChanges();
  /** What has ended by the events: CRI may not know it yet. */
  readonly #endTold = new Set<string>();
  /** Stop signals that we send, because the runtime does not know of them. */
  readonly #stopSignals = new Map<string, string>();
  #importing: Promise<void> | undefined;

  private constructor(name: string, version: string, channel: Channel, codec: Codec) {
    this.name = name;
    this.#version = version;
    this.#channel = channel;
    this.#codec = codec;
  }

  /**
   * Connects and asks who is there.
   * @param endpoint `unix:///run/containerd/containerd.sock`, or the path alone.
   * @throws {RuntimeError} `unavailable` when nobody answers, `unsupported` without runtime.v1.
   */
  static async connect(endpoint: string, signal: AbortSignal): Promise<CriRuntime> {
    const codec = criCodec();
    const channel = new Channel(endpoint, codec);
    try {
      const version = await channel.call<{ runtimeName: string; runtimeVersion: string }>(
        methodOf("Runtime", "Version"),
        {},
        10_000,
        signal,
      );
      return new CriRuntime(version.runtimeName, version.runtimeVersion, channel, codec);
    } catch (cause) {
      channel.close();
      throw cause;
    }
  }

  async version(
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly version: string; readonly apiVersion: string }> {
    const answer = await this.#runtime<{
      runtimeName: string;
      runtimeVersion: string;
      runtimeApiVersion: string;
    }>("Version", {}, signal);
    return { name: answer.runtimeName, version: answer.runtimeVersion, apiVersion: answer.runtimeApiVersion };
  }

  async status(signal: AbortSignal): Promise<RuntimeStatus> {
    const { status, runtimeHandlers, features } = await this.#runtime<StatusResponse>("Status", {}, signal);
    const conditions = status?.conditions ?? [];
    const ready = (type: string): boolean => conditions.find((one) => one.type === type)?.status ?? false;
    const message = conditions
      .filter((one) => !one.status)
      .map((one) => `${one.type} is false: ${one.reason}: ${one.message}`)
      .join("; ");
    return {
      runtimeReady: ready("RuntimeReady"),
      networkReady: ready("NetworkReady"),
      message,
      cgroupDriver: await this.#cgroupDriver(signal),
      handlers: runtimeHandlers.map(({ name, features: its }) => ({
        name,
        recursiveReadOnly: its?.recursiveReadOnlyMounts ?? false,
        userNamespaces: its?.userNamespaces ?? false,
      })),
      strictGroups: features?.supplementalGroupsPolicy ?? false,
    };
  }

  async runSandbox(config: SandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<string> {
    await this.#ensureSandboxImage(signal);
    const request = { config: sandboxToCri(config), runtimeHandler };
    const answer = await this.#own.making(() =>
      this.#runtime<{ podSandboxId: string }>("RunPodSandbox", request, signal, sandboxMs),
    );
    this.#podOf.set(answer.podSandboxId, config.podUid);
    this.#sandboxIds.add(answer.podSandboxId);
    return answer.podSandboxId;
  }

  async stopSandbox(id: string, signal: AbortSignal): Promise<void> {
    this.#own.expect("ended", id);
    await unlessGone(this.#runtime("StopPodSandbox", { podSandboxId: id }, signal, sandboxMs));
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    this.#own.expect("removed", id);
    await unlessGone(this.#runtime("RemovePodSandbox", { podSandboxId: id }, signal, sandboxMs));
  }

  async listSandboxes(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly SandboxStatus[]> {
    const { items } = await this.#runtime<{ items: readonly CriSandbox[] }>(
      "ListPodSandbox",
      { filter: { labelSelector: selector(filter) } },
      signal,
    );
    const found = await Promise.all(
      items.map(async (listed) => {
        const item = await this.#sandboxAsTold(listed, signal);
        return sandboxFromCri(item, await this.#network(item, signal));
      }),
    );
    for (const sandbox of found) {
      this.#podOf.set(sandbox.id, sandbox.podUid);
      this.#sandboxIds.add(sandbox.id);
    }
    if (filter.podUid === undefined) {
      const ids = new Set(found.map((sandbox) => sandbox.id));
      this.#networks = keep(this.#networks, ids);
      for (const id of this.#sandboxIds) if (!ids.has(id)) this.#sandboxIds.delete(id);
    }
    return found;
  }

  async createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandbox: SandboxConfig,
    signal: AbortSignal,
  ): Promise<string> {
    this.#checkImageVolumes(config);
    const request = {
      podSandboxId: sandboxId,
      config: containerToCri(config, sandbox),
      sandboxConfig: sandboxToCri(sandbox),
    };
    const { containerId } = await this.#runtime<{ containerId: string }>("CreateContainer", request, signal);
    this.#podOf.set(containerId, sandbox.podUid);
    await this.#checkMounted(containerId, config, signal);
    if (config.stopSignal !== undefined) await this.#checkStopSignal(containerId, config, signal);
    return containerId;
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    this.#own.expect("started", id);
    await this.#runtime("StartContainer", { containerId: id }, signal);
  }

  async stopContainer(id: string, timeoutSeconds: number, signal: AbortSignal): Promise<void> {
    const own = this.#stopSignals.get(id);
    if (own !== undefined && timeoutSeconds > 0) {
      await askToStop(this.#channel, id, own, timeoutSeconds * 1_000, signal);
      timeoutSeconds = 0; // its time is over, or it has ended
    }
    const request = { containerId: id, timeout: timeoutSeconds };
    await unlessGone(this.#runtime("StopContainer", request, signal, timeoutSeconds * 1_000 + callMs));
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    this.#own.expect("removed", id);
    await unlessGone(this.#runtime("RemoveContainer", { containerId: id }, signal));
  }

  async listContainers(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly ContainerStatus[]> {
    const { containers } = await this.#runtime<{ containers: readonly CriContainer[] }>(
      "ListContainers",
      { filter: { labelSelector: selector(filter) } },
      signal,
    );
    // A list of the whole node is made often and costs a call for each container; one that still runs has not changed
    // but by calls of ours. Whoever asks for one Pod is told anew.
    const isWhole = filter.podUid === undefined;
    const found = await Promise.all(
      containers.map(async (container) => {
        const isStill = container.state === containerRunning && !this.#endTold.has(container.id);
        const known = isWhole && isStill ? this.#running.get(container.id) : undefined;
        return known ?? (await this.#fullStatus(container, signal));
      }),
    );
    if (isWhole) {
      const ids = new Set(containers.map((container) => container.id));
      this.#ended = keep(this.#ended, ids);
      this.#running = keep(this.#running, ids);
      for (const id of this.#stopSignals.keys()) if (!ids.has(id)) this.#stopSignals.delete(id);
      for (const id of this.#podOf.keys())
        if (!ids.has(id) && !this.#sandboxIds.has(id)) this.#podOf.delete(id);
    }
    return found.filter((status) => status !== undefined);
  }

  async containerStatus(id: string, signal: AbortSignal): Promise<ContainerStatus | undefined> {
    const { containers } = await this.#runtime<{ containers: readonly CriContainer[] }>(
      "ListContainers",
      { filter: { id } },
      signal,
    );
    const container = containers.find((one) => one.id === id);
    return container === undefined ? undefined : await this.#fullStatus(container, signal);
  }

  async writableLayerBytes(id: string, signal: AbortSignal): Promise<number | undefined> {
    const { stats } = await this.#runtime<StatsResponse>("ContainerStats", { containerId: id }, signal);
    const used = stats?.writableLayer?.usedBytes?.value;
    return used === undefined ? undefined : Number(used);
  }

  async updateResources(id: string, resources: LinuxResources, signal: AbortSignal): Promise<void> {
    const request = { containerId: id, linux: resourcesToCri(resources) };
    await this.#runtime("UpdateContainerResources", request, signal);
    this.#running.delete(id);
  }

  async reopenLog(id: string, signal: AbortSignal): Promise<void> {
    await this.#runtime("ReopenContainerLog", { containerId: id }, signal);
  }

  async execSync(
    id: string,
    command: readonly string[],
    options: ExecSyncOptions,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    const { timeoutMs } = options;
    const startedMs = performance.now();
    // We keep the time, and end the whole process group; the runtime's own time is for what we cannot find.
    const timeout = timeoutMs === 0 ? 0 : Math.ceil(timeoutMs / 1_000) + 1;
    const giveUp = new AbortController();
    const end = async (): Promise<void> => {
      const pid = await this.#pidOf(id, AbortSignal.timeout(execEndMs)).catch(() => 0);
      if (pid > 0) await endExec(pid, command, startedMs);
      // One that left its group may hold the output open: the answer does not wait for it.
      setTimeout(() => giveUp.abort(), execEndMs).unref();
    };
    const late = timeoutMs === 0 ? undefined : AbortSignal.timeout(timeoutMs);
    const onEnd = (): void => void end();
    late?.addEventListener("abort", onEnd, { once: true });
    signal.addEventListener("abort", onEnd, { once: true });
    const request = { containerId: id, cmd: command, timeout };
    const answer = await this.#runtime<{ stdout: Uint8Array; stderr: Uint8Array; exitCode: number }>(
      "ExecSync",
      request,
      giveUp.signal,
      0,
    )
      .catch((cause: unknown) => {
        // A runtime that is being restarted says nothing: it was not the command that took too long.
        const isAway = cause instanceof RuntimeError && cause.code === "unavailable";
        if (late?.aborted !== true || isAway) throw cause;
        return undefined;
      })
      .finally(() => {
        late?.removeEventListener("abort", onEnd);
        signal.removeEventListener("abort", onEnd);
      });
    signal.throwIfAborted();
    if (late?.aborted === true || answer === undefined) {
      throw new RuntimeError(
        "timeout",
        `cannot run "${command.join(" ")}": it did not end in ${timeoutMs} ms`,
      );
    }
    return {
      exitCode: answer.exitCode,
      stdout: answer.stdout.subarray(0, options.maxOutputBytes),
      stderr: answer.stderr.subarray(0, options.maxOutputBytes),
    };
  }

  async exec(
    id: string,
    options: StreamOptions & { readonly command: readonly string[] },
    signal: AbortSignal,
  ): Promise<ProcessStreams> {
    const streams = oneOrMore(options);
    return await connectProcess(await this.#execUrl(id, streams, signal), streams, signal);
  }

  async attach(id: string, options: StreamOptions, signal: AbortSignal): Promise<ProcessStreams> {
    const streams = oneOrMore(options);
    return await connectProcess(await this.#attachUrl(id, streams, signal), streams, signal);
  }

  async portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<Duplex> {
    return await connectPort(await this.#portForwardUrl(sandboxId, [port], signal), port, signal);
  }

  async streamingUrl(target: StreamTarget, signal: AbortSignal): Promise<string> {
    switch (target.action) {
      case "exec":
        return await this.#execUrl(target.id, oneOrMore(target), signal);
      case "attach":
        return await this.#attachUrl(target.id, oneOrMore(target), signal);
      case "portForward":
        return await this.#portForwardUrl(target.sandboxId, [], signal);
      default:
        return target satisfies never;
    }
  }

  async pullImage(
    image: string,
    { auth, runtimeHandler = "", progress }: PullOptions,
    signal: AbortSignal,
  ): Promise<{ readonly imageRef: string }> {
    const stop = new AbortController();
    if (progress !== undefined) void followPull(this.#channel, progress, stop.signal);
    try {
      const request = {
        image: { image, runtimeHandler },
        ...(auth === undefined ? {} : { auth: authToCri(auth) }),
      };
      return await this.#image<{ imageRef: string }>("PullImage", request, signal, 0);
    } catch (cause) {
      if (!(cause instanceof RuntimeError) || cause.code === "unavailable") throw cause;
      throw new RuntimeError("image-pull", `cannot pull image "${image}": ${cause.message}`, { cause });
    } finally {
      stop.abort();
    }
  }

  async imageStatus(image: string, signal: AbortSignal): Promise<ImageStatus | undefined> {
    const request = { image: { image } };
    const answer = await this.#image<{ image: CriImage | null }>("ImageStatus", request, signal);
    return answer.image === null ? undefined : imageFromCri(answer.image);
  }

  async listImages(signal: AbortSignal): Promise<readonly ImageStatus[]> {
    const { images } = await this.#image<{ images: readonly CriImage[] }>("ListImages", {}, signal);
    return images.map(imageFromCri);
  }

  async removeImage(image: string, signal: AbortSignal): Promise<void> {
    await unlessGone(this.#image("RemoveImage", { image: { image } }, signal));
  }

  async imageFsInfo(signal: AbortSignal): Promise<{ readonly path: string; readonly usedBytes: number }> {
    const { imageFilesystems } = await this.#image<{
      imageFilesystems: readonly {
        fsId: { mountpoint: string } | null;
        usedBytes: { value: number } | null;
      }[];
    }>("ImageFsInfo", {}, signal);
    const [first] = imageFilesystems;
    return { path: first?.fsId?.mountpoint ?? "/", usedBytes: first?.usedBytes?.value ?? 0 };
  }

  async *events(signal: AbortSignal): AsyncGenerator<RuntimeEvent, void, undefined> {
    const list = (inner: AbortSignal): Promise<ReadonlyMap<string, string>> => this.#fingerprints(inner);
    for await (const { id, change } of changes(this.#channel, this.#codec, list, signal)) {
      if (change === "removed") this.#endTold.delete(id);
      if (this.#own.explains(change, id, this.#podOf.has(id))) continue;
      if (change === "ended" && this.#podOf.has(id)) this.#endTold.add(id);
      yield {
        type: this.#sandboxIds.has(id) ? "sandbox" : "container",
        podUid: this.#podOf.get(id) ?? "",
        containerId: id,
      };
    }
  }

  async close(): Promise<void> {
    this.#channel.close();
  }

  async #execUrl(
    id: string,
    { command, stdin, stdout, stderr, tty }: StreamOptions & { readonly command: readonly string[] },
    signal: AbortSignal,
  ): Promise<string> {
    const request = { containerId: id, cmd: command, stdin, stdout, stderr, tty };
    return (await this.#runtime<{ url: string }>("Exec", request, signal)).url;
  }

  async #attachUrl(
    id: string,
    { stdin, stdout, stderr, tty }: StreamOptions,
    signal: AbortSignal,
  ): Promise<string> {
    const request = { containerId: id, stdin, stdout, stderr, tty };
    return (await this.#runtime<{ url: string }>("Attach", request, signal)).url;
  }

  async #portForwardUrl(sandboxId: string, port: readonly number[], signal: AbortSignal): Promise<string> {
    const request = { podSandboxId: sandboxId, port };
    return (await this.#runtime<{ url: string }>("PortForward", request, signal)).url;
  }

  /** Names of images in containerd's configuration are its own: the built-in image goes under that name. */
  /** Sandboxes that start together wait for one import: containerd locks a blob that is being written. */
  async #ensureSandboxImage(signal: AbortSignal): Promise<void> {
    if (this.name !== "containerd") return;
    this.#importing ??= this.#importSandboxImage(signal).finally(() => {
      this.#importing = undefined;
    });
    await this.#importing;
  }

  async #importSandboxImage(signal: AbortSignal): Promise<void> {
    const { info } = await this.#runtime<StatusResponse>("Status", { verbose: true }, signal);
    const reference = sandboxImageOf(info["config"] ?? "");
    if (reference === undefined || (await this.imageStatus(reference, signal)) !== undefined) return;
    await importImage(this.#channel, pauseImage(process.arch), reference, signal);
    // CRI's view of images follows containerd's events.
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(importedWithinMs)]);
    while ((await this.imageStatus(reference, deadline)) === undefined)
      await delay(20, undefined, { signal: deadline });
  }

  async #network(sandbox: CriSandbox, signal: AbortSignal): Promise<Pick<SandboxStatus, "ips" | "network">> {
    const known = this.#networks.get(sandbox.id);
    if (known !== undefined) return sandbox.state === 0 ? known : { ...known, ips: [] };
    try {
      const { status } = await this.#runtime<{ status: CriSandboxStatus | null }>(
        "PodSandboxStatus",
        { podSandboxId: sandbox.id },
        signal,
      );
      const ips = [status?.network?.ip ?? "", ...(status?.network?.additionalIps ?? []).map(({ ip }) => ip)];
      const onHost = status?.linux?.namespaces?.options?.network === 2;
      const network = {
        ips: ips.filter((ip) => ip !== ""),
        network: onHost ? ("node" as const) : ("pod" as const),
      };
      if (sandbox.state === 0 && (onHost || network.ips.length > 0)) this.#networks.set(sandbox.id, network);
      return network;
    } catch (cause) {
      if (isGone(cause)) return { ips: [], network: "pod" };
      throw cause;
    }
  }

  async #fullStatus(container: CriContainer, signal: AbortSignal): Promise<ContainerStatus | undefined> {
    const known = this.#ended.get(container.id);
    if (known !== undefined) return known;
    try {
      const status = await this.#asTold(
        container.id,
        async () => {
          const answer = await this.#runtime<{ status: CriContainerStatus | null }>(
            "ContainerStatus",
            { containerId: container.id },
            signal,
          );
          return answer.status;
        },
        (one) => one?.state === containerRunning,
        signal,
      );
      if (status === null) return undefined;
      const full = containerFromCri(status, container.podSandboxId);
      this.#podOf.set(full.id, full.podUid);
      // The runtime does not know the field, so the annotation tells: we send the signal ourselves.
      if (status.stopSignal === 0 && full.stopSignal !== undefined)
        this.#stopSignals.set(full.id, full.stopSignal);
      if (full.state === "exited") this.#ended.set(full.id, full);
      if (full.state === "running") this.#running.set(full.id, full);
      else this.#running.delete(full.id);
      return full;
    } catch (cause) {
      if (isGone(cause)) return undefined; // removed between the list and the question
      throw cause;
    }
  }

  /** The sandbox of a list; asked for anew while events are ahead of it. */
  async #sandboxAsTold(listed: CriSandbox, signal: AbortSignal): Promise<CriSandbox> {
    let first: CriSandbox | undefined = listed;
    const ask = async (): Promise<CriSandbox> => {
      const known = first;
      first = undefined;
      if (known !== undefined) return known;
      const { items } = await this.#runtime<{ items: readonly CriSandbox[] }>(
        "ListPodSandbox",
        { filter: { id: listed.id } },
        signal,
      );
      return items[0] ?? listed;
    };
    return await this.#asTold(listed.id, ask, ({ state }) => state === sandboxReady, signal);
  }

  /**
   * containerd tells of an end before its CRI part has taken note of it. Asks until it has, so that whoever follows an
   * event finds what it told; not for long, because a process may be gone that nobody takes note of.
   */
  async #asTold<T>(
    id: string,
    ask: () => Promise<T>,
    isAlive: (answer: T) => boolean,
    signal: AbortSignal,
  ): Promise<T> {
    const deadlineMs = performance.now() + endTakesMs;
    for (let waitMs = 2; ; waitMs = Math.min(50, waitMs * 2)) {
      const answer = await ask();
      if (!this.#endTold.has(id)) return answer;
      if (!isAlive(answer) || performance.now() > deadlineMs) {
        this.#endTold.delete(id);
        return answer;
      }
      await delay(waitMs, undefined, { signal });
    }
  }

  /** containerd 2.1 is the first that mounts images: an older one would look for a directory without a name. */
  #checkImageVolumes({ name, mounts }: ContainerConfig): void {
    const image = mounts.find((mount) => mount.image !== undefined)?.image;
    const [major = 0, minor = 0] = this.#version.replace(/^v/, "").split(".").map(Number);
    if (image === undefined || this.name !== "containerd" || major > 2 || (major === 2 && minor >= 1)) return;
    throw new RuntimeError(
      "unsupported",
      `cannot create container "${name}": containerd ${this.#version} cannot mount image "${image}"; use containerd 2.1 or newer`,
    );
  }

  /** A runtime passes over what it does not know: a mount of an image, or of a part of one, is seen or it is not there. */
  async #checkMounted(id: string, config: ContainerConfig, signal: AbortSignal): Promise<void> {
    const wanted = config.mounts.filter((mount) => mount.image !== undefined);
    if (wanted.length === 0) return;
    const seen = (await this.containerStatus(id, signal))?.mounts ?? [];
    const lost = wanted.find(
      (mount) =>
        !seen.some(
          (one) =>
            one.containerPath === mount.containerPath &&
            one.image !== undefined &&
            one.imageSubPath === mount.imageSubPath,
        ),
    );
    if (lost === undefined) return;
    await this.removeContainer(id, signal);
    const what = lost.imageSubPath === undefined ? "images" : "a part of an image";
    throw new RuntimeError(
      "unsupported",
      `cannot create container "${config.name}": ${this.name} ${this.#version} cannot mount ${what}; use a newer one`,
    );
  }

  /** A stop signal that the runtime would pass over is sent by us where that is possible, else it is refused. */
  async #checkStopSignal(id: string, config: ContainerConfig, signal: AbortSignal): Promise<void> {
    await this.containerStatus(id, signal);
    if (!this.#stopSignals.has(id) || this.name === "containerd") return;
    await this.removeContainer(id, signal);
    throw new RuntimeError(
      "unsupported",
      `cannot create container "${config.name}": ${this.name} does not know lifecycle.stopSignal; use a newer one, or the image's STOPSIGNAL`,
    );
  }

  /** The container's first process; 0 where the runtime does not tell. */
  async #pidOf(id: string, signal: AbortSignal): Promise<number> {
    const { info } = await this.#runtime<{ info: Readonly<Record<string, string>> }>(
      "ContainerStatus",
      { containerId: id, verbose: true },
      signal,
    );
    const parsed: unknown = JSON.parse(info["info"] ?? "{}");
    const pid = typeof parsed === "object" && parsed !== null && "pid" in parsed ? parsed.pid : 0;
    return typeof pid === "number" ? pid : 0;
  }

  async #fingerprints(signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const { items } = await this.#runtime<{ items: readonly CriSandbox[] }>("ListPodSandbox", {}, signal);
    const { containers } = await this.#runtime<{ containers: readonly CriContainer[] }>(
      "ListContainers",
      {},
      signal,
    );
    return new Map([
      ...items.map(({ id, state }) => [id, state === sandboxReady ? runs : String(state)] as const),
      ...containers.map(({ id, state }) => [id, state === containerRunning ? runs : String(state)] as const),
    ]);
  }

  async #cgroupDriver(signal: AbortSignal): Promise<RuntimeStatus["cgroupDriver"]> {
    try {
      const answer = await this.#runtime<{ linux: { cgroupDriver: number } | null }>(
        "RuntimeConfig",
        {},
        signal,
      );
      return answer.linux === null ? undefined : answer.linux.cgroupDriver === 0 ? "systemd" : "cgroupfs";
    } catch (cause) {
      if (!(cause instanceof RuntimeError && cause.code === "unsupported")) throw cause;
    }
    const { info } = await this.#runtime<StatusResponse>("Status", { verbose: true }, signal);
    return cgroupDriverOf(info["config"] ?? "");
  }

  #runtime<R>(name: string, request: object, signal: AbortSignal, timeoutMs = callMs): Promise<R> {
    return this.#channel.call<R>(methodOf("Runtime", name), request, timeoutMs, signal);
  }

  #image<R>(name: string, request: object, signal: AbortSignal, timeoutMs = callMs): Promise<R> {
    return this.#channel.call<R>(methodOf("Image", name), request, timeoutMs, signal);
  }
}

interface StatusResponse {
  readonly status: {
    readonly conditions: readonly {
      readonly type: string;
      readonly status: boolean;
      readonly reason: string;
      readonly message: string;
    }[];
  } | null;
  readonly info: Readonly<Record<string, string>>;
  readonly runtimeHandlers: readonly {
    readonly name: string;
    readonly features: {
      readonly recursiveReadOnlyMounts: boolean;
      readonly userNamespaces: boolean;
    } | null;
  }[];
  readonly features: { readonly supplementalGroupsPolicy: boolean } | null;
}

interface StatsResponse {
  readonly stats: {
    readonly writableLayer: { readonly usedBytes: { readonly value: bigint | number } | null } | null;
  } | null;
}

const emptyAnswers = new Set([
  "StopPodSandbox",
  "RemovePodSandbox",
  "StartContainer",
  "StopContainer",
  "RemoveContainer",
  "UpdateContainerResources",
  "ReopenContainerLog",
  "RemoveImage",
]);

function methodOf(
  service: "Runtime" | "Image",
  name: string,
): { path: string; request: string; response: string } {
  return {
    path: `/runtime.v1.${service}Service/${name}`,
    request: `${name}Request`,
    response: emptyAnswers.has(name) ? "Empty" : `${name}Response`,
  };
}

function selector(filter: { readonly podUid?: string }): Record<string, string> {
  return filter.podUid === undefined ? {} : { "io.kubernetes.pod.uid": filter.podUid };
}

/** A terminal has one output: CRI refuses stderr beside it. */
function oneOrMore<T extends StreamOptions>(options: T): T {
  return options.tty ? { ...options, stderr: false } : options;
}

function keep<T>(map: ReadonlyMap<string, T>, ids: ReadonlySet<string>): Map<string, T> {
  return new Map([...map].filter(([id]) => ids.has(id)));
}

/** containerd tells its CRI configuration as JSON in the verbose status. */
function sandboxImageOf(json: string): string | undefined {
  const config = parseConfig(json);
  return config.sandboxImage ?? config.pinnedImages?.["sandbox"];
}

function cgroupDriverOf(json: string): RuntimeStatus["cgroupDriver"] {
  const { containerd } = parseConfig(json);
  const runtime = containerd?.runtimes?.[containerd.defaultRuntimeName ?? "runc"];
  if (runtime === undefined) return undefined;
  return runtime.options?.["SystemdCgroup"] === true ? "systemd" : "cgroupfs";
}

interface ContainerdConfig {
  readonly sandboxImage?: string;
  readonly pinnedImages?: Readonly<Record<string, string>>;
  readonly containerd?: {
    readonly defaultRuntimeName?: string;
    readonly runtimes?: Readonly<
      Record<string, { readonly options?: Readonly<Record<string, unknown>> | null }>
    >;
  };
}

function parseConfig(json: string): ContainerdConfig {
  try {
    return JSON.parse(json) as ContainerdConfig;
  } catch {
    return {};
  }
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
