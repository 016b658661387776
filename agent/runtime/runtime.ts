/**
 * What the agent asks of a container runtime, at the level of meaning of CRI (runtime.v1).
 * `cri/` speaks to containerd or CRI-O, `docker/` to Docker directly, `fake.ts` is a runtime in memory;
 * one contract test (`runtime-contract.ts`) runs on all three.
 *
 * Every call throws {@link RuntimeError}. Stopping and removing what is gone already succeeds.
 */
export interface Runtime {
  /** `containerd`, `docker`, `cri-o`: the scheme of `containerID` in a Pod's status. */
  readonly name: string;
  version(
    signal: AbortSignal,
  ): Promise<{ readonly name: string; readonly version: string; readonly apiVersion: string }>;
  /** Conditions `RuntimeReady` and `NetworkReady`. */
  status(signal: AbortSignal): Promise<RuntimeStatus>;

  /** Starts the sandbox and its network. @returns its id. */
  runSandbox(config: SandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<string>;
  /** Stops everything in it and takes its network down. */
  stopSandbox(id: string, signal: AbortSignal): Promise<void>;
  removeSandbox(id: string, signal: AbortSignal): Promise<void>;
  /** Of one Pod, or of all; every state. */
  listSandboxes(filter: { readonly podUid?: string }, signal: AbortSignal): Promise<readonly SandboxStatus[]>;

  createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandbox: SandboxConfig,
    signal: AbortSignal,
  ): Promise<string>;
  startContainer(id: string, signal: AbortSignal): Promise<void>;
  /** TERM (or the container's stop signal), then KILL after `timeoutSeconds`. Resolves when it has ended. */
  stopContainer(id: string, timeoutSeconds: number, signal: AbortSignal): Promise<void>;
  removeContainer(id: string, signal: AbortSignal): Promise<void>;
  /** Of one Pod, or of all, with full status each; every state. */
  listContainers(
    filter: { readonly podUid?: string },
    signal: AbortSignal,
  ): Promise<readonly ContainerStatus[]>;
  containerStatus(id: string, signal: AbortSignal): Promise<ContainerStatus | undefined>;
  /** What the container has written to its own root filesystem, in bytes; undefined where the runtime does not tell. */
  writableLayerBytes(id: string, signal: AbortSignal): Promise<number | undefined>;
  /** Cgroup limits of a running container, for in-place resize. */
  updateResources(id: string, resources: LinuxResources, signal: AbortSignal): Promise<void>;
  /** After the log file was renamed. Docker rotates by itself: a no-op there. */
  reopenLog(id: string, signal: AbortSignal): Promise<void>;

  /** Runs a command to its end; output bounded to `maxOutputBytes` of each stream. */
  execSync(
    id: string,
    command: readonly string[],
    options: ExecSyncOptions,
    signal: AbortSignal,
  ): Promise<ExecResult>;
  /** Runs a command with streams. Resolves when it has started. */
  exec(
    id: string,
    options: StreamOptions & { readonly command: readonly string[] },
    signal: AbortSignal,
  ): Promise<ProcessStreams>;
  /** Joins the streams of the container's own process. */
  attach(id: string, options: StreamOptions, signal: AbortSignal): Promise<ProcessStreams>;
  /** A byte stream to `127.0.0.1:port` (or `[::1]`) inside the sandbox. */
  portForward(sandboxId: string, port: number, signal: AbortSignal): Promise<import("node:stream").Duplex>;

  /**
   * Where the runtime serves these streams itself over SPDY/3.1 (CRI's streaming server), once: a client's connection
   * can be handed on to it as it is.
   * @returns undefined where it has no such server: then only the calls above lead to the streams.
   */
  streamingUrl(target: StreamTarget, signal: AbortSignal): Promise<string | undefined>;

  /**
   * Shows an image's content in a directory, to be read only, and keeps it while the sandbox is there. The caller
   * unmounts it. No such method: the runtime mounts images when it makes a container (`Mount.image`).
   */
  mountImage?(sandboxId: string, image: string, directory: string, signal: AbortSignal): Promise<void>;
  pullImage(image: string, options: PullOptions, signal: AbortSignal): Promise<{ readonly imageRef: string }>;
  /** undefined when it is not present. */
  imageStatus(image: string, signal: AbortSignal): Promise<ImageStatus | undefined>;
  listImages(signal: AbortSignal): Promise<readonly ImageStatus[]>;
  removeImage(image: string, signal: AbortSignal): Promise<void>;
  imageFsInfo(signal: AbortSignal): Promise<{ readonly path: string; readonly usedBytes: number }>;

  /**
   * Hints that something changed, as they happen; never the only source of truth. What calls of this process bring
   * about may be left out: the caller looks after its own. A list asked for after an event shows what it told.
   * Ends with the signal. Throws when the stream breaks: the caller lists everything and calls again.
   */
  events(signal: AbortSignal): AsyncIterable<RuntimeEvent>;
  close(): Promise<void>;
}

