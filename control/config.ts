import { bool, duration, type Flags, integer, list, port, text } from "#lib/flags.ts";
import { choosePlugins, defaultPlugins } from "./admission/chain.ts";
import { type Ipv4Range, parseRange } from "./allocators/plan/ipv4-range.ts";
import type { AuthorizationMode } from "./auth/authorizer.ts";

/** The control plane's settings. */
export interface ControlConfig {
  /** `store.db` and `pki/` live here. */
  readonly dataDir: string;
  /** Kubeconfigs are written here. */
  readonly configDir: string;
  readonly bindAddress: string;
  readonly securePort: number;
  /** The address that nodes reach us at; "" takes the machine's first. */
  readonly advertiseAddress: string;
  /** What kubeconfigs name; "" is https://127.0.0.1 where that is served, else the advertised address. */
  readonly kubeconfigServer: string;
  /** 0: none. */
  readonly insecurePort: number;
  readonly insecureBindAddress: string;
  /** Empty: the built-in store. */
  readonly etcdServers: readonly string[];
  readonly serviceClusterIpRange: Ipv4Range;
  readonly clusterCidr: string;
  readonly nodeCidrMaskSize: number;
  readonly clusterDomain: string;
  /** "" is the tenth address of the service range. */
  readonly clusterDns: string;
  readonly serviceNodePortRange: { readonly first: number; readonly last: number };
  /** Nodes that get a kubeconfig at start. */
  readonly nodeNames: readonly string[];
  readonly tlsSans: readonly string[];
  readonly authorizationModes: readonly AuthorizationMode[];
  readonly admissionPlugins: readonly string[];
  /** "" for none. */
  readonly tokenAuthFile: string;
  readonly basicAuthFile: string;
  readonly disableScheduler: boolean;
  readonly disableControllers: boolean;
  readonly disableDns: boolean;
  /** "" is the advertised address. */
  readonly dnsAddress: string;
  readonly dnsPort: number;
  /** Servers for names outside of the cluster; empty takes those of /etc/resolv.conf. */
  readonly dnsUpstreams: readonly string[];
  /** 0: none. On loopback. */
  readonly schedulerPort: number;
  readonly controllersPort: number;
  readonly nodeMonitorGraceMs: number;
}

