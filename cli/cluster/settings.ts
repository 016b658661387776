import path from "node:path";
import { duration, type Flags, list, oneOf, port, text } from "#lib/flags.ts";
import { type AgentConfig, flags as agentFlags } from "../../agent/config.ts";
import { type ProxyConfig, proxyMode } from "../../proxy/config.ts";
import { readJson } from "./state-file.ts";

/**
 * What `keelson up` is asked for. Written to `<config-dir>/up.json`, so that a second `up` can tell whether it
 * is asked for the same cluster, and `down` and `status` know where everything is.
 */
export interface UpSettings {
  readonly runtime: "auto" | "containerd" | "docker";
  readonly runtimeEndpoint: string;
  readonly dockerEndpoint: string;
  readonly nodeName: string;
  readonly nodeIp: string;
  readonly proxyMode: ProxyConfig["mode"];
  readonly serviceCidr: string;
  readonly clusterCidr: string;
  readonly apiPort: number;
  readonly insecurePort: number;
  readonly podManifestPath: string;
  readonly podCache: AgentConfig["podCache"];
  readonly dataDir: string;
  readonly configDir: string;
  readonly runDir: string;
  readonly logDir: string;
  readonly rootDir: string;
  readonly cgroupRoot: string;
  readonly tlsSan: readonly string[];
  readonly timeoutMs: number;
}

export const upFlags: Flags<UpSettings> = {
  runtime: {
    flag: "runtime",
    parse: oneOf("auto", "containerd", "docker"),
    default: "auto",
    help: "container runtime; auto takes the first that answers, else starts its own containerd",
  },
  runtimeEndpoint: {
    flag: "container-runtime-endpoint",
    parse: text,
    default: "",
    help: "CRI socket, for a containerd or CRI-O at another place than usual",
  },
  dockerEndpoint: {
    flag: "docker-endpoint",
    parse: text,
    default: "unix:///var/run/docker.sock",
    help: "Docker's socket",
  },
  nodeName: {
    flag: "node-name",
    parse: text,
    default: "",
    help: "this node's name; the host's name unless given",
  },
  nodeIp: {
    flag: "node-ip",
    parse: text,
    default: "",
    help: "this node's address; that of the default route unless given",
  },
  proxyMode: {
    flag: "proxy-mode",
    parse: proxyMode,
    default: "iptables",
    help: 'how Services become kernel rules: "iptables" or "userspace"',
  },
  serviceCidr: {
    flag: "service-cluster-ip-range",
    parse: text,
    default: "10.96.0.0/16",
    help: "addresses of Services",
  },
  clusterCidr: { flag: "cluster-cidr", parse: text, default: "10.244.0.0/16", help: "addresses of Pods" },
  apiPort: { flag: "secure-port", parse: port, default: "6443", help: "port of the API server" },
  insecurePort: {
    flag: "insecure-port",
    parse: port,
    default: "0",
    help: "plain-HTTP port of the API on 127.0.0.1; 0 is off",
  },
  podManifestPath: {
    flag: "pod-manifest-path",
    parse: text,
    default: "/etc/keelson/manifests",
    help: "folder of static Pods",
  },
  podCache: agentFlags.podCache,
  dataDir: { flag: "data-dir", parse: text, default: "/var/lib/keelson", help: "the cluster's state" },
  configDir: { flag: "config-dir", parse: text, default: "/etc/keelson", help: "kubeconfigs and settings" },
  runDir: { flag: "run-dir", parse: text, default: "/run/keelson", help: "sockets and pid files" },
  logDir: { flag: "log-dir", parse: text, default: "/var/log/keelson", help: "logs of our parts" },
  rootDir: { flag: "root-dir", parse: text, default: "/var/lib/kubelet", help: "the agent's folder of Pods" },
  cgroupRoot: {
    flag: "cgroup-root",
    parse: text,
    default: "/",
    help: "cgroup below which the Pods' cgroups stand",
  },
  tlsSan: { flag: "tls-san", parse: list, default: "", help: "more names for the API server's certificate" },
  timeoutMs: {
    flag: "timeout",
    parse: duration,
    default: "2m",
    help: "how long to wait for the node to be Ready",
  },
};

/** Where the settings of the running cluster are kept. */
export function settingsFile(configDir: string): string {
  return path.join(configDir, "up.json");
}

/** The settings that the last `keelson up` was given, or undefined when nothing is up. */
export async function loadSettings(configDir: string): Promise<UpSettings | undefined> {
  const saved = await readJson(settingsFile(configDir));
  return typeof saved === "object" && saved !== null ? ({ ...saved } as UpSettings) : undefined; // our own file
}
