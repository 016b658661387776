import { hostPort, type ServicePort } from "../model.ts";
import { refuseUnallocated } from "./iptables-base.ts";
import { comment } from "./iptables-rules.ts";
import type { BaseRules, Jump, OwnedRules, SharedRule } from "./owned-rules.ts";

/** Where this process listens for one port. */
export interface Listener {
  /** Chosen by the kernel. */
  readonly proxyPort: number;
  /** An address of this node at which its own processes reach the listener. */
  readonly hostIp: string;
}

/** Chains of userspace mode. They are emptied at start: proxy ports change with a restart. */
export function planUserspaceBase(serviceCidrs: readonly string[]): BaseRules {
  const chains = [
    "KUBE-PORTALS-CONTAINER",
    "KUBE-PORTALS-HOST",
    "KUBE-NODEPORT-CONTAINER",
    "KUBE-NODEPORT-HOST",
  ];
  return {
    chains: [
      { table: "filter", chain: "KUBE-NODEPORT-NON-LOCAL", rules: [] },
      { table: "filter", chain: "KUBE-SERVICES", rules: refuseUnallocated(serviceCidrs) },
      { table: "filter", chain: "KUBE-PROXY-FIREWALL", rules: [] },
      { table: "filter", chain: "KUBE-PROXY-CANARY", rules: [] },
      ...chains.map((chain) => ({ table: "nat", chain, rules: [] }) as const),
      { table: "nat", chain: "KUBE-PROXY-CANARY", rules: [] },
      { table: "mangle", chain: "KUBE-PROXY-CANARY", rules: [] },
    ],
    kept: [],
    jumps: [
      jump("filter", "FORWARD", "KUBE-SERVICES", "kubernetes service portals", "-m conntrack --ctstate NEW "),
      jump("filter", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals", "-m conntrack --ctstate NEW "),
      jump(
        "filter",
        "INPUT",
        "KUBE-PROXY-FIREWALL",
        "kubernetes load balancer firewall",
        "-m conntrack --ctstate NEW ",
      ),
      jump(
        "filter",
        "FORWARD",
        "KUBE-PROXY-FIREWALL",
        "kubernetes load balancer firewall",
        "-m conntrack --ctstate NEW ",
      ),
      jump("filter", "INPUT", "KUBE-NODEPORT-NON-LOCAL", "Ensure that non-local NodePort traffic can flow"),
      jump("nat", "PREROUTING", "KUBE-PORTALS-CONTAINER", portalsNote),
      jump("nat", "OUTPUT", "KUBE-PORTALS-HOST", portalsNote),
      {
        ...jump(
          "nat",
          "PREROUTING",
          "KUBE-NODEPORT-CONTAINER",
          nodePortsNote,
          "-m addrtype --dst-type LOCAL ",
        ),
        at: "last",
      },
      {
        ...jump("nat", "OUTPUT", "KUBE-NODEPORT-HOST", nodePortsNote, "-m addrtype --dst-type LOCAL "),
        at: "last",
      },
    ],
  };
}

const portalsNote = "handle ClusterIPs; NOTE: this must be before the NodePort rules";
const nodePortsNote = "handle service NodePorts; NOTE: this must be the last rule in the chain";

/**
 * The rules that bring one port's traffic to its listener: redirected when it comes from a Pod or from outside,
 * DNAT when it starts on the node, where REDIRECT would mean loopback.
 */
export function planUserspaceRules(port: ServicePort, listener: Listener): OwnedRules {
  const redirect = `-j REDIRECT --to-ports ${listener.proxyPort}`;
  const dnat = `-j DNAT --to-destination ${hostPort(listener.hostIp, listener.proxyPort)}`;
  const about = `${comment(port.name)} -p ${port.protocol} -m ${port.protocol}`;
  const bits = port.family === 4 ? 32 : 128;
  const shared: SharedRule[] = [];
  const nat = (chain: string, rule: string): void => void shared.push({ table: "nat", chain, rule });
  const portal = (ip: string): string => `${about} -d ${ip}/${bits} --dport ${port.port}`;

  const sources = port.sourceRanges.length === 0 ? [""] : port.sourceRanges.map((range) => ` -s ${range}`);
  nat("KUBE-PORTALS-CONTAINER", `${portal(port.clusterIp)} ${redirect}`);
  nat("KUBE-PORTALS-HOST", `${portal(port.clusterIp)} ${dnat}`);
  for (const ip of port.loadBalancerIps) {
    for (const source of sources) nat("KUBE-PORTALS-CONTAINER", `${portal(ip)}${source} ${redirect}`);
    nat("KUBE-PORTALS-HOST", `${portal(ip)} ${dnat}`);
    if (port.sourceRanges.length > 0) {
      // Everybody else's packets come here untranslated; the listener's own never carry this address.
      const rule = `${portal(ip)} -j DROP`;
      shared.push({ table: "filter", chain: "KUBE-PROXY-FIREWALL", rule });
    }
  }
  for (const ip of port.externalIps) {
    // Not for what a bridge merely passes on: a Pod may have this very address on the wire.
    nat("KUBE-PORTALS-CONTAINER", `${portal(ip)} -m physdev ! --physdev-is-in ${redirect}`);
    nat("KUBE-PORTALS-CONTAINER", `${portal(ip)} -m addrtype --dst-type LOCAL ${redirect}`);
    // Also where the address is nobody's yet: the first proxy's public addresses answer on the node itself.
    nat("KUBE-PORTALS-HOST", `${portal(ip)} ${dnat}`);
  }
  if (port.nodePort !== 0) {
    nat("KUBE-NODEPORT-CONTAINER", `${about} --dport ${port.nodePort} ${redirect}`);
    nat("KUBE-NODEPORT-HOST", `${about} --dport ${port.nodePort} ${dnat}`);
    shared.push({
      table: "filter",
      chain: "KUBE-NODEPORT-NON-LOCAL",
      rule: `${about} --dport ${listener.proxyPort} -m conntrack --ctstate NEW -j ACCEPT`,
    });
  }
  return { chains: new Map(), shared };
}

function jump(table: "filter" | "nat", from: string, to: string, about: string, match = ""): Jump {
  return { table, from, to, match: `${match}${comment(about)}`, comment: about, at: "first" };
}
