import {
  type ServicePort,
  type LocalDetector,
  type Endpoint,
  type NodeFacts,
  hostPort,
  isExternallyAccessible,
} from "../model.ts";
import { isInCidr } from "./cidr.ts";
import { chooseEndpoints } from "./endpoints.ts";
import { endpointChain, serviceChain } from "./iptables-names.ts";
import type { OwnedRules, SharedRule } from "./owned-rules.ts";

/** Settings of iptables mode that shape a Service's rules. */
export interface IptablesSettings {
  readonly masqueradeAll: boolean;
  readonly localDetector: LocalDetector;
}

/**
 * The rules of one port, with kube-proxy's chains and names.
 * nat sends what has endpoints; filter refuses (nothing anywhere) or drops (nothing on this node) the rest.
 */
export function planIptablesRules(
  port: ServicePort,
  node: NodeFacts,
  settings: IptablesSettings,
): OwnedRules {
  const chosen = chooseEndpoints(port, node);
  const chain = (kind: "SVC" | "SVL" | "EXT" | "FW") => serviceChain(kind, port);
  const chains = new Map<string, string[]>();
  const shared: SharedRule[] = [];
  const nat = (name: string, rule: string): void => void shared.push({ table: "nat", chain: name, rule });
  const filter = (name: string, rule: string): void =>
    void shared.push({ table: "filter", chain: name, rule });

  const internalChain = chain(port.internalLocal ? "SVL" : "SVC");
  const externalChain = chain(port.externalLocal ? "SVL" : "SVC");
  const internalAny = chosen.any && (!port.internalLocal || chosen.local.length > 0);
  const externalAny = chosen.any && (!port.externalLocal || chosen.local.length > 0);
  const refusal = chosen.any ? "has no local endpoints" : "has no endpoints";
  const verdict = chosen.any ? "DROP" : "REJECT";

  const toClusterIp = to(port, port.clusterIp);
  if (internalAny)
    nat("KUBE-SERVICES", `${comment(`${port.name} cluster IP`)} ${toClusterIp} -j ${internalChain}`);
  else filter("KUBE-SERVICES", `${comment(`${port.name} ${refusal}`)} ${toClusterIp} -j ${verdict}`);

  for (const ip of port.externalIps) {
    if (chosen.any)
      nat("KUBE-SERVICES", `${comment(`${port.name} external IP`)} ${to(port, ip)} -j ${chain("EXT")}`);
    if (!externalAny)
      filter("KUBE-EXTERNAL-SERVICES", `${comment(`${port.name} ${refusal}`)} ${to(port, ip)} -j ${verdict}`);
  }
  const guarded = chosen.any && port.loadBalancerIps.length > 0 && port.sourceRanges.length > 0;
  for (const ip of port.loadBalancerIps) {
    if (chosen.any) {
      nat(
        "KUBE-SERVICES",
        `${comment(`${port.name} loadbalancer IP`)} ${to(port, ip)} -j ${chain(guarded ? "FW" : "EXT")}`,
      );
    }
    if (guarded) {
      filter(
        "KUBE-PROXY-FIREWALL",
        `${comment(`${port.name} traffic not accepted by ${chain("FW")}`)} ${to(port, ip)} -j DROP`,
      );
    }
    if (!externalAny)
      filter("KUBE-EXTERNAL-SERVICES", `${comment(`${port.name} ${refusal}`)} ${to(port, ip)} -j ${verdict}`);
  }
  if (port.nodePort !== 0) {
    const toNode = `-m ${port.protocol} -p ${port.protocol} --dport ${port.nodePort}`;
    if (chosen.any) nat("KUBE-NODEPORTS", `${comment(port.name)} ${toNode} -j ${chain("EXT")}`);
    if (!externalAny) {
      filter(
        "KUBE-EXTERNAL-SERVICES",
        `${comment(`${port.name} ${refusal}`)} -m addrtype --dst-type LOCAL ${toNode} -j ${verdict}`,
      );
    }
  }
  if (port.healthCheckNodePort !== 0) {
    filter(
      "KUBE-NODEPORTS",
      `${comment(`${port.name} health check node port`)} -m tcp -p tcp --dport ${port.healthCheckNodePort} -j ACCEPT`,
    );
  }

  if (chosen.any && isExternallyAccessible(port)) {
    chains.set(
      chain("EXT"),
      externalRules(port, settings, chain("SVC"), externalAny ? externalChain : undefined),
    );
  }
  if (guarded) chains.set(chain("FW"), firewallRules(port, node, chain("EXT")));
  if (chosen.cluster.length > 0) chains.set(chain("SVC"), balanceRules(port, chosen.cluster));
  if (chosen.local.length > 0) chains.set(chain("SVL"), balanceRules(port, chosen.local));
  if (internalAny) {
    const fromElsewhere = settings.masqueradeAll ? "" : notLocal(settings.localDetector);
    if (fromElsewhere !== undefined) {
      const mark = `${comment(`${port.name} cluster IP`)} ${toClusterIp}${fromElsewhere} -j KUBE-MARK-MASQ`;
      chains.get(internalChain)?.unshift(mark);
    }
  }
  for (const endpoint of chosen.reachable)
    chains.set(endpointChain(port, endpoint), endpointRules(port, endpoint));
  return { chains, shared };
}