export interface RuntimeStatus {
  readonly runtimeReady: boolean;
  readonly networkReady: boolean;
  /** Why not, for the node's Ready condition. */
  readonly message: string;
  /** From the runtime's configuration where it says. */
  readonly cgroupDriver: "cgroupfs" | "systemd" | undefined;
  /** Empty where it does not tell. */
  readonly handlers: readonly RuntimeHandler[];
  /** Whether a Pod's supplemental groups can be all that its processes have (`supplementalGroupsPolicy: Strict`). */
  readonly strictGroups: boolean;
}

/** What one of the runtime's handlers can do. */
export interface RuntimeHandler {
  /** "" for the usual one. */
  readonly name: string;
  readonly recursiveReadOnly: boolean;
  readonly userNamespaces: boolean;
}

/** Ids from 0 on in a user namespace, and the host's that they stand for. */
export interface IdMapping {
  readonly hostId: number;
  readonly length: number;
}

export type NamespaceMode =
  | { readonly mode: "pod" }
  | { readonly mode: "container" }
  | { readonly mode: "node" }
  /** The PID namespace of another container. */
  | { readonly mode: "target"; readonly containerId: string };

export interface SandboxConfig {
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  /** 0 for the first sandbox of the Pod. */
  readonly attempt: number;
  readonly hostname: string;
  /** `/var/log/pods/<ns>_<name>_<uid>` */
  readonly logDirectory: string;
  readonly dns: {
    readonly servers: readonly string[];
    readonly searches: readonly string[];
    readonly options: readonly string[];
  };
  readonly portMappings: readonly PortMapping[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Cgroup of the Pod, a path below the root (`/kubepods/burstable/pod<uid>`), "" for none. */
  readonly cgroupParent: string;
  readonly network: "pod" | "node";
  readonly pid: "pod" | "container" | "node";
  readonly ipc: "pod" | "node";
  /** Users and groups alike; absent for the host's own. */
  readonly userNamespace?: IdMapping;
  readonly sysctls: Readonly<Record<string, string>>;
  readonly security: SecurityContext;
}

export interface PortMapping {
  readonly protocol: "TCP" | "UDP" | "SCTP";
  readonly containerPort: number;
  readonly hostPort: number;
  readonly hostIp: string;
}

/** What the kernel is told about a process. Absent means the image's or the runtime's default. */
export interface SecurityContext {
  readonly privileged?: boolean;
  readonly runAsUser?: number;
  readonly runAsGroup?: number;
  readonly runAsUserName?: string;
  readonly supplementalGroups?: readonly number[];
  /** Without the groups that the image gives the user. */
  readonly strictGroups?: boolean;
  readonly readonlyRootfs?: boolean;
  readonly noNewPrivileges?: boolean;
  readonly addCapabilities?: readonly string[];
  readonly dropCapabilities?: readonly string[];
  readonly seccomp?: SecurityProfile;
  readonly apparmor?: SecurityProfile;
  readonly selinux?: {
    readonly user?: string;
    readonly role?: string;
    readonly type?: string;
    readonly level?: string;
  };
  readonly maskedPaths?: readonly string[];
  readonly readonlyPaths?: readonly string[];
  readonly procMount?: "Default" | "Unmasked";
}

export type SecurityProfile =
  | { readonly type: "RuntimeDefault" }
  | { readonly type: "Unconfined" }
  /** `ref`: the profile's file (seccomp) or name (AppArmor). */
  | { readonly type: "Localhost"; readonly ref: string };

export interface LinuxResources {
  readonly cpuShares?: number;
  readonly cpuQuota?: number;
  readonly cpuPeriod?: number;
  readonly memoryLimitBytes?: number;
  readonly oomScoreAdj?: number;
  readonly cpusetCpus?: string;
  readonly cpusetMems?: string;
  readonly hugepages?: Readonly<Record<string, number>>;
  readonly unified?: Readonly<Record<string, string>>;
}

export interface ContainerConfig {
  readonly name: string;
  /** The restart count. */
  readonly attempt: number;
  /** What `pullImage`/`imageStatus` returned. */
  readonly image: string;
  /** As the Pod spells it. */
  readonly userImage: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly workingDir: string;
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly mounts: readonly Mount[];
  readonly devices: readonly {
    readonly hostPath: string;
    readonly containerPath: string;
    readonly permissions: string;
  }[];
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Relative to the sandbox's log directory: `<container>/<attempt>.log`. */
  readonly logPath: string;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly tty: boolean;
  /** `SIGUSR1`; the image's own, else TERM, unless given. */
  readonly stopSignal?: string;
  readonly resources: LinuxResources;
  readonly security: SecurityContext;
  readonly pid: NamespaceMode;
}

export interface Mount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readonly: boolean;
  readonly recursiveReadonly: boolean;
  readonly propagation: "private" | "rslave" | "rshared";
  readonly selinuxRelabel: boolean;
  /** An image volume: its content, at `hostPath` where that is not "", else for the runtime to mount. */
  readonly image?: string;
  /** The part of it to mount; absent for all of it. */
  readonly imageSubPath?: string;
}

