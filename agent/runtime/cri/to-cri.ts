import type {
  ContainerConfig,
  IdMapping,
  ImageAuth,
  LinuxResources,
  Mount,
  NamespaceMode,
  SandboxConfig,
  SecurityContext,
  SecurityProfile,
} from "../runtime.ts";
import { signalToCri, stopSignalAnnotation } from "./stop-signal.ts";

const namespaceModes = { pod: 0, container: 1, node: 2, target: 3 } as const;
const propagations = { private: 0, rslave: 1, rshared: 2 } as const;
const protocols = { TCP: 0, UDP: 1, SCTP: 2 } as const;
const profileTypes = { RuntimeDefault: 0, Unconfined: 1, Localhost: 2 } as const;

/** CRI's PodSandboxConfig. The Pod's name, namespace and uid are labels too, so that lists can ask for them. */
export function sandboxToCri(config: SandboxConfig): object {
  return {
    metadata: {
      name: config.podName,
      uid: config.podUid,
      namespace: config.podNamespace,
      attempt: config.attempt,
    },
    hostname: config.hostname,
    logDirectory: config.logDirectory,
    dnsConfig: config.dns,
    portMappings: config.portMappings.map((mapping) => ({
      protocol: protocols[mapping.protocol],
      containerPort: mapping.containerPort,
      hostPort: mapping.hostPort,
      hostIp: mapping.hostIp,
    })),
    labels: { ...config.labels, ...podLabels(config) },
    annotations: config.annotations,
    linux: {
      cgroupParent: config.cgroupParent,
      sysctls: config.sysctls,
      securityContext: {
        ...commonSecurity(config.security),
        namespaceOptions: {
          network: namespaceModes[config.network],
          pid: namespaceModes[config.pid],
          ipc: namespaceModes[config.ipc],
          usernsOptions: userNamespaceToCri(config),
        },
      },
    },
  };
}

/** CRI's ContainerConfig. */
export function containerToCri(config: ContainerConfig, sandbox: SandboxConfig): object {
  const { security } = config;
  return {
    metadata: { name: config.name, attempt: config.attempt },
    image: { image: config.image },
    command: config.command,
    args: config.args,
    workingDir: config.workingDir,
    envs: config.env.map(({ name, value }) => ({ key: name, value })),
    mounts: config.mounts.map((mount) => mountToCri(mount, sandbox)),
    devices: config.devices,
    labels: { ...config.labels, ...podLabels(sandbox), "io.kubernetes.container.name": config.name },
    annotations: {
      ...config.annotations,
      // For runtimes that do not know the field: we send it ourselves, and have to find it again.
      ...(config.stopSignal === undefined ? {} : { [stopSignalAnnotation]: config.stopSignal }),
    },
    logPath: config.logPath,
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    ...(config.stopSignal === undefined ? {} : { stopSignal: signalToCri(config.stopSignal) }),
    linux: {
      resources: resourcesToCri(config.resources),
      securityContext: {
        ...commonSecurity(security),
        capabilities: {
          addCapabilities: security.addCapabilities ?? [],
          dropCapabilities: security.dropCapabilities ?? [],
        },
        namespaceOptions: {
          network: namespaceModes[sandbox.network],
          pid: namespaceModes[config.pid.mode],
          ipc: namespaceModes[sandbox.ipc],
          usernsOptions: userNamespaceToCri(sandbox),
          ...targetOf(config.pid),
        },
        ...(security.runAsUserName === undefined ? {} : { runAsUsername: security.runAsUserName }),
        noNewPrivs: security.noNewPrivileges ?? false,
        maskedPaths: security.maskedPaths ?? [],
        readonlyPaths: security.readonlyPaths ?? [],
      },
    },
  };
}

/** CRI's LinuxContainerResources; what is absent stays as the runtime has it. */
export function resourcesToCri(resources: LinuxResources): object {
  const { memoryLimitBytes, hugepages, ...same } = resources;
  return {
    ...same,
    ...(memoryLimitBytes === undefined ? {} : { memoryLimitInBytes: memoryLimitBytes }),
    hugepageLimits: Object.entries(hugepages ?? {}).map(([pageSize, limit]) => ({ pageSize, limit })),
  };
}

function commonSecurity(security: SecurityContext): object {
  return {
    privileged: security.privileged ?? false,
    readonlyRootfs: security.readonlyRootfs ?? false,
    supplementalGroups: security.supplementalGroups ?? [],
    supplementalGroupsPolicy: security.strictGroups === true ? 1 : 0,
    ...(security.runAsUser === undefined ? {} : { runAsUser: { value: security.runAsUser } }),
    ...(security.runAsGroup === undefined ? {} : { runAsGroup: { value: security.runAsGroup } }),
    ...(security.selinux === undefined ? {} : { selinuxOptions: security.selinux }),
    ...(security.seccomp === undefined ? {} : { seccomp: profileToCri(security.seccomp) }),
    ...(security.apparmor === undefined ? {} : { apparmor: profileToCri(security.apparmor) }),
  };
}

function profileToCri(profile: SecurityProfile): object {
  return {
    profileType: profileTypes[profile.type],
    localhostRef: profile.type === "Localhost" ? profile.ref : "",
  };
}

/** Without a word a runtime that knows the field would take one of its own making. */
function userNamespaceToCri({ userNamespace }: SandboxConfig): object {
  if (userNamespace === undefined) return { mode: namespaceModes.node };
  const ids = mappingsToCri(userNamespace);
  return { mode: namespaceModes.pod, uids: ids, gids: ids };
}

function mappingsToCri({ hostId, length }: IdMapping): readonly object[] {
  return [{ hostId, containerId: 0, length }];
}

function mountToCri(mount: Mount, { userNamespace }: SandboxConfig): object {
  // Files keep the owners that they have on the node: the runtime shows them through the mapping.
  const ids = userNamespace === undefined ? [] : mappingsToCri(userNamespace);
  return {
    uidMappings: ids,
    gidMappings: ids,
    containerPath: mount.containerPath,
    hostPath: mount.image === undefined ? mount.hostPath : "",
    readonly: mount.readonly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation: propagations[mount.propagation],
    recursiveReadOnly: mount.recursiveReadonly,
    ...(mount.image === undefined
      ? {}
      : { image: { image: mount.image }, imageSubPath: mount.imageSubPath ?? "" }),
  };
}

function targetOf(pid: NamespaceMode): object {
  return pid.mode === "target" ? { targetId: pid.containerId } : {};
}

function podLabels(sandbox: SandboxConfig): Record<string, string> {
  return {
    "io.kubernetes.pod.name": sandbox.podName,
    "io.kubernetes.pod.namespace": sandbox.podNamespace,
    "io.kubernetes.pod.uid": sandbox.podUid,
  };
}

/**
 * Credentials without the server they are for. They were chosen for the image's registry already, and containerd
 * drops those whose address is not a whole URL of the very host, without a word (pkg/cri/server ParseAuth).
 */
export function authToCri(auth: ImageAuth): ImageAuth {
  return { ...auth, serverAddress: "" };
}
