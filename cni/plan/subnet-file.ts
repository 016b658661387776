import { formatNetwork, parseCidr } from "#lib/ip.ts";
import type { IpRange } from "../model.ts";

/** What a node's subnet file says. */
export interface SubnetFile {
  readonly rangeSets: readonly (readonly IpRange[])[];
  readonly mtuBytes: number | undefined;
  /** The whole cluster's network, where the file says it. */
  readonly networks: readonly string[];
}

/**
 * Reads flannel's `subnet.env` (`FLANNEL_SUBNET=10.5.52.1/24`, `FLANNEL_MTU=1450`) or a file that holds
 * nothing but CIDRs, one a line or separated by commas.
 * @returns no range set when it holds none.
 */
export function parseSubnetFile(text: string): SubnetFile {
  const subnets: string[] = [];
  const networks: string[] = [];
  let mtuBytes: number | undefined;
  for (const line of text.split("\n").map((line) => line.trim())) {
    const [, name, value = ""] = /^([A-Z0-9_]+)=(.*)$/.exec(line) ?? [];
    if (name === undefined)
      subnets.push(...line.split(",").filter((cidr) => cidr !== "" && !line.startsWith("#")));
    else if (/^FLANNEL_(IPV6_)?SUBNET$/.test(name)) subnets.push(...value.split(","));
    else if (/^FLANNEL_(IPV6_)?NETWORK$/.test(name)) networks.push(...value.split(","));
    else if (name === "FLANNEL_MTU" && /^\d+$/.test(value)) mtuBytes = Number(value);
  }
  return {
    rangeSets: subnets.map((cidr) => [{ subnet: formatNetwork(parseCidr(cidr.trim())) }]),
    mtuBytes,
    networks,
  };
}
