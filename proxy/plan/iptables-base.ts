import type { Family } from "../model.ts";
import { comment } from "./iptables-rules.ts";
import type { BaseRules, Jump, Table } from "./owned-rules.ts";

/** Settings of iptables mode that shape what stands without any Service. */
export interface IptablesBaseSettings {
  readonly family: Family;
  /** Which bit of the packet mark means "masquerade": 0 to 31. */
  readonly masqueradeBit: number;
  /** Random source ports when masquerading (iptables 1.6.2 and newer). */
  readonly randomFully: boolean;
  /** The kernel's conntrack accepts packets out of window: then INVALID packets are not dropped. */
  readonly tcpBeLiberal: boolean;
  /** NodePorts answer on 127.0.0.1 (IPv4 only; needs route_localnet). */
  readonly localhostNodePorts: boolean;
  /** Addresses NodePorts answer on; empty: every address of the node. */
  readonly nodePortIps: readonly string[];
  /** The ranges Services get their addresses from; empty: unknown, and nothing is refused for it. */
  readonly serviceCidrs: readonly string[];
}

/** Chains of iptables mode that hold rules of many Services or none. */
export const sharedChains: readonly { readonly table: Table; readonly chain: string }[] = [
  { table: "filter", chain: "KUBE-NODEPORTS" },
  { table: "filter", chain: "KUBE-SERVICES" },
  { table: "filter", chain: "KUBE-EXTERNAL-SERVICES" },
  { table: "filter", chain: "KUBE-PROXY-FIREWALL" },
  { table: "nat", chain: "KUBE-NODEPORTS" },
  { table: "nat", chain: "KUBE-SERVICES" },
];

/** Base chains, jumps and the rules at the end of shared chains. */
export function planIptablesBase(settings: IptablesBaseSettings): BaseRules {
  const bit = `0x${(2 ** settings.masqueradeBit).toString(16)}`;
  const localnet = settings.family === 4 && settings.localhostNodePorts;
  return {
    chains: [
      { table: "filter", chain: "KUBE-NODEPORTS", rules: [] },
      { table: "filter", chain: "KUBE-SERVICES", rules: refuseUnallocated(settings.serviceCidrs) },
      { table: "filter", chain: "KUBE-EXTERNAL-SERVICES", rules: [] },
      {
        table: "filter",
        chain: "KUBE-FORWARD",
        rules: [
          ...(settings.tcpBeLiberal ? [] : ["-m conntrack --ctstate INVALID -j DROP"]),
          `${comment("kubernetes forwarding rules")} -m mark --mark ${bit}/${bit} -j ACCEPT`,
          `${comment("kubernetes forwarding conntrack rule")} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
        ],
      },
      { table: "filter", chain: "KUBE-PROXY-FIREWALL", rules: [] },
      { table: "filter", chain: "KUBE-PROXY-CANARY", rules: [] },
      { table: "nat", chain: "KUBE-NODEPORTS", rules: [] },
      { table: "nat", chain: "KUBE-SERVICES", rules: toNodePorts(settings) },
      { table: "nat", chain: "KUBE-POSTROUTING", rules: masqueradeRules(bit, settings.randomFully) },
      { table: "nat", chain: "KUBE-MARK-MASQ", rules: [`-j MARK --or-mark ${bit}`] },
      { table: "nat", chain: "KUBE-PROXY-CANARY", rules: [] },
      { table: "mangle", chain: "KUBE-PROXY-CANARY", rules: [] },
    ],
    kept: localnet ? [keptFirewall] : [],
    jumps: [
      ...jumpsTo(
        "filter",
        "KUBE-EXTERNAL-SERVICES",
        ["INPUT", "FORWARD"],
        isNew,
        "kubernetes externally-visible service portals",
      ),
      ...jumpsTo("filter", "KUBE-NODEPORTS", ["INPUT"], "", "kubernetes health check service ports"),
      ...jumpsTo("filter", "KUBE-SERVICES", ["FORWARD", "OUTPUT"], isNew, "kubernetes service portals"),
      ...jumpsTo("filter", "KUBE-FORWARD", ["FORWARD"], "", "kubernetes forwarding rules"),
      ...jumpsTo(
        "filter",
        "KUBE-PROXY-FIREWALL",
        ["INPUT", "OUTPUT", "FORWARD"],
        isNew,
        "kubernetes load balancer firewall",
      ),
      ...jumpsTo("nat", "KUBE-SERVICES", ["OUTPUT", "PREROUTING"], "", "kubernetes service portals"),
      ...jumpsTo("nat", "KUBE-POSTROUTING", ["POSTROUTING"], "", "kubernetes postrouting rules"),
      ...(localnet ? jumpsTo("filter", "KUBE-FIREWALL", ["INPUT", "OUTPUT"], "", "") : []),
    ],
  };
}

/**
 * What is still addressed to the service range after nat is for no Service: refused here instead of being
 * routed away. An address of this node (a local DNS cache on the DNS Service's address) is left alone.
 */
export function refuseUnallocated(serviceCidrs: readonly string[]): string[] {
  return serviceCidrs.map(
    (cidr) =>
      `${comment("no service has this address and port")} -d ${cidr} -m addrtype ! --dst-type LOCAL -j REJECT`,
  );
}

const isNew = "-m conntrack --ctstate NEW";

const keptFirewall: BaseRules["kept"][number] = {
  table: "filter",
  chain: "KUBE-FIREWALL",
  rules: [
    {
      // route_localnet would let the neighbours of a node reach what listens on its loopback (CVE-2020-8558).
      rule: `${comment("block incoming localnet connections")} -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
      comment: "block incoming localnet connections",
    },
  ],
};

function toNodePorts(settings: IptablesBaseSettings): string[] {
  const last = comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain");
  if (settings.nodePortIps.length > 0) {
    return settings.nodePortIps.map((ip) => `${last} -d ${ip} -j KUBE-NODEPORTS`);
  }
  const notLoopback =
    settings.family === 6 ? " ! -d ::1/128" : settings.localhostNodePorts ? "" : " ! -d 127.0.0.0/8";
  return [`${last} -m addrtype --dst-type LOCAL${notLoopback} -j KUBE-NODEPORTS`];
}

function masqueradeRules(bit: string, randomFully: boolean): string[] {
  return [
    `-m mark ! --mark ${bit}/${bit} -j RETURN`,
    // Cleared at once, so that a packet that passes again (IPsec, a tunnel) is not masqueraded twice.
    `-j MARK --xor-mark ${bit}`,
    `${comment("kubernetes service traffic requiring SNAT")} -j MASQUERADE${randomFully ? " --random-fully" : ""}`,
  ];
}

function jumpsTo(table: Table, to: string, from: readonly string[], match: string, about: string): Jump[] {
  return from.map((chain) => ({
    table,
    from: chain,
    to,
    match: [match, about === "" ? "" : comment(about)].filter((part) => part !== "").join(" "),
    comment: about,
    at: "first",
  }));
}
