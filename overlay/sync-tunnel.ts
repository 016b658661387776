import type { View } from "#lib/view.ts";
import { findLinkByIndex } from "#linux/netlink/links.ts";
import type { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { lookUpRoute, replaceRoute } from "#linux/netlink/routes.ts";
import { readTunnel, routeProtocol, writeTunnel } from "./apply/tunnel.ts";
import { ensureDevice } from "./apply/vxlan-device.ts";
import { type ExternalInterface, type NetworkConfig, type SubnetLease, vxlanOverheadBytes } from "./model.ts";
import { findExternalInterface, type InterfaceChoice } from "./observe/external-interface.ts";
import { diffTunnel } from "./plan/diff-tunnel.ts";
import { planPeers } from "./plan/peers.ts";

/** What one pass starts from; a pass keeps it up to date. */
export interface SyncState {
  readonly network: NetworkConfig;
  external: ExternalInterface;
  own: SubnetLease;
  mtuBytes: number;
  leases: View<SubnetLease>;
  tunnelLink: number | undefined;
  /** What was left out when it was last logged. */
  lastNotes: string;
}

export interface SyncResult {
  readonly changes: number;
  readonly peers: number;
  readonly notes: readonly string[];
}

/** `flannel.1` */
export function deviceName(network: NetworkConfig): string {
  return network.backend.type === "vxlan" ? `flannel.${network.backend.vni}` : "";
}

/** The largest packet a Pod may send, in bytes. */
export function linkMtu(network: NetworkConfig, external: ExternalInterface): number {
  if (network.backend.type !== "vxlan") return external.mtuBytes;
  return (network.backend.mtuBytes || external.mtuBytes) - vxlanOverheadBytes;
}

/** One pass: the device, then every peer's entries. A second pass over the same world writes nothing. */
export async function syncTunnel(
  socket: NetlinkSocket,
  choice: InterfaceChoice & { readonly ipBlackholeRoute: boolean },
  state: SyncState,
): Promise<SyncResult> {
  if (findLinkByIndex(socket, state.external.index)?.mtuBytes !== state.external.mtuBytes) {
    state.external = findExternalInterface(socket, choice); // another MTU, or made anew
    state.mtuBytes = linkMtu(state.network, state.external);
  }
  const deviceChanged = await syncDevice(socket, state);
  if (choice.ipBlackholeRoute) {
    // Behind every other route by its metric: a bridge's own route to the subnet comes first.
    const route = { destination: state.own.subnet, blackhole: true, metric: 65_535, protocol: routeProtocol };
    replaceRoute(socket, route);
  }
  if (state.leases.state === "listing") return { changes: deviceChanged, peers: 0, notes: [] }; // nothing can be called stale yet
  const links = { tunnel: state.tunnelLink, external: state.external.index };
  const isAdjacent = (ip: string): boolean => {
    const route = lookUpRoute(socket, ip);
    return route?.link === state.external.index && route.gateway === undefined;
  };
  const { state: desired, notes } = planPeers(
    state.network.backend,
    state.own.subnet,
    [...state.leases.all.values()],
    isAdjacent,
  );
  const changes = diffTunnel(desired, readTunnel(socket, links));
  writeTunnel(socket, links, changes);
  return { changes: changes.length + deviceChanged, peers: desired.routes.size, notes };
}

async function syncDevice(socket: NetlinkSocket, state: SyncState): Promise<number> {
  const { backend } = state.network;
  const vtep = state.own.attributes.vtep;
  if (backend.type !== "vxlan" || vtep === undefined) return 0;
  const { link, changed } = await ensureDevice(socket, {
    name: deviceName(state.network),
    vxlan: {
      vni: backend.vni,
      port: backend.port,
      local: state.external.address,
      device: state.external.index,
      learning: backend.learning,
      gbp: backend.gbp,
    },
    mtuBytes: state.mtuBytes,
    mac: vtep.mac,
    address: state.own.subnet.slice(0, state.own.subnet.indexOf("/")),
  });
  state.tunnelLink = link.index;
  return changed ? 1 : 0;
}
