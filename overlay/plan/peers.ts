import { parseCidr, formatAddress } from "#lib/ip.ts";
import type { Backend, PeerRoute, SubnetLease, TunnelState } from "../model.ts";

/** The desired state, and what the planner noticed: peers it had to leave out. */
export interface PeerPlan {
  readonly state: TunnelState;
  readonly notes: readonly string[];
}

/**
 * What the kernel should hold so that every other node's subnet is reached.
 * @param ownSubnet is left out.
 * @param isAdjacent whether an address is on one of our own links, without a router in between.
 */
export function planPeers(
  backend: Backend,
  ownSubnet: string,
  leases: readonly SubnetLease[],
  isAdjacent: (publicIp: string) => boolean,
): PeerPlan {
  const fdb = new Map<string, string>();
  const neighbours = new Map<string, string>();
  const routes = new Map<string, PeerRoute>();
  const notes: string[] = [];
  for (const { subnet, attributes } of leases) {
    if (subnet === ownSubnet) continue;
    const { publicIp, vtep } = attributes;
    if (attributes.backendType !== backend.type) {
      notes.push(
        `peer ${publicIp} with ${subnet} uses backend "${attributes.backendType}", we use "${backend.type}"`,
      );
    } else if (backend.type === "host-gw") {
      if (isAdjacent(publicIp)) routes.set(subnet, { gateway: publicIp, by: "direct" });
      else notes.push(`peer ${publicIp} with ${subnet} is behind a router: host-gw cannot reach it`);
    } else if (backend.directRouting && isAdjacent(publicIp)) {
      routes.set(subnet, { gateway: publicIp, by: "direct" });
    } else if (vtep === undefined) {
      notes.push(`peer ${publicIp} with ${subnet} does not say the MAC of its tunnel device`);
    } else {
      const cidr = parseCidr(subnet);
      const vtepIp = formatAddress({ family: cidr.family, value: cidr.first });
      fdb.set(vtep.mac, publicIp);
      neighbours.set(vtepIp, vtep.mac);
      routes.set(subnet, { gateway: vtepIp, by: "tunnel" });
    }
  }
  return { state: { fdb, neighbours, routes }, notes };
}
