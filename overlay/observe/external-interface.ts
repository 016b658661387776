import net from "node:net";
import { listAddresses, type LinkAddress } from "#linux/netlink/addresses.ts";
import { findLink, findLinkByIndex, type Link, listLinks } from "#linux/netlink/links.ts";
import type { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { listRoutes, lookUpRoute } from "#linux/netlink/routes.ts";
import { type ExternalInterface, OverlayError } from "../model.ts";

/** How the link to the other nodes is chosen; the first way that is given and finds one. */
export interface InterfaceChoice {
  readonly publicIp: string;
  readonly iface: readonly string[];
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: string;
}

/** @throws {OverlayError} `no-interface` */
export function findExternalInterface(socket: NetlinkSocket, choice: InterfaceChoice): ExternalInterface {
  const addresses = listAddresses(socket).filter((one) => !one.address.includes(":"));
  const link = findChosenLink(socket, choice, addresses);
  if (link === undefined) {
    throw new OverlayError(
      "no-interface",
      "cannot find the link to the other nodes: no link matches and there is no default route; give --iface",
    );
  }
  const given = [choice.publicIp, ...choice.iface].find((text) =>
    addresses.some((one) => one.link === link.index && one.address === text),
  );
  const address = given ?? bestAddress(addresses.filter((one) => one.link === link.index));
  if (address === undefined) {
    throw new OverlayError("no-interface", `cannot use link "${link.name}": it has no IPv4 address`);
  }
  return { index: link.index, name: link.name, mtuBytes: link.mtuBytes, address };
}

function findChosenLink(
  socket: NetlinkSocket,
  { publicIp, iface, ifaceRegex, ifaceCanReach }: InterfaceChoice,
  addresses: readonly LinkAddress[],
): Link | undefined {
  const byAddress = (text: string): Link | undefined => {
    const index = addresses.find((one) => one.address === text)?.link;
    return index === undefined ? undefined : findLinkByIndex(socket, index);
  };
  for (const text of iface) {
    const found = net.isIP(text) === 0 ? findLink(socket, text) : byAddress(text);
    if (found !== undefined) return found;
  }
  for (const pattern of ifaceRegex.map((text) => new RegExp(text))) {
    const address = addresses.find((one) => one.scope === 0 && pattern.test(one.address));
    const found =
      address === undefined
        ? listLinks(socket).find((link) => pattern.test(link.name))
        : findLinkByIndex(socket, address.link);
    if (found !== undefined) return found;
  }
  if (iface.length > 0 || ifaceRegex.length > 0) return undefined;
  if (ifaceCanReach !== "") return linkOf(socket, lookUpRoute(socket, ifaceCanReach)?.link);
  if (publicIp !== "") {
    const found = byAddress(publicIp);
    if (found !== undefined) return found;
  }
  const defaults = listRoutes(socket).filter(
    (route) => route.destination === "0.0.0.0/0" && route.link !== undefined,
  );
  return linkOf(socket, defaults.sort((a, b) => (a.metric ?? 0) - (b.metric ?? 0))[0]?.link);
}

function linkOf(socket: NetlinkSocket, index: number | undefined): Link | undefined {
  return index === undefined ? undefined : findLinkByIndex(socket, index);
}

/** Global before link-local, permanent before passing. */
function bestAddress(addresses: readonly LinkAddress[]): string | undefined {
  const rank = (one: LinkAddress): number =>
    (one.scope === 0 ? 0 : 4) + (one.permanent ? 0 : 2) + (one.temporary ? 1 : 0);
  return [...addresses].sort((a, b) => rank(a) - rank(b))[0]?.address;
}
