import { addressBytes, addressOfBytes, formatAddress, formatNetwork, parseCidr } from "#lib/ip.ts";
import { decodeAttributes, u32, u32Of } from "./attributes.ts";
import { NLM_F, type NetlinkRequest } from "./message.ts";
import { isNetlinkError, type NetlinkError } from "./netlink-error.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

/** Routes (`struct rtmsg`). */

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const AF_INET = 2;
const AF_INET6 = 10;
const RT_TABLE_MAIN = 254;
const RTN = { unicast: 1, blackhole: 6 } as const;
const SCOPE = { universe: 0, link: 253 } as const;
const RTNH_F_ONLINK = 4;
const RTA = { destination: 1, outputLink: 4, gateway: 5, metric: 6, source: 7, table: 15 } as const;

/** Who put a route there (linux/rtnetlink.h); one's own number makes pruning safe. */
export const routeProtocol = { kernel: 2, boot: 3, static: 4 } as const;

/** One route of the main table. */
export interface Route {
  /** `10.244.1.0/24`; `0.0.0.0/0` or `::/0` for the default. */
  readonly destination: string;
  /** Index of the link packets leave by; absent for a blackhole. */
  readonly link?: number;
  readonly gateway?: string;
  /** The gateway is on the link although no address of ours says so. */
  readonly onlink?: boolean;
  /** `kernel` 2, `boot` 3, `static` 4, or a number of one's own; boot unless given. */
  readonly protocol?: number;
  readonly source?: string;
  readonly metric?: number;
  readonly blackhole?: boolean;
}

/** Sets a route, in place of one with the same destination and metric. @throws {NetlinkError} */
export function replaceRoute(socket: NetlinkSocket, route: Route): void {
  socket.change(replaceRouteRequest(route));
}

/** For {@link NetlinkSocket.changeAll}. */
export function replaceRouteRequest(route: Route): NetlinkRequest {
  return {
    ...routeRequest(`set route to "${route.destination}"`, RTM_NEWROUTE, route),
    flags: NLM_F.create | NLM_F.replace,
  };
}

/** Adds a route. @throws {NetlinkError} `EEXIST` when there is one with this destination and metric. */
export function addRoute(socket: NetlinkSocket, route: Route): void {
  const request = routeRequest(`add route to "${route.destination}"`, RTM_NEWROUTE, route);
  socket.change({ ...request, flags: NLM_F.create | NLM_F.exclusive });
}

/** For {@link NetlinkSocket.changeAll}; a route that is gone answers `ESRCH`. */
export function removeRouteRequest(route: Route): NetlinkRequest {
  return routeRequest(`remove route to "${route.destination}"`, RTM_DELROUTE, route);
}

/** Removes a route; one that is gone is no error. @throws {NetlinkError} */
export function removeRoute(socket: NetlinkSocket, route: Route): void {
  try {
    socket.change(removeRouteRequest(route));
  } catch (cause) {
    if (!isGone(cause)) throw cause;
  }
}

/** True for the error of removing what is not there. */
export function isGone(cause: unknown): cause is NetlinkError {
  return isNetlinkError(cause, "ESRCH", "ENODEV", "ENOENT");
}

/** The main table's routes of both families. @throws {NetlinkError} */
export function listRoutes(socket: NetlinkSocket): Route[] {
  return socket
    .dump({ doing: "list routes", type: RTM_GETROUTE, header: Buffer.alloc(12) })
    .map(({ body }) => parseRoute(body))
    .filter((route) => route !== undefined);
}

/**
 * How the kernel would send a packet to `address`.
 * @returns undefined when there is no route. @throws {NetlinkError}
 */
export function lookUpRoute(socket: NetlinkSocket, address: string): Route | undefined {
  const bytes = addressBytes(address);
  const header = Buffer.alloc(12);
  header.writeUInt8(bytes.length === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(bytes.length * 8, 1);
  try {
    const doing = `look up the route to "${address}"`;
    const attributes = [{ type: RTA.destination, value: bytes }];
    return parseRoute(socket.get({ doing, type: RTM_GETROUTE, header, attributes }).body);
  } catch (cause) {
    if (isNetlinkError(cause, "ENETUNREACH", "EHOSTUNREACH", "EINVAL", "EACCES")) return undefined;
    throw cause;
  }
}

/** Reads the body of an `RTM_NEWROUTE` or `RTM_DELROUTE` message; undefined outside the main table. */
export function parseRoute(body: Buffer): Route | undefined {
  const family = body.readUInt8(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const attributes = decodeAttributes(body.subarray(12));
  if ((u32Of(attributes.get(RTA.table)) ?? body.readUInt8(4)) !== RT_TABLE_MAIN) return undefined;
  const type = body.readUInt8(7);
  const bits = body.readUInt8(1);
  const network = attributes.get(RTA.destination);
  const link = u32Of(attributes.get(RTA.outputLink));
  const gateway = attributes.get(RTA.gateway);
  const source = attributes.get(RTA.source);
  const metric = u32Of(attributes.get(RTA.metric));
  return {
    destination: `${network === undefined ? (family === AF_INET ? "0.0.0.0" : "::") : addressOfBytes(network)}/${bits}`,
    protocol: body.readUInt8(5),
    onlink: (body.readUInt32LE(8) & RTNH_F_ONLINK) !== 0,
    ...(link === undefined ? {} : { link }),
    ...(gateway === undefined ? {} : { gateway: addressOfBytes(gateway) }),
    ...(source === undefined ? {} : { source: addressOfBytes(source) }),
    ...(metric === undefined ? {} : { metric }),
    ...(type === RTN.blackhole ? { blackhole: true } : {}),
  };
}

function routeRequest(doing: string, type: number, route: Route): NetlinkRequest {
  const cidr = parseCidr(route.destination);
  const header = Buffer.alloc(12);
  header.writeUInt8(cidr.family === 4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(cidr.prefix, 1);
  header.writeUInt8(RT_TABLE_MAIN, 4);
  header.writeUInt8(route.protocol ?? routeProtocol.boot, 5);
  const direct = route.gateway === undefined && route.blackhole !== true && cidr.family === 4;
  header.writeUInt8(direct ? SCOPE.link : SCOPE.universe, 6);
  header.writeUInt8(route.blackhole === true ? RTN.blackhole : RTN.unicast, 7);
  header.writeUInt32LE(route.onlink === true ? RTNH_F_ONLINK : 0, 8);
  return {
    doing: `${doing}${formatNetwork(cidr) === route.destination ? "" : ` (${formatAddress(cidr)})`}`,
    type,
    header,
    attributes: [
      ...(cidr.prefix === 0
        ? []
        : [{ type: RTA.destination, value: addressBytes(formatAddress({ ...cidr, value: cidr.first })) }]),
      ...(route.link === undefined ? [] : [u32(RTA.outputLink, route.link)]),
      ...(route.gateway === undefined ? [] : [{ type: RTA.gateway, value: addressBytes(route.gateway) }]),
      ...(route.source === undefined ? [] : [{ type: RTA.source, value: addressBytes(route.source) }]),
      ...(route.metric === undefined ? [] : [u32(RTA.metric, route.metric)]),
    ],
  };
}
