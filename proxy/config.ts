import { hostname } from "node:os";
import { bool, duration, type Flags, integer, list, oneOf, text } from "#lib/flags.ts";

/** Settings of the proxy. Times are milliseconds; addresses are `ip:port`, "" turns a server off. */
export interface ProxyConfig {
  readonly configFile: string;
  readonly kubeconfig: string;
  readonly nodeName: string;
  readonly cleanup: boolean;
  readonly mode: "iptables" | "userspace";
  readonly bindAddress: string;
  readonly healthzBindAddress: string;
  readonly metricsBindAddress: string;
  readonly bindAddressHardFail: boolean;
  readonly masqueradeBit: number;
  readonly masqueradeAll: boolean;
  readonly localhostNodePorts: boolean;
  readonly syncPeriodMs: number;
  readonly minSyncMs: number;
  readonly detectLocalMode: "ClusterCIDR" | "NodeCIDR" | "BridgeInterface" | "InterfaceNamePrefix";
  readonly bridgeInterface: string;
  readonly interfaceNamePrefix: string;
  readonly clusterCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  readonly nodePortAddresses: readonly string[];
  readonly conntrackMaxPerCore: number;
  readonly conntrackMin: number;
  readonly conntrackTcpEstablishedMs: number;
  readonly conntrackTcpCloseWaitMs: number;
  readonly conntrackTcpBeLiberal: boolean;
  readonly conntrackUdpTimeoutMs: number;
  readonly conntrackUdpStreamTimeoutMs: number;
  readonly userspaceMaxConnections: number;
}

/** kube-proxy's names, and a few of ours. */
export const flags: Flags<ProxyConfig> = {
  configFile: {
    flag: "config",
    parse: text,
    default: "",
    value: "FILE",
    help: "a KubeProxyConfiguration file; what it says goes before other flags",
  },
  kubeconfig: {
    flag: "kubeconfig",
    parse: text,
    default: "/etc/keelson/proxy.kubeconfig",
    value: "FILE",
    help: "how to reach the API",
  },
  nodeName: {
    flag: "hostname-override",
    parse: nodeName,
    default: "",
    value: "NAME",
    help: "this node's name in the API; the host's name unless given",
  },
  cleanup: {
    flag: "cleanup",
    parse: bool,
    default: "false",
    switch: true,
    help: "remove the rules of every mode and exit",
  },
  mode: {
    flag: "proxy-mode",
    parse: proxyMode,
    default: "iptables",
    value: "MODE",
    help: 'how Services reach the kernel: "iptables" or "userspace"',
  },
  bindAddress: {
    flag: "bind-address",
    parse: text,
    default: "0.0.0.0",
    value: "IP",
    help: "overrides the node's own address",
  },
  healthzBindAddress: {
    flag: "healthz-bind-address",
    parse: hostAndPort,
    default: "0.0.0.0:10256",
    value: "IP:PORT",
    help: "where /healthz and /livez are served",
  },
  metricsBindAddress: {
    flag: "metrics-bind-address",
    parse: hostAndPort,
    default: "127.0.0.1:10249",
    value: "IP:PORT",
    help: "where /metrics and /proxyMode are served",
  },
  bindAddressHardFail: {
    flag: "bind-address-hard-fail",
    parse: bool,
    default: "false",
    switch: true,
    help: "end when one of these ports is taken",
  },
  masqueradeBit: {
    flag: "iptables-masquerade-bit",
    parse: bit,
    default: "14",
    value: "BIT",
    help: "bit of the packet mark that asks for masquerading, 0 to 31",
  },
  masqueradeAll: {
    flag: "masquerade-all",
    parse: bool,
    default: "false",
    switch: true,
    help: "masquerade all traffic to cluster addresses",
  },
  localhostNodePorts: {
    flag: "iptables-localhost-nodeports",
    parse: bool,
    default: "true",
    switch: true,
    help: "NodePorts answer on 127.0.0.1",
  },
  syncPeriodMs: {
    flag: "iptables-sync-period",
    parse: positiveDuration,
    default: "10s",
    value: "TIME",
    help: "how often rules that another program took away are looked for",
  },
  minSyncMs: {
    flag: "iptables-min-sync-period",
    parse: duration,
    default: "100ms",
    value: "TIME",
    help: "shortest time between two rule writes; a change after a quiet time is written at once",
  },
  detectLocalMode: {
    flag: "detect-local-mode",
    parse: oneOf("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"),
    default: "ClusterCIDR",
    value: "MODE",
    help: "how a packet of a Pod is told from others",
  },
  bridgeInterface: {
    flag: "pod-bridge-interface",
    parse: text,
    default: "",
    value: "NAME",
    help: "for BridgeInterface: the bridge of the Pods",
  },
  interfaceNamePrefix: {
    flag: "pod-interface-name-prefix",
    parse: text,
    default: "",
    value: "PREFIX",
    help: "for InterfaceNamePrefix: how Pods' interfaces begin",
  },
  clusterCidrs: {
    flag: "cluster-cidr",
    parse: cidrs,
    default: "",
    value: "CIDR,...",
    help: "the range of Pod addresses; traffic from elsewhere to a cluster address is masqueraded",
  },
  serviceCidrs: {
    flag: "service-cluster-ip-range",
    parse: cidrs,
    default: "",
    value: "CIDR,...",
    help: "the range of Service addresses; what no Service has is refused here",
  },
  nodePortAddresses: {
    flag: "nodeport-addresses",
    parse: nodePortRanges,
    default: "",
    value: "CIDR,...",
    help: 'on which addresses NodePorts answer: ranges or "primary"; all unless given',
  },
  conntrackMaxPerCore: {
    flag: "conntrack-max-per-core",
    parse: integer,
    default: "32768",
    value: "N",
    help: "tracked connections for each core; 0 leaves the kernel as it is",
  },
  conntrackMin: {
    flag: "conntrack-min",
    parse: integer,
    default: "131072",
    value: "N",
    help: "tracked connections at least",
  },
  conntrackTcpEstablishedMs: {
    flag: "conntrack-tcp-timeout-established",
    parse: duration,
    default: "24h",
    value: "TIME",
    help: "idle time of established TCP connections; 0 leaves it",
  },
  conntrackTcpCloseWaitMs: {
    flag: "conntrack-tcp-timeout-close-wait",
    parse: duration,
    default: "1h",
    value: "TIME",
    help: "time of half-closed TCP connections; 0 leaves it",
  },
  conntrackTcpBeLiberal: {
    flag: "conntrack-tcp-be-liberal",
    parse: bool,
    default: "false",
    switch: true,
    help: "accept TCP packets out of window instead of dropping them",
  },
  conntrackUdpTimeoutMs: {
    flag: "conntrack-udp-timeout",
    parse: duration,
    default: "0",
    value: "TIME",
    help: "idle time of UDP flows; 0 leaves it",
  },
  conntrackUdpStreamTimeoutMs: {
    flag: "conntrack-udp-timeout-stream",
    parse: duration,
    default: "0",
    value: "TIME",
    help: "idle time of answered UDP flows; 0 leaves it",
  },
  userspaceMaxConnections: {
    flag: "userspace-max-connections",
    parse: integer,
    default: "4096",
    value: "N",
    help: "userspace mode: connections at once for each Service port",
  },
};

