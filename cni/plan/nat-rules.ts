import type { PortMapping } from "../model.ts";
import { masqueradeChain, portMapChain } from "./names.ts";

/** The nat table as far as it matters: chain -> its rules as iptables-save prints them. */
export type NatTable = ReadonlyMap<string, { readonly rules: readonly string[] }>;

/** One family's port mappings of one container. */
export interface PortMapPlan {
  readonly network: string;
  readonly containerId: string;
  /** The Pod's address, without prefix. */
  readonly podIp: string;
  /** The Pod's subnet: connections from there to a host port need their source rewritten to come back. */
  readonly podSubnet: string;
  readonly mappings: readonly PortMapping[];
}

const dnat = "CNI-HOSTPORT-DNAT";
const setMark = "CNI-HOSTPORT-SETMARK";
const masq = "CNI-HOSTPORT-MASQ";
const mark = "0x2000/0x2000";
/** Ports that one multiport match can hold. */
const portsPerRule = 15;

/** A script that adds port mappings; chains shared by all containers are made when they are missing. */
export function renderPortMap(plan: PortMapPlan, now: NatTable): string {
  const chain = portMapChain(plan.network, plan.containerId);
  const mappings = plan.mappings.filter(
    (mapping) => mapping.hostIp === "" || mapping.hostIp.includes(":") === plan.podIp.includes(":"),
  );
  return script([
    ...declare(now, dnat, setMark, masq),
    `:${chain} - [0:0]`,
    ...(now.has(setMark)
      ? []
      : [`-A ${setMark} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${mark}`]),
    ...(now.has(masq) ? [] : [`-A ${masq} -m mark --mark ${mark} -j MASQUERADE`]),
    ...jump(now, "PREROUTING", "-A", dnat, "-m addrtype --dst-type LOCAL "),
    ...jump(now, "OUTPUT", "-A", dnat, "-m addrtype --dst-type LOCAL "),
    ...jump(now, "POSTROUTING", "-I", masq, `-m comment --comment "CNI portfwd requiring masquerade" `),
    ...entries(now, chain).map((rule) => `-D ${dnat} ${rule}`),
    ...entryRules(plan, mappings, chain),
    ...mappings.flatMap((mapping) => chainRules(plan, mapping, chain)),
  ]);
}

/** A script that removes one container's port mappings; undefined when there are none. */
export function renderPortUnmap(network: string, containerId: string, now: NatTable): string | undefined {
  const chain = portMapChain(network, containerId);
  if (!now.has(chain)) return undefined;
  return script([
    `:${chain} - [0:0]`,
    ...entries(now, chain).map((rule) => `-D ${dnat} ${rule}`),
    `-X ${chain}`,
  ]);
}

/**
 * A script that rewrites the source of what leaves `subnet` for anywhere else; undefined when it is there.
 * @param keep destinations whose traffic keeps its source: the cluster's own networks.
 */
export function renderMasquerade(
  network: string,
  subnet: string,
  keep: readonly string[],
  now: NatTable,
): string | undefined {
  const chain = masqueradeChain(network);
  const isV6 = subnet.includes(":");
  const kept = [subnet, ...keep.filter((cidr) => cidr !== subnet && cidr.includes(":") === isV6)];
  const rules = [
    // Marked by the service proxy: it rewrites the source itself, and twice would lose it.
    "-m mark --mark 0x4000/0x4000 -j RETURN",
    ...kept.map((cidr) => `-d ${cidr} -j RETURN`),
    `-d ${isV6 ? "ff00::/8" : "224.0.0.0/4"} -j RETURN`,
    "-j MASQUERADE --random-fully",
  ];
  const entry = `-s ${subnet} -m comment --comment "keelson pod network ${network}" -j ${chain}`;
  const present = now.get("POSTROUTING")?.rules ?? [];
  const stale = present.filter((rule) => rule.endsWith(`-j ${chain}`) && rule !== entry);
  if (stale.length === 0 && present.includes(entry) && same(now.get(chain)?.rules, rules)) return undefined;
  return script([
    `:${chain} - [0:0]`,
    ...rules.map((rule) => `-A ${chain} ${rule}`),
    ...stale.map((rule) => `-D POSTROUTING ${rule}`),
    ...(present.includes(entry) ? [] : [`-A POSTROUTING ${entry}`]),
  ]);
}

function entryRules(plan: PortMapPlan, mappings: readonly PortMapping[], chain: string): string[] {
  const comment = `-m comment --comment "dnat name: \\"${plan.network}\\" id: \\"${plan.containerId}\\""`;
  return [...Map.groupBy(mappings, (mapping) => mapping.protocol)].flatMap(([protocol, group]) => {
    const ports = [...new Set(group.map((mapping) => mapping.hostPort))];
    const chunks = Array.from({ length: Math.ceil(ports.length / portsPerRule) }, (_, i) =>
      ports.slice(i * portsPerRule, (i + 1) * portsPerRule),
    );
    return chunks.map(
      (chunk) => `-A ${dnat} -p ${protocol} ${comment} -m multiport --dports ${chunk.join(",")} -j ${chain}`,
    );
  });
}

function chainRules(plan: PortMapPlan, mapping: PortMapping, chain: string): string[] {
  const isV6 = plan.podIp.includes(":");
  const host = mapping.hostIp === "" ? "" : `-d ${mapping.hostIp} `;
  const match = `-p ${mapping.protocol} -m ${mapping.protocol} --dport ${mapping.hostPort}`;
  const target = isV6 ? `[${plan.podIp}]:${mapping.containerPort}` : `${plan.podIp}:${mapping.containerPort}`;
  return [
    `-A ${chain} -s ${plan.podSubnet} ${host}${match} -j ${setMark}`,
    ...(isV6 ? [] : [`-A ${chain} -s 127.0.0.1/32 ${host}${match} -j ${setMark}`]),
    `-A ${chain} ${host}${match} -j DNAT --to-destination ${target}`,
  ];
}

/** iptables-restore flushes a chain that is named, so shared ones are named only when they are missing. */
function declare(now: NatTable, ...chains: readonly string[]): string[] {
  return chains.filter((chain) => !now.has(chain)).map((chain) => `:${chain} - [0:0]`);
}

function jump(now: NatTable, from: string, how: "-A" | "-I", to: string, match: string): string[] {
  const present = now.get(from)?.rules.some((rule) => rule.endsWith(`-j ${to}`)) ?? false;
  return present ? [] : [`${how} ${from} ${match}-j ${to}`];
}

function entries(now: NatTable, chain: string): string[] {
  return now.get(dnat)?.rules.filter((rule) => rule.endsWith(`-j ${chain}`)) ?? [];
}

function same(a: readonly string[] | undefined, b: readonly string[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, index) => rule === b[index]);
}

function script(lines: readonly string[]): string {
  return ["*nat", ...lines, "COMMIT", ""].join("\n");
}
