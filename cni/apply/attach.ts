import fs from "node:fs";
import { addAddress, listAddresses } from "#linux/netlink/addresses.ts";
import {
  createBridge,
  createVeth,
  deleteLink,
  findLink,
  type Link,
  setBridgePort,
  setLink,
} from "#linux/netlink/links.ts";
import { isNetlinkError } from "#linux/netlink/netlink-error.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { listRoutes, replaceRoute } from "#linux/netlink/routes.ts";
import { inNetns } from "#linux/netns.ts";
import { writeSysctl } from "#linux/sysctl.ts";
import {
  type Allocation,
  CniError,
  type CniResult,
  cniErrorCode,
  type PluginConf,
  type Route,
} from "../model.ts";
import { macOfAddress } from "../plan/names.ts";

/** What is to be attached, and how. */
export interface Attachment {
  readonly conf: PluginConf;
  readonly netns: string;
  readonly ifName: string;
  readonly hostVeth: string;
  readonly mtuBytes: number | undefined;
  readonly addresses: readonly Allocation[];
  readonly routes: readonly Route[];
}

/** Joins the container to the bridge; what is missing is made. @throws {NetlinkError} {@link CniError} */
export function attach(host: NetlinkSocket, attachment: Attachment): CniResult {
  const { conf, netns, ifName, hostVeth, mtuBytes, addresses } = attachment;
  const bridge = ensureBridge(host, attachment);
  const netnsFd = openNetns(netns);
  try {
    const mac = addresses.map(({ address }) => macOfAddress(ipOf(address))).find((one) => one !== undefined);
    const mtu = mtuBytes === undefined ? {} : { mtuBytes };
    createVeth(
      host,
      hostVeth,
      { name: ifName, netnsFd, ...mtu, ...(mac === undefined ? {} : { mac }) },
      { ...mtu, up: true, master: bridge.index },
    );
    const veth = mustFind(host, hostVeth);
    setBridgePort(host, veth.index, {
      hairpin: conf.hairpinMode,
      ...(conf.isolated ? { isolated: true } : {}),
    });
    const container = inNetns(netnsFd, () => configureInside(attachment));
    return {
      interfaces: [
        { name: bridge.name, mac: bridge.mac },
        { name: hostVeth, mac: veth.mac },
        { name: ifName, mac: container.mac, mtu: container.mtuBytes, sandbox: netns },
      ],
      ips: addresses.map(({ address, gateway }) => ({ address, gateway, interface: 2 })),
      routes: attachment.routes,
      dns: conf.dns ?? {},
    };
  } finally {
    fs.closeSync(netnsFd);
  }
}

/** Takes the container off the bridge; nothing there is no error. Works without its namespace. */
export async function detach(host: NetlinkSocket, hostVeth: string): Promise<void> {
  const veth = findLink(host, hostVeth);
  if (veth !== undefined) await deleteLink(host, veth.index);
}

/** What is not as {@link attach} left it; undefined when all is well. */
export function findFault(host: NetlinkSocket, attachment: Attachment): string | undefined {
  const { conf, ifName, hostVeth, addresses, routes } = attachment;
  const bridge = findLink(host, conf.bridge);
  if (bridge?.up !== true) return `bridge "${conf.bridge}" is missing or down`;
  const veth = findLink(host, hostVeth);
  if (veth === undefined) return `link "${hostVeth}" is missing`;
  if (veth.master !== bridge.index) return `link "${hostVeth}" is not a port of "${conf.bridge}"`;
  const netnsFd = openNetns(attachment.netns);
  try {
    return inNetns(netnsFd, () => {
      using inside = new NetlinkSocket();
      const link = findLink(inside, ifName);
      if (link?.up !== true) return `link "${ifName}" is missing or down in the container`;
      const present = listAddresses(inside, link.index).map(({ address, prefix }) => `${address}/${prefix}`);
      const lost = addresses.find(({ address }) => !present.includes(address));
      if (lost !== undefined) return `address "${lost.address}" is missing on "${ifName}"`;
      const destinations = listRoutes(inside).map((route) => route.destination);
      const unreached = routes.find((route) => !destinations.includes(route.dst));
      return unreached === undefined ? undefined : `route to "${unreached.dst}" is missing in the container`;
    });
  } finally {
    fs.closeSync(netnsFd);
  }
}

function ensureBridge(host: NetlinkSocket, { conf, addresses, mtuBytes }: Attachment): Link {
  const mac = addresses.map(({ gateway }) => macOfAddress(gateway)).find((one) => one !== undefined);
  if (findLink(host, conf.bridge) === undefined) {
    try {
      // With a MAC of its own the bridge does not take on that of the first port, which would come and go.
      createBridge(host, conf.bridge, {
        ...(mac === undefined ? {} : { mac }),
        ...(mtuBytes === undefined ? {} : { mtuBytes }),
      });
    } catch (cause) {
      if (!isNetlinkError(cause, "EEXIST")) throw cause; // another ADD was faster
    }
    writeSysctl(`net/ipv6/conf/${conf.bridge}/accept_ra`, "0");
  }
  const bridge = mustFind(host, conf.bridge);
  if (bridge.kind !== "bridge") {
    throw new CniError(
      cniErrorCode.invalidConfig,
      `cannot use link "${conf.bridge}" as a bridge: it is one of kind "${bridge.kind}"`,
    );
  }
  if (!bridge.up || conf.promiscMode || (mtuBytes !== undefined && bridge.mtuBytes !== mtuBytes)) {
    setLink(host, bridge.index, {
      up: true,
      ...(conf.promiscMode ? { promiscuous: true } : {}),
      ...(mtuBytes === undefined ? {} : { mtuBytes }),
    });
  }
  for (const { address, gateway } of addresses) {
    addAddress(host, {
      link: bridge.index,
      address: gateway,
      prefix: Number(address.slice(address.indexOf("/") + 1)),
    });
    writeSysctl(gateway.includes(":") ? "net/ipv6/conf/all/forwarding" : "net/ipv4/ip_forward", "1");
  }
  return bridge;
}

/** Runs in the container's namespace. */
function configureInside({ ifName, addresses, routes }: Attachment): Link {
  using inside = new NetlinkSocket();
  const link = mustFind(inside, ifName);
  setLink(inside, 1, { up: true }); // lo
  for (const { address } of addresses) {
    addAddress(inside, {
      link: link.index,
      address: ipOf(address),
      prefix: Number(address.slice(address.indexOf("/") + 1)),
    });
  }
  setLink(inside, link.index, { up: true });
  for (const route of routes) {
    const isV6 = route.dst.includes(":");
    const gateway = route.gw ?? addresses.find((one) => one.gateway.includes(":") === isV6)?.gateway;
    if (gateway !== undefined) replaceRoute(inside, { destination: route.dst, gateway, link: link.index });
  }
  return mustFind(inside, ifName);
}

function openNetns(netns: string): number {
  try {
    return fs.openSync(netns, "r");
  } catch (cause) {
    throw new CniError(
      cniErrorCode.unknownContainer,
      `cannot open the network namespace "${netns}": ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

function mustFind(socket: NetlinkSocket, name: string): Link {
  const link = findLink(socket, name);
  if (link === undefined)
    throw new CniError(cniErrorCode.failed, `cannot find link "${name}": it went away meanwhile`);
  return link;
}

function ipOf(address: string): string {
  return address.slice(0, address.indexOf("/"));
}
