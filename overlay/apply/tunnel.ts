import {
  listForwarding,
  listNeighbours,
  removeForwardingRequest,
  removeNeighbourRequest,
  replaceForwardingRequest,
  replaceNeighbourRequest,
} from "#linux/netlink/neighbours.ts";
import type { NetlinkRequest } from "#linux/netlink/message.ts";
import { isNetlinkError } from "#linux/netlink/netlink-error.ts";
import type { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { listRoutes, removeRouteRequest, replaceRouteRequest, type Route } from "#linux/netlink/routes.ts";
import type { PeerRoute, TunnelChange, TunnelState } from "../model.ts";

/** Our mark on routes: those with it may be removed. No program of the distributions uses this number. */
export const routeProtocol = 107;

/** The links the state is about. `tunnel` is undefined for host-gw. */
export interface TunnelLinks {
  readonly tunnel: number | undefined;
  readonly external: number;
}

/** What the kernel has of ours: everything on the tunnel device, and routes with our mark. */
export function readTunnel(socket: NetlinkSocket, { tunnel, external }: TunnelLinks): TunnelState {
  const routes = new Map<string, PeerRoute>();
  for (const route of listRoutes(socket)) {
    if (route.gateway === undefined) continue;
    if (route.link === tunnel) routes.set(route.destination, { gateway: route.gateway, by: "tunnel" });
    else if (route.protocol === routeProtocol && route.link === external) {
      routes.set(route.destination, { gateway: route.gateway, by: "direct" });
    }
  }
  return {
    fdb: new Map(
      tunnel === undefined ? [] : listForwarding(socket, tunnel).map(({ mac, remote }) => [mac, remote]),
    ),
    neighbours: new Map(
      tunnel === undefined ? [] : listNeighbours(socket, tunnel).map(({ address, mac }) => [address, mac]),
    ),
    routes,
  };
}

/**
 * Writes changes in their order, many in one send.
 * @throws {AggregateError} of what the kernel refused, after everything was tried.
 */
export function writeTunnel(
  socket: NetlinkSocket,
  links: TunnelLinks,
  changes: readonly TunnelChange[],
): void {
  const requests = changes.map((change) => requestOf(change, links));
  const failures = socket
    .changeAll(requests)
    .filter((failure, index) => failure !== undefined && !isAlreadyGone(changes[index], failure));
  if (failures.length > 0)
    throw new AggregateError(failures, `cannot write ${failures.length} of ${changes.length} entries`);
}

function isAlreadyGone(change: TunnelChange | undefined, failure: unknown): boolean {
  return (
    (change?.type.startsWith("remove-") ?? false) && isNetlinkError(failure, "ENOENT", "ESRCH", "ENODEV")
  );
}

function requestOf(change: TunnelChange, links: TunnelLinks): NetlinkRequest {
  const link = links.tunnel ?? 0;
  switch (change.type) {
    case "set-fdb":
      return replaceForwardingRequest({ link, mac: change.mac, remote: change.remote });
    case "remove-fdb":
      return removeForwardingRequest({ link, mac: change.mac, remote: change.remote });
    case "set-neighbour":
      return replaceNeighbourRequest({ link, address: change.address, mac: change.mac });
    case "remove-neighbour":
      return removeNeighbourRequest({ link, address: change.address, mac: change.mac });
    case "set-route":
      return replaceRouteRequest({ ...routeOf(change.subnet, change.route, links), protocol: routeProtocol });
    case "remove-route":
      // Without a protocol in it the kernel would look for one made by hand.
      return removeRouteRequest({ ...routeOf(change.subnet, change.route, links), protocol: 0 });
    default:
      return change satisfies never;
  }
}

function routeOf(subnet: string, route: PeerRoute, links: TunnelLinks): Route {
  const link = route.by === "tunnel" ? (links.tunnel ?? 0) : links.external;
  return { destination: subnet, gateway: route.gateway, link, onlink: route.by === "tunnel" };
}
