import { quantityValue } from "#api/quantity.ts";
import { bool, duration, type Flags, integer, list, oneOf, port, text } from "#lib/flags.ts";
import type { PodCacheMode } from "./plan/pod-cache-text.ts";
import type { VerificationPolicy } from "./plan/pull-records.ts";

/** The agent's settings, under the kubelet's names. Durations in milliseconds. */
export interface AgentConfig {
  /** "" for this machine's hostname. */
  readonly nodeName: string;
  readonly nodeIp: readonly string[];
  readonly rootDir: string;
  /** Where FlexVolume drivers are. */
  readonly volumePluginDir: string;
  /** "" for no static Pods. */
  readonly staticPodPath: string;
  readonly fileCheckMs: number;
  readonly podCache: PodCacheMode;
  readonly podCacheAfterMs: number;
  /** "" for no static Pods from there. */
  readonly staticPodUrl: string;
  readonly staticPodUrlHeaders: Readonly<Record<string, string>>;
  readonly httpCheckMs: number;
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  readonly resolvConf: string;
  /** "" for: the first runtime that answers. */
  readonly containerRuntimeEndpoint: string;
  readonly dockerEndpoint: string;
  readonly maxPods: number;
  /** Processes and threads of one Pod; below 1 for no limit. */
  readonly podPidsLimit: number;
  readonly maxRestartWaitMs: number;
  readonly podLogsDir: string;
  readonly containerLogsDir: string;
  readonly cgroupRoot: string;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly cgroupsPerQos: boolean;
  readonly registerNode: boolean;
  readonly nodeLabels: readonly string[];
  readonly registerWithTaints: readonly string[];
  readonly providerId: string;
  readonly port: number;
  readonly address: string;
  readonly healthzPort: number;
  readonly healthzBindAddress: string;
  /** "" for none. */
  readonly controlSocket: string;
  readonly tlsCertFile: string;
  readonly tlsPrivateKeyFile: string;
  readonly clientCaFile: string;
  readonly anonymousAuth: boolean;
  readonly authorizationMode: "AlwaysAllow" | "Webhook";
  readonly enableDebuggingHandlers: boolean;
  /** 0 for none. */
  readonly readOnlyPort: number;
  readonly failSwapOn: boolean;
  readonly nodeStatusMs: number;
  readonly syncMs: number;
  /** 0 for never. */
  readonly volumeStatsMs: number;
  readonly serializeImagePulls: boolean;
  readonly maxParallelImagePulls: number;
  readonly registryPullQps: number;
  readonly registryBurst: number;
  readonly seccompDefault: boolean;
  readonly allowedUnsafeSysctls: readonly string[];
  readonly imageGcHighThresholdPercent: number;
  readonly imageGcLowThresholdPercent: number;
  /** "" for no credential providers. */
  readonly imageCredentialProviderConfig: string;
  readonly imageCredentialProviderBinDir: string;
  readonly imagePullCredentialsVerificationPolicy: VerificationPolicy;
  readonly preloadedImagesVerificationAllowlist: readonly string[];
  readonly imageMinAgeMs: number;
  /** 0 for no limit. */
  readonly imageMaxAgeMs: number;
  readonly pinnedImages: readonly string[];
  /** Below zero for every one. */
  readonly maxDeadContainers: number;
  readonly systemReservedMemoryBytes: number;
  readonly containerLogMaxSizeBytes: number;
  readonly containerLogMaxFiles: number;
  /** 0 for no limit. */
  readonly streamIdleMs: number;
}