/** The control plane's flags, named as upstream names them where upstream has them. */
export const flags: Flags<ControlConfig> = {
  dataDir: {
    flag: "data-dir",
    parse: text,
    default: "/var/lib/keelson",
    help: "where the store and the PKI live",
  },
  configDir: {
    flag: "config-dir",
    parse: text,
    default: "/etc/keelson",
    help: "where kubeconfigs are written",
  },
  bindAddress: {
    flag: "bind-address",
    parse: text,
    default: "0.0.0.0",
    help: "address the API is served on",
  },
  securePort: { flag: "secure-port", parse: port, default: "6443", help: "port the API is served on" },
  advertiseAddress: {
    flag: "advertise-address",
    parse: text,
    default: "",
    help: "address that nodes and Pods reach the API at; the machine's first unless given",
  },
  kubeconfigServer: {
    flag: "kubeconfig-server",
    parse: text,
    default: "",
    help: "URL in the kubeconfigs that are written; https://127.0.0.1:PORT unless given",
  },
  insecurePort: {
    flag: "insecure-port",
    parse: port,
    default: "0",
    help: "plain HTTP port where everything is allowed; 0 for none",
  },
  insecureBindAddress: {
    flag: "insecure-bind-address",
    parse: loopback,
    default: "127.0.0.1",
    help: "loopback address of the plain port",
  },
  etcdServers: {
    flag: "etcd-servers",
    parse: list,
    default: "",
    help: "URLs of an etcd to keep everything in; the built-in store unless given",
  },
  serviceClusterIpRange: {
    flag: "service-cluster-ip-range",
    parse: parseRange,
    default: "10.96.0.0/16",
    help: "addresses for Services",
  },
  clusterCidr: { flag: "cluster-cidr", parse: text, default: "10.244.0.0/16", help: "addresses for Pods" },
  nodeCidrMaskSize: {
    flag: "node-cidr-mask-size",
    parse: integer,
    default: "24",
    help: "size of one node's part of them",
  },
  clusterDomain: {
    flag: "cluster-domain",
    parse: text,
    default: "cluster.local",
    help: "domain of the cluster's names",
  },
  clusterDns: {
    flag: "cluster-dns",
    parse: text,
    default: "",
    help: "address of the Service kube-dns; the tenth of the range unless given",
  },
  serviceNodePortRange: {
    flag: "service-node-port-range",
    parse: portRange,
    default: "30000-32767",
    help: "ports for Services of type NodePort",
  },
  nodeNames: { flag: "node-name", parse: list, default: "", help: "nodes to write a kubeconfig for" },
  tlsSans: {
    flag: "tls-san",
    parse: list,
    default: "",
    help: "further names and addresses of this API server",
  },
  authorizationModes: {
    flag: "authorization-mode",
    parse: authorizationModes,
    default: "Node,RBAC",
    help: "who decides, in order: Node, RBAC, AlwaysAllow, AlwaysDeny",
  },
  admissionPlugins: {
    flag: "enable-admission-plugins",
    parse: admissionPlugins,
    default: defaultPlugins.join(","),
    help: "what changes and checks writes",
  },
  tokenAuthFile: {
    flag: "token-auth-file",
    parse: text,
    default: "",
    help: 'users by token: token,user,uid,"groups"',
  },
  basicAuthFile: {
    flag: "basic-auth-file",
    parse: text,
    default: "",
    help: 'users by password: password,user,uid,"groups"',
  },
  disableScheduler: {
    flag: "disable-scheduler",
    parse: bool,
    default: "false",
    switch: true,
    help: "run no scheduler",
  },
  disableControllers: {
    flag: "disable-controllers",
    parse: bool,
    default: "false",
    switch: true,
    help: "run no controllers",
  },
  disableDns: { flag: "disable-dns", parse: bool, default: "false", switch: true, help: "run no DNS server" },
  dnsAddress: {
    flag: "dns-address",
    parse: text,
    default: "",
    help: "address of the DNS server; the advertised one unless given",
  },
  dnsPort: {
    flag: "dns-port",
    parse: port,
    default: "10053",
    help: "port of the DNS server; Service kube-dns leads from 53 to it",
  },
  dnsUpstreams: {
    flag: "dns-upstream",
    parse: list,
    default: "",
    help: "servers for names outside of the cluster; those of /etc/resolv.conf unless given",
  },
  schedulerPort: {
    flag: "scheduler-port",
    parse: port,
    default: "10259",
    help: "the scheduler's health and metrics, on loopback; 0 for none",
  },
  controllersPort: {
    flag: "controllers-port",
    parse: port,
    default: "10257",
    help: "the controllers' health and metrics, on loopback; 0 for none",
  },
  nodeMonitorGraceMs: {
    flag: "node-monitor-grace-period",
    parse: duration,
    default: "50s",
    help: "a node that is silent this long counts as lost",
  },
};

function authorizationModes(value: string): readonly AuthorizationMode[] {
  const words = ["AlwaysAllow", "AlwaysDeny", "Node", "RBAC"] as const;
  const modes = list(value).map((item) => {
    const mode = words.find((word) => word === item);
    if (mode === undefined) throw new Error(`want some of ${words.join(", ")}; "${item}" is none`);
    return mode;
  });
  if (modes.length === 0) throw new Error(`want at least one of ${words.join(", ")}`);
  return modes;
}

function admissionPlugins(value: string): readonly string[] {
  const names = list(value);
  choosePlugins(names);
  return names;
}

function portRange(value: string): { readonly first: number; readonly last: number } {
  const [, first, last] = /^(\d+)-(\d+)$/.exec(value) ?? [];
  if (first === undefined || last === undefined || port(first) > port(last) || port(first) === 0) {
    throw new Error("want two ports such as 30000-32767");
  }
  return { first: port(first), last: port(last) };
}

/** The plain port asks nobody who they are: it must not leave the machine. */
function loopback(value: string): string {
  if (value !== "::1" && !/^127\.\d+\.\d+\.\d+$/.test(value))
    throw new Error("want a loopback address such as 127.0.0.1");
  return value;
}
