import { parse } from "yaml";
import { flags, type ProxyConfig } from "./config.ts";

/** Field of KubeProxyConfiguration -> the setting it stands for; undefined: accepted, means nothing here. */
const fields: Readonly<Record<string, keyof ProxyConfig | undefined>> = {
  apiVersion: undefined,
  kind: undefined,
  featureGates: undefined,
  "clientConnection.kubeconfig": "kubeconfig",
  "clientConnection.acceptContentTypes": undefined,
  "clientConnection.contentType": undefined,
  "clientConnection.qps": undefined,
  "clientConnection.burst": undefined,
  logging: undefined,
  hostnameOverride: "nodeName",
  bindAddress: "bindAddress",
  healthzBindAddress: "healthzBindAddress",
  metricsBindAddress: "metricsBindAddress",
  bindAddressHardFail: "bindAddressHardFail",
  enableProfiling: undefined,
  showHiddenMetricsForVersion: undefined,
  mode: "mode",
  "iptables.masqueradeBit": "masqueradeBit",
  "iptables.masqueradeAll": "masqueradeAll",
  "iptables.localhostNodePorts": "localhostNodePorts",
  "iptables.syncPeriod": "syncPeriodMs",
  "iptables.minSyncPeriod": "minSyncMs",
  ipvs: undefined,
  nftables: undefined,
  winkernel: undefined,
  detectLocalMode: "detectLocalMode",
  "detectLocal.bridgeInterface": "bridgeInterface",
  "detectLocal.interfaceNamePrefix": "interfaceNamePrefix",
  clusterCIDR: "clusterCidrs",
  nodePortAddresses: "nodePortAddresses",
  oomScoreAdj: undefined,
  "conntrack.maxPerCore": "conntrackMaxPerCore",
  "conntrack.min": "conntrackMin",
  "conntrack.tcpEstablishedTimeout": "conntrackTcpEstablishedMs",
  "conntrack.tcpCloseWaitTimeout": "conntrackTcpCloseWaitMs",
  "conntrack.tcpBeLiberal": "conntrackTcpBeLiberal",
  "conntrack.udpTimeout": "conntrackUdpTimeoutMs",
  "conntrack.udpStreamTimeout": "conntrackUdpStreamTimeoutMs",
  configSyncPeriod: undefined,
  portRange: undefined,
  windowsRunAsService: undefined,
};

/** Fields below which everything is accepted. */
const nested = new Set(["clientConnection", "iptables", "detectLocal", "conntrack"]);

/**
 * What a KubeProxyConfiguration file says, laid over the settings from the command line.
 * Empty and absent fields leave the setting as it is, as Kubernetes' own defaulting does.
 * @throws Error that names the field: unknown, or with a value its flag would not take.
 */
export function applyConfigFile(config: ProxyConfig, source: string, file: string): ProxyConfig {
  const fail = (why: string): never => {
    throw new Error(`cannot read the proxy's configuration "${file}": ${why}`);
  };
  const document: unknown = parse(source);
  if (!isObject(document)) return fail("it is no object");
  if (
    document["kind"] !== "KubeProxyConfiguration" ||
    document["apiVersion"] !== "kubeproxy.config.k8s.io/v1alpha1"
  ) {
    return fail(`want apiVersion "kubeproxy.config.k8s.io/v1alpha1" and kind "KubeProxyConfiguration"`);
  }
  const result: Partial<Record<keyof ProxyConfig, unknown>> = { ...config };
  for (const [name, value] of leaves(document, "")) {
    if (!(name in fields)) return fail(`unknown field "${name}"`);
    const key = fields[name];
    if (key === undefined || value === null || value === undefined || value === "") continue;
    if (value === "0s" && name.startsWith("iptables.")) continue; // what kubeadm writes for "the default"
    try {
      result[key] = flags[key].parse(textOf(value));
    } catch (cause) {
      return fail(`${name}: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }
  return result as ProxyConfig; // every key came from `config`, and each flag's parser gives its key's type
}

function* leaves(
  object: Readonly<Record<string, unknown>>,
  prefix: string,
): Generator<readonly [string, unknown]> {
  for (const [name, value] of Object.entries(object)) {
    if (nested.has(prefix + name) && isObject(value)) yield* leaves(value, `${prefix}${name}.`);
    else if (!(nested.has(prefix + name) && value === null)) yield [prefix + name, value];
  }
}

/** A value as it would be typed on the command line. */
function textOf(value: unknown): string {
  if (Array.isArray(value)) return value.join(",");
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