/** The agent's flags. */
export const flags: Flags<AgentConfig> = {
  nodeName: {
    flag: "hostname-override",
    parse: text,
    default: "",
    help: "this node's name in the API; the machine's hostname unless given",
  },
  nodeIp: {
    flag: "node-ip",
    parse: list,
    default: "",
    help: "this node's addresses; the default route's unless given",
  },
  rootDir: {
    flag: "root-dir",
    parse: text,
    default: "/var/lib/kubelet",
    help: "directory for volumes and other files of Pods",
  },
  volumePluginDir: {
    flag: "volume-plugin-dir",
    parse: text,
    default: "/usr/libexec/kubernetes/kubelet-plugins/volume/exec",
    help: "directory of FlexVolume drivers, read when the agent starts",
  },
  staticPodPath: {
    flag: "pod-manifest-path",
    parse: text,
    default: "",
    help: "directory of static Pods, or one file",
  },
  fileCheckMs: {
    flag: "file-check-frequency",
    parse: duration,
    default: "20s",
    help: "time between two full scans of the static Pods",
  },
  podCache: {
    flag: "pod-cache",
    parse: oneOf("off", "without-secrets", "with-secrets"),
    default: "without-secrets",
    help: "what of its Pods the node keeps on its disk, to run them when it comes up without an API server",
  },
  podCacheAfterMs: {
    flag: "pod-cache-after",
    parse: duration,
    default: "30s",
    help: "how long no API server has to answer before Pods are run from that",
  },
  staticPodUrl: {
    flag: "manifest-url",
    parse: text,
    default: "",
    help: "URL that serves static Pods: a Pod or a PodList",
  },
  staticPodUrlHeaders: {
    flag: "manifest-url-header",
    parse: headers,
    default: "",
    help: "headers to ask that URL with, as name:value,name:value",
  },
  httpCheckMs: {
    flag: "http-check-frequency",
    parse: duration,
    default: "20s",
    help: "time between two looks at that URL",
  },
  clusterDns: {
    flag: "cluster-dns",
    parse: list,
    default: "",
    help: "addresses of the cluster's DNS servers",
  },
  clusterDomain: {
    flag: "cluster-domain",
    parse: text,
    default: "cluster.local",
    help: "domain of the cluster",
  },
  resolvConf: {
    flag: "resolv-conf",
    parse: text,
    default: "/etc/resolv.conf",
    help: "resolver configuration that Pods' own is based on",
  },
  containerRuntimeEndpoint: {
    flag: "container-runtime-endpoint",
    parse: text,
    default: "",
    help: "CRI socket; the first runtime that answers unless given",
  },
  dockerEndpoint: { flag: "docker-endpoint", parse: text, default: "", help: "Docker socket, to use Docker" },
  maxPods: { flag: "max-pods", parse: integer, default: "110", help: "most Pods that run here" },
  podPidsLimit: {
    flag: "pod-max-pids",
    parse: (value) => (value === "-1" ? -1 : integer(value)),
    default: "-1",
    help: "most processes and threads of one Pod, -1 for no limit",
  },
  maxRestartWaitMs: {
    flag: "max-container-restart-period",
    parse: restartPeriod,
    default: "5m",
    help: "longest back-off of a container that crashes, 1s to 5m",
  },
  podLogsDir: {
    flag: "pod-logs-dir",
    parse: text,
    default: "/var/log/pods",
    help: "directory of containers' logs",
  },
  containerLogsDir: {
    flag: "container-logs-dir",
    parse: text,
    default: "/var/log/containers",
    help: "directory of links to containers' logs",
  },
  cgroupRoot: {
    flag: "cgroup-root",
    parse: text,
    default: "/",
    help: "cgroup that the Pods' cgroups are made in",
  },
  cgroupDriver: {
    flag: "cgroup-driver",
    parse: oneOf("cgroupfs", "systemd"),
    default: "cgroupfs",
    help: "who makes cgroups, where the runtime does not say",
  },
  cgroupsPerQos: {
    flag: "cgroups-per-qos",
    parse: bool,
    default: "true",
    switch: true,
    help: "make a cgroup for each QoS class and each Pod",
  },
  registerNode: {
    flag: "register-node",
    parse: bool,
    default: "true",
    switch: true,
    help: "create the Node object",
  },
  nodeLabels: {
    flag: "node-labels",
    parse: list,
    default: "",
    help: "labels for the Node object, key=value",
  },
  registerWithTaints: {
    flag: "register-with-taints",
    parse: list,
    default: "",
    help: "taints for the Node object, key=value:effect",
  },
  providerId: {
    flag: "provider-id",
    parse: text,
    default: "",
    help: "this machine's id at its cloud provider",
  },
  port: { flag: "port", parse: port, default: "10250", help: "HTTPS port of the agent's server" },
  address: { flag: "address", parse: text, default: "0.0.0.0", help: "address of the agent's server" },
  healthzPort: { flag: "healthz-port", parse: port, default: "10248", help: "port of /healthz, 0 for none" },
  healthzBindAddress: {
    flag: "healthz-bind-address",
    parse: text,
    default: "127.0.0.1",
    help: "address of /healthz",
  },
  controlSocket: {
    flag: "control-socket",
    parse: text,
    default: "/run/keelson/agent.sock",
    help: 'socket of keelson explain, for root only; "" for none',
  },
  tlsCertFile: {
    flag: "tls-cert-file",
    parse: text,
    default: "",
    help: "the server's certificate; self-signed unless given",
  },
  tlsPrivateKeyFile: { flag: "tls-private-key-file", parse: text, default: "", help: "the server's key" },
  clientCaFile: {
    flag: "client-ca-file",
    parse: text,
    default: "",
    help: "authority of the certificates of those who may call the server; read anew when it changes",
  },
  anonymousAuth: {
    flag: "anonymous-auth",
    parse: bool,
    default: "false",
    switch: true,
    help: "take who shows neither certificate nor token for system:anonymous",
  },
  authorizationMode: {
    flag: "authorization-mode",
    parse: oneOf("AlwaysAllow", "Webhook"),
    default: "Webhook",
    help: "ask the API what a caller may do, or let every known caller do everything",
  },
  enableDebuggingHandlers: {
    flag: "enable-debugging-handlers",
    parse: bool,
    default: "true",
    switch: true,
    help: "serve logs, exec, attach, port-forward and run",
  },
  readOnlyPort: {
    flag: "read-only-port",
    parse: port,
    default: "0",
    help: "port on which everybody may read Pods, statistics and metrics without TLS, 0 for none",
  },
  failSwapOn: {
    flag: "fail-swap-on",
    parse: bool,
    default: "true",
    switch: true,
    help: "refuse to start on a machine that swaps",
  },
  nodeStatusMs: {
    flag: "node-status-update-frequency",
    parse: duration,
    default: "10s",
    help: "time between two looks at the node",
  },
  syncMs: {
    flag: "sync-frequency",
    parse: duration,
    default: "60s",
    help: "time between two full passes over all Pods",
  },
  volumeStatsMs: {
    flag: "volume-stats-agg-period",
    parse: duration,
    default: "1m",
    help: "time between two readings of a volume's size, 0s for none",
  },
  serializeImagePulls: {
    flag: "serialize-image-pulls",
    parse: bool,
    default: "false",
    switch: true,
    help: "pull one image after the other, as the kubelet does unless told otherwise",
  },
  registryPullQps: {
    flag: "registry-qps",
    parse: integer,
    default: "5",
    help: "pulls begun per second, 0 for any number; those too many wait",
  },
  registryBurst: {
    flag: "registry-burst",
    parse: integer,
    default: "10",
    help: "pulls begun at once after a quiet time",
  },
  maxParallelImagePulls: {
    flag: "max-parallel-image-pulls",
    parse: integer,
    default: "3",
    help: "images pulled at the same time",
  },
  seccompDefault: {
    flag: "seccomp-default",
    parse: bool,
    default: "false",
    switch: true,
    help: "use RuntimeDefault where no seccomp profile is named",
  },
  allowedUnsafeSysctls: {
    flag: "allowed-unsafe-sysctls",
    parse: list,
    default: "",
    help: "sysctls, or patterns ending in *, that Pods may set besides the safe ones",
  },
  imageGcHighThresholdPercent: {
    flag: "image-gc-high-threshold",
    parse: integer,
    default: "85",
    help: "disk use in percent above which unused images are removed",
  },
  imageGcLowThresholdPercent: {
    flag: "image-gc-low-threshold",
    parse: integer,
    default: "80",
    help: "disk use in percent down to which they are",
  },
  imageCredentialProviderConfig: {
    flag: "image-credential-provider-config",
    parse: text,
    default: "",
    help: "file that names programs which know credentials for images",
  },
  imageCredentialProviderBinDir: {
    flag: "image-credential-provider-bin-dir",
    parse: text,
    default: "",
    help: "directory of those programs",
  },
  imagePullCredentialsVerificationPolicy: {
    flag: "image-pull-credentials-verification-policy",
    parse: oneOf("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"),
    default: "NeverVerifyPreloadedImages",
    help: "which images on the node a Pod may use only with the credentials that fetched them",
  },
  preloadedImagesVerificationAllowlist: {
    flag: "preloaded-images-verification-allowlist",
    parse: list,
    default: "",
    help: "repositories that NeverVerifyAllowlistedImages lets everybody use; an entry may end in /*",
  },
  imageMinAgeMs: {
    flag: "minimum-image-ttl-duration",
    parse: duration,
    default: "2m",
    help: "age below which an unused image is never removed",
  },
  imageMaxAgeMs: {
    flag: "image-maximum-gc-age",
    parse: duration,
    default: "0s",
    help: "time unused after which an image is removed even with room on the disk, 0s for never",
  },
  pinnedImages: {
    flag: "pinned-images",
    parse: list,
    default: "",
    help: "images that are never removed, as tag, digest or id; a name ending in * stands for all it begins",
  },
  maxDeadContainers: {
    flag: "maximum-dead-containers-per-container",
    parse: (value) => (value === "-1" ? -1 : integer(value)),
    default: "1",
    help: "ended runs kept of each container besides its newest, for its logs; -1 for every one",
  },
  systemReservedMemoryBytes: {
    flag: "system-reserved-memory",
    parse: integer,
    default: "0",
    help: "bytes of memory that Pods do not get",
  },
  containerLogMaxSizeBytes: {
    flag: "container-log-max-size",
    parse: logSize,
    default: "10Mi",
    help: "size at which a container's log is rotated, also by Docker",
  },
  containerLogMaxFiles: {
    flag: "container-log-max-files",
    parse: logFiles,
    default: "5",
    help: "log files kept of one container, the one being written included, also by Docker",
  },
  streamIdleMs: {
    flag: "streaming-connection-idle-timeout",
    parse: duration,
    default: "4h",
    help: "time without a byte after which an exec, attach or port-forward is cut, 0 for never",
  },
};

/** Bytes, as a quantity. */
function logSize(value: string): number {
  const bytes = quantityValue(value);
  if (bytes < 1) throw new Error('want a size such as "10Mi", at least one byte');
  return bytes;
}

/** One file is written while the one before it is read. */
function logFiles(value: string): number {
  const files = integer(value);
  if (files < 2) throw new Error("want at least 2 files");
  return files;
}

/** The span that the kubelet allows for `crashLoopBackOff.maxContainerRestartPeriod`. */
function restartPeriod(value: string): number {
  const ms = duration(value);
  if (ms < 1_000 || ms > 300_000) throw new Error("want a duration from 1s to 5m");
  return ms;
}

function headers(value: string): Readonly<Record<string, string>> {
  const pairs = list(value).map((pair) => {
    const [, name = "", content = ""] = /^([^:\s]+):\s*(.*)$/.exec(pair) ?? [];
    if (name === "") throw new Error(`want name:value, not "${pair}"`);
    return [name, content] as const;
  });
  return Object.fromEntries(pairs);
}
