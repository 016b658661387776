import path from "node:path";
import type { ContainerCreateOptions, HostConfig } from "dockerode";
import type {
  ContainerConfig,
  LinuxResources,
  NamespaceMode,
  SandboxConfig,
  SecurityContext,
} from "../runtime.ts";
import { RuntimeError } from "../runtime.ts";
import { dockerLabel, toDockerLabels } from "./labels.ts";
import { formatName, sandboxContainerName } from "./names.ts";

/** cri-dockerd's CPU share of a pause process. */
const sandboxCpuShares = 2;

/** The container that holds a Pod's namespaces. @param oomScoreAdj -998 where the machine allows it. */
export function sandboxToDocker(
  config: SandboxConfig,
  image: string,
  runtimeHandler: string,
  oomScoreAdj: number,
): ContainerCreateOptions {
  return {
    name: formatName({ container: sandboxContainerName, ...config }),
    Image: image,
    ...(config.hostname === "" || config.network === "node" ? {} : { Hostname: config.hostname }),
    Labels: {
      ...toDockerLabels({ ...config.labels, ...podLabels(config) }, config.annotations),
      [dockerLabel.type]: "podsandbox",
      [dockerLabel.container]: sandboxContainerName,
      [dockerLabel.runtimeHandler]: runtimeHandler,
    },
    HostConfig: {
      NetworkMode: config.network === "node" ? "host" : "none",
      IpcMode: config.ipc === "node" ? "host" : "shareable",
      ...(config.pid === "node" ? { PidMode: "host" } : {}),
      OomScoreAdj: oomScoreAdj,
      CpuShares: sandboxCpuShares,
      CgroupParent: dockerCgroup(config.cgroupParent),
      Sysctls: { ...config.sysctls },
      ReadonlyRootfs: true,
      // The kernel has one sysfs for each network: mounted read-only first, it is for privileged containers too.
      Privileged: config.security.privileged ?? false,
      SecurityOpt: ["no-new-privileges", ...securityOptions(config.security)],
      RestartPolicy: { Name: "no" },
      ...(runtimeHandler === "" ? {} : { Runtime: runtimeHandler }),
    },
  };
}

/** How much of a container's output is kept; Docker rotates it by itself. */
export interface LogLimits {
  readonly maxSizeBytes: number;
  /** The one being written included. */
  readonly maxFiles: number;
}

/** The sandbox that a container joins: its id, and the runtime that runs it, "" for Docker's usual one. */
export interface HoldingSandbox {
  readonly id: string;
  readonly handler: string;
}