/** Traffic from outside. What starts in a Pod or on the node itself may use every endpoint even under policy Local. */
function externalRules(
  port: ServicePort,
  settings: IptablesSettings,
  clusterChain: string,
  policyChain: string | undefined,
): string[] {
  const rules: string[] = [];
  const about = (what: string) => comment(`${what} traffic for ${port.name} external destinations`);
  if (!port.externalLocal) rules.push(`${about("masquerade")} -j KUBE-MARK-MASQ`);
  else {
    const local = isLocal(settings.localDetector);
    if (local !== undefined) rules.push(`${about("pod")}${local} -j ${clusterChain}`);
    rules.push(`${about("masquerade LOCAL")} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`);
    rules.push(`${about("route LOCAL")} -m addrtype --src-type LOCAL -j ${clusterChain}`);
  }
  if (policyChain !== undefined) rules.push(`-j ${policyChain}`);
  return rules;
}

function firewallRules(port: ServicePort, node: NodeFacts, externalEntry: string): string[] {
  const about = comment(`${port.name} loadbalancer IP`);
  const rules = port.sourceRanges.map((range) => `${about} -s ${range} -j ${externalEntry}`);
  // A node inside a range reaches the address from the address itself: the kernel picks it as source on loopback.
  if (port.sourceRanges.some((range) => node.ips.some((ip) => isInCidr(ip, range)))) {
    for (const ip of port.loadBalancerIps) rules.push(`${about} -s ${ip} -j ${externalEntry}`);
  }
  rules.push(comment(`other traffic to ${port.name} will be dropped by KUBE-PROXY-FIREWALL`));
  return rules;
}

/** Affinity first, then a fair draw: the i-th of n rules takes 1/(n-i) of what reaches it. */
function balanceRules(port: ServicePort, endpoints: readonly Endpoint[]): string[] {
  const about = (endpoint: Endpoint) => comment(`${port.name} -> ${hostPort(endpoint.ip, endpoint.port)}`);
  const rules: string[] = [];
  if (port.affinitySeconds > 0) {
    for (const endpoint of endpoints) {
      const chain = endpointChain(port, endpoint);
      rules.push(
        `${about(endpoint)} -m recent --name ${chain} --rcheck --seconds ${port.affinitySeconds} --reap -j ${chain}`,
      );
    }
  }
  for (const [index, endpoint] of endpoints.entries()) {
    const rest = endpoints.length - index;
    const draw = rest > 1 ? ` -m statistic --mode random --probability ${(1 / rest).toFixed(10)}` : "";
    rules.push(`${about(endpoint)}${draw} -j ${endpointChain(port, endpoint)}`);
  }
  return rules;
}

function endpointRules(port: ServicePort, endpoint: Endpoint): string[] {
  const about = comment(port.name);
  const remember = port.affinitySeconds > 0 ? ` -m recent --name ${endpointChain(port, endpoint)} --set` : "";
  return [
    // A Pod that reaches itself through its Service must see another source, or its answer never leaves it.
    `${about} -s ${endpoint.ip} -j KUBE-MARK-MASQ`,
    `${about}${remember} -m ${port.protocol} -p ${port.protocol} -j DNAT --to-destination ${hostPort(endpoint.ip, endpoint.port)}`,
  ];
}

function to(port: ServicePort, ip: string): string {
  return `-m ${port.protocol} -p ${port.protocol} -d ${ip} --dport ${port.port}`;
}

/** The comment match, quoted only where iptables-save would quote it. */
export function comment(text: string): string {
  return /^[\w./:-]+$/.test(text) ? `-m comment --comment ${text}` : `-m comment --comment "${text}"`;
}

/** Matches packets of this node's Pods; undefined when they cannot be told. */
function isLocal(detector: LocalDetector): string | undefined {
  switch (detector.by) {
    case "nothing":
      return undefined;
    case "cidr":
      return ` -s ${detector.cidr}`;
    case "bridge":
      return ` -i ${detector.name}`;
    case "interface-prefix":
      return ` -i ${detector.prefix}+`;
    default:
      return detector satisfies never;
  }
}

function notLocal(detector: LocalDetector): string | undefined {
  const match = isLocal(detector);
  return match === undefined ? undefined : ` !${match}`;
}