function nodeName(value: string): string {
  return (value === "" ? hostname() : value).trim().toLowerCase();
}

/** `iptables` or `userspace`; the modes kube-proxy has and we do not are refused in words, not as typing errors. */
export function proxyMode(value: string): ProxyConfig["mode"] {
  if (value === "" || value === "iptables") return "iptables";
  if (value === "userspace") return value;
  if (value === "nftables")
    throw new Error(`"nftables" is not supported yet; want "iptables" or "userspace"`);
  if (value === "ipvs") throw new Error(`"ipvs" is not supported; want "iptables" or "userspace"`);
  throw new Error(`want "iptables" or "userspace"`);
}

/** `ip:port`, `[ip]:port`; "" and "0" turn the server off. */
export function hostAndPort(value: string): string {
  if (value === "" || value === "0") return "";
  const port = /^(?:\[[0-9a-fA-F:]+\]|[\w.-]*):(\d{1,5})$/.exec(value)?.[1];
  if (port === undefined || Number(port) > 65_535) throw new Error('want an address such as "0.0.0.0:10256"');
  return value;
}

/** Ranges, separated by commas. */
export function cidrs(value: string): readonly string[] {
  const ranges = list(value);
  for (const range of ranges) {
    if (!/^[0-9a-fA-F:.]+\/\d{1,3}$/.test(range))
      throw new Error(`"${range}": want a range such as "10.244.0.0/16"`);
  }
  return ranges;
}

function nodePortRanges(value: string): readonly string[] {
  return value === "primary" ? ["primary"] : cidrs(value);
}

function bit(value: string): number {
  const number = integer(value);
  if (number > 31) throw new Error("want a bit from 0 to 31");
  return number;
}

function positiveDuration(value: string): number {
  const ms = duration(value);
  if (ms < 1_000) throw new Error(`want at least "1s"`);
  return ms;
}