export interface SandboxStatus {
  readonly id: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  readonly attempt: number;
  readonly state: "ready" | "not-ready";
  readonly createdAtMs: number;
  /** The Pod's addresses; empty on the host's network. */
  readonly ips: readonly string[];
  readonly network: "pod" | "node";
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly runtimeHandler: string;
}

export interface ContainerStatus {
  readonly id: string;
  readonly sandboxId: string;
  readonly podUid: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly name: string;
  readonly attempt: number;
  readonly state: "created" | "running" | "exited" | "unknown";
  readonly createdAtMs: number;
  /** 0 when it never started. */
  readonly startedAtMs: number;
  /** 0 while it runs. */
  readonly finishedAtMs: number;
  readonly exitCode: number;
  readonly signal: number;
  /** `OOMKilled`, `Completed`, `Error`, `ContainerCannotRun`, `StartError` or what the runtime says. */
  readonly reason: string;
  readonly message: string;
  readonly image: string;
  /** `repo@sha256:...` where known, else the image's id. */
  readonly imageRef: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Whom its first process runs as; undefined where the runtime does not tell. */
  readonly user?: {
    readonly uid: number;
    readonly gid: number;
    readonly supplementalGroups: readonly number[];
  };
  /** What its end begins with, `SIGTERM`; undefined where the runtime does not tell. */
  readonly stopSignal?: string;
  /** The absolute path of its log. */
  readonly logPath: string;
  readonly mounts: readonly Mount[];
}

export interface ImageStatus {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly sizeBytes: number;
  /** The image's numeric user, or its name. */
  readonly user: { readonly uid?: number; readonly name?: string };
  readonly pinned: boolean;
}

export interface ImageAuth {
  readonly username?: string;
  readonly password?: string;
  readonly auth?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

/** How an image is pulled. */
export interface PullOptions {
  readonly auth?: ImageAuth;
  /** The handler of the Pod's RuntimeClass: a runtime may keep images for each; "" for the usual one. */
  readonly runtimeHandler?: string;
  /** Told as bytes arrive, as often as the runtime says so; never where it says nothing. */
  readonly progress?: (progress: PullProgress) => void;
}

/** What has arrived of the layers that are known to be missing. */
export interface PullProgress {
  readonly currentBytes: number;
  readonly totalBytes: number;
}

export interface ExecSyncOptions {
  /** 0 for none. On time-out, and when the signal is aborted, the process group is ended and `RuntimeError` `timeout` thrown. */
  readonly timeoutMs: number;
  readonly maxOutputBytes: number;
}

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: Uint8Array;
  readonly stderr: Uint8Array;
}

export interface StreamOptions {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

/** What is to be streamed. */
export type StreamTarget =
  | ({
      readonly action: "exec";
      readonly id: string;
      readonly command: readonly string[];
    } & StreamOptions)
  | ({ readonly action: "attach"; readonly id: string } & StreamOptions)
  /** The ports are named by the client, stream by stream. */
  | { readonly action: "portForward"; readonly sandboxId: string };

/** The live streams of a process. Reading slowly slows the process; nothing is buffered without bound. */
export interface ProcessStreams {
  readonly stdin: import("node:stream").Writable | undefined;
  readonly stdout: import("node:stream").Readable | undefined;
  readonly stderr: import("node:stream").Readable | undefined;
  resize(size: { readonly width: number; readonly height: number }): Promise<void>;
  /** Resolves with the exit code when the process has ended and its output was read; attach resolves with 0. */
  readonly exit: Promise<number>;
  /** Cuts the streams. */
  close(): void;
}

export interface RuntimeEvent {
  readonly type: "sandbox" | "container";
  /** "" when the runtime does not say; the caller then relists. */
  readonly podUid: string;
  readonly containerId: string;
}

export class RuntimeError extends Error {
  override readonly name = "RuntimeError";
  readonly code:
    | "not-found"
    | "exists"
    | "unavailable"
    | "unsupported"
    | "invalid"
    | "timeout"
    | "image-pull"
    | "failed";

  constructor(code: RuntimeError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** How the Docker runtime gives a sandbox its network: a CNI chain. `cli/` passes the runner from `cni/`. */
export interface PodNetwork {
  /** True when a usable configuration is there; else why not. */
  ready(): Promise<{ readonly ready: true } | { readonly ready: false; readonly why: string }>;
  /** Runs the chain's ADD. @returns the Pod's addresses, without prefix length. */
  add(attachment: NetworkAttachment, signal: AbortSignal): Promise<{ readonly ips: readonly string[] }>;
  /** Idempotent; works without the namespace. */
  delete(attachment: NetworkAttachment, signal: AbortSignal): Promise<void>;
  /** What an earlier ADD of this sandbox gave, from the result cache. */
  addresses(sandboxId: string): Promise<readonly string[]>;
}

export interface NetworkAttachment {
  readonly sandboxId: string;
  /** `/proc/<pid>/ns/net`, or "" when it is gone. */
  readonly netnsPath: string;
  readonly podName: string;
  readonly podNamespace: string;
  readonly podUid: string;
  readonly portMappings: readonly PortMapping[];
  readonly annotations: Readonly<Record<string, string>>;
}