/** A container in a sandbox, run by the sandbox's runtime. */
export function containerToDocker(
  config: ContainerConfig,
  sandbox: SandboxConfig,
  { id: sandboxId, handler }: HoldingSandbox,
  logs: LogLimits,
): ContainerCreateOptions {
  const { security } = config;
  const image = config.mounts.find((mount) => mount.image !== undefined && mount.hostPath === "");
  if (image !== undefined) {
    throw new RuntimeError(
      "unsupported",
      `cannot mount image "${image.image}" at "${image.containerPath}": Docker has no image volumes; mount its content first`,
    );
  }
  const user = userOf(security);
  const labels = { ...config.labels, ...podLabels(sandbox) };
  return {
    name: formatName({ ...sandbox, container: config.name, attempt: config.attempt }),
    Image: config.image.replace(/^docker(-pullable)?:\/\//, ""),
    ...(config.command.length === 0 ? {} : { Entrypoint: [...config.command] }),
    ...(config.args.length === 0 ? {} : { Cmd: [...config.args] }),
    Env: config.env.map(({ name, value }) => `${name}=${value}`),
    ...(config.workingDir === "" ? {} : { WorkingDir: config.workingDir }),
    ...(user === "" ? {} : { User: user }),
    ...(config.stopSignal === undefined ? {} : { StopSignal: config.stopSignal }),
    OpenStdin: config.stdin,
    StdinOnce: config.stdinOnce,
    Tty: config.tty,
    // The image's own health check would run beside the Pod's probes.
    Healthcheck: { Test: ["NONE"] },
    Labels: {
      ...toDockerLabels(labels, config.annotations),
      [dockerLabel.type]: "container",
      [dockerLabel.container]: config.name,
      [dockerLabel.sandboxId]: sandboxId,
      [dockerLabel.logPath]: path.posix.join(sandbox.logDirectory, config.logPath),
    },
    HostConfig: {
      NetworkMode: `container:${sandboxId}`,
      IpcMode: `container:${sandboxId}`,
      ...(sandbox.network === "node" ? { UTSMode: "host" } : {}),
      ...pidMode(config.pid, sandboxId),
      Mounts: config.mounts.map((mount) => ({
        Type: "bind" as const,
        Source: mount.hostPath,
        Target: mount.containerPath,
        // The content of an image is mounted read-only as it is: said again, runc would drop that nothing runs from it.
        ReadOnly: mount.readonly && mount.image === undefined,
        BindOptions: { Propagation: mount.propagation === "private" ? "rprivate" : mount.propagation },
      })),
      Devices: config.devices.map((device) => ({
        PathOnHost: device.hostPath,
        PathInContainer: device.containerPath,
        CgroupPermissions: device.permissions,
      })),
      ...resourcesToDocker(config.resources),
      ...(config.resources.oomScoreAdj === undefined ? {} : { OomScoreAdj: config.resources.oomScoreAdj }),
      CgroupParent: dockerCgroup(sandbox.cgroupParent),
      Privileged: security.privileged ?? false,
      ReadonlyRootfs: security.readonlyRootfs ?? false,
      CapAdd: (security.addCapabilities ?? []).map(withoutCap),
      CapDrop: (security.dropCapabilities ?? []).map(withoutCap),
      GroupAdd: (security.supplementalGroups ?? []).map(String),
      SecurityOpt: [
        ...(security.noNewPrivileges === true ? ["no-new-privileges"] : []),
        ...securityOptions(security),
      ],
      ...(security.maskedPaths === undefined ? {} : { MaskedPaths: [...security.maskedPaths] }),
      ...(security.readonlyPaths === undefined ? {} : { ReadonlyPaths: [...security.readonlyPaths] }),
      LogConfig: {
        Type: "json-file", // whatever the daemon's default is: logs are read from its files
        Config: { "max-size": String(logs.maxSizeBytes), "max-file": String(logs.maxFiles) },
      },
      RestartPolicy: { Name: "no" },
      ...(handler === "" ? {} : { Runtime: handler }),
    },
  };
}

/** Limits, for creation and for update. Memory without swap on top: MemorySwap is the sum of both. */
export function resourcesToDocker(
  resources: LinuxResources,
): Pick<
  HostConfig,
  "CpuShares" | "CpuQuota" | "CpuPeriod" | "Memory" | "MemorySwap" | "CpusetCpus" | "CpusetMems"
> {
  const { cpuShares, cpuQuota, cpuPeriod, memoryLimitBytes, cpusetCpus, cpusetMems } = resources;
  return {
    ...(cpuShares === undefined ? {} : { CpuShares: cpuShares }),
    ...(cpuQuota === undefined ? {} : { CpuQuota: cpuQuota }),
    ...(cpuPeriod === undefined ? {} : { CpuPeriod: cpuPeriod }),
    ...(memoryLimitBytes === undefined ? {} : { Memory: memoryLimitBytes, MemorySwap: memoryLimitBytes }),
    ...(cpusetCpus === undefined ? {} : { CpusetCpus: cpusetCpus }),
    ...(cpusetMems === undefined ? {} : { CpusetMems: cpusetMems }),
  };
}

/** With the systemd driver Docker wants the slice's name alone. */
function dockerCgroup(parent: string): string {
  return parent.endsWith(".slice") ? path.posix.basename(parent) : parent;
}

function pidMode(pid: NamespaceMode, sandboxId: string): { readonly PidMode?: string } {
  switch (pid.mode) {
    case "pod":
      return { PidMode: `container:${sandboxId}` };
    case "target":
      return { PidMode: `container:${pid.containerId}` };
    case "node":
      return { PidMode: "host" };
    case "container":
      return {};
    default:
      return pid satisfies never;
  }
}

function securityOptions(security: SecurityContext): string[] {
  const { seccomp, apparmor, selinux } = security;
  return [
    ...(seccomp === undefined || seccomp.type === "Unconfined" ? ["seccomp=unconfined"] : []),
    ...(seccomp?.type === "Localhost" ? [`seccomp=${seccomp.ref}`] : []),
    ...(apparmor?.type === "Unconfined" ? ["apparmor=unconfined"] : []),
    ...(apparmor?.type === "Localhost" ? [`apparmor=${apparmor.ref}`] : []),
    ...Object.entries(selinux ?? {}).map(([part, value]) => `label=${part}:${value}`),
  ];
}

function userOf(security: SecurityContext): string {
  const user = security.runAsUser === undefined ? security.runAsUserName : String(security.runAsUser);
  if (user === undefined) return "";
  return security.runAsGroup === undefined ? user : `${user}:${security.runAsGroup}`;
}

function withoutCap(name: string): string {
  return name.replace(/^CAP_/, "");
}

function podLabels(config: SandboxConfig): Record<string, string> {
  return {
    [dockerLabel.podName]: config.podName,
    [dockerLabel.podNamespace]: config.podNamespace,
    [dockerLabel.podUid]: config.podUid,
  };
}
