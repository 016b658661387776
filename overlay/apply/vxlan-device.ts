import { addAddress, listAddresses, removeAddress } from "#linux/netlink/addresses.ts";
import {
  createVxlan,
  deleteLink,
  findLink,
  type Link,
  setLink,
  type VxlanInfo,
} from "#linux/netlink/links.ts";
import type { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import { writeSysctl } from "#linux/sysctl.ts";

/** How the tunnel device should be. */
export interface DeviceSpec {
  /** `flannel.<VNI>` */
  readonly name: string;
  readonly vxlan: VxlanInfo;
  readonly mtuBytes: number;
  /** The MAC other nodes know it by. */
  readonly mac: string;
  /** The subnet's own address; undefined before there is a subnet. Put on with /32, so that no broadcast route appears. */
  readonly address: string | undefined;
}

/** The MAC of a device that stands already, so that a restart does not change it. */
export function existingMac(socket: NetlinkSocket, name: string): string | undefined {
  const link = findLink(socket, name);
  return link?.kind === "vxlan" && link.mac !== "" ? link.mac : undefined;
}

/**
 * Makes the device as it should be, and changes nothing that is right.
 * @returns the device, and whether anything had to be done.
 * @throws {NetlinkError}; plain Error when the kernel or somebody else will not leave our MAC on it.
 */
export async function ensureDevice(
  socket: NetlinkSocket,
  spec: DeviceSpec,
): Promise<{ readonly link: Link; readonly changed: boolean }> {
  let changed = false;
  let link = findLink(socket, spec.name);
  if (link !== undefined && !isSame(link, spec.vxlan)) {
    await deleteLink(socket, link.index); // these parameters cannot be changed on a device that exists
    link = undefined;
  }
  if (link === undefined) {
    createVxlan(socket, spec.name, spec.vxlan, { mtuBytes: spec.mtuBytes, mac: spec.mac });
    writeSysctl(`net/ipv6/conf/${spec.name}/accept_ra`, "0");
    link = findLink(socket, spec.name);
    changed = true;
  }
  if (link === undefined) throw new Error(`cannot find link "${spec.name}": it went away meanwhile`);
  if (!link.up || link.mac !== spec.mac || link.mtuBytes !== spec.mtuBytes) {
    setLink(socket, link.index, { mac: spec.mac, mtuBytes: spec.mtuBytes });
    setLink(socket, link.index, { up: true });
    changed = true;
  }
  if (spec.address !== undefined) changed = ensureAddress(socket, link.index, spec.address) || changed;
  return { link: verifyMac(socket, spec), changed };
}

function ensureAddress(socket: NetlinkSocket, link: number, address: string): boolean {
  const present = listAddresses(socket, link).filter((one) => !one.address.includes(":"));
  const others = present.filter((one) => one.address !== address || one.prefix !== 32);
  for (const other of others) removeAddress(socket, other);
  if (others.length === 0 && present.length === 1) return false;
  addAddress(socket, { link, address, prefix: 32 });
  return true;
}

/** systemd's `MACAddressPolicy=persistent` sets another one behind our back, and peers would send to nowhere. */
function verifyMac(socket: NetlinkSocket, spec: DeviceSpec): Link {
  const link = findLink(socket, spec.name);
  if (link?.mac === spec.mac) return link;
  throw new Error(
    `cannot keep MAC "${spec.mac}" on link "${spec.name}": it has "${link?.mac ?? "gone"}"; set MACAddressPolicy=none for flannel.* in systemd`,
  );
}

function isSame(link: Link, wanted: VxlanInfo): boolean {
  const now = link.vxlan;
  return (
    now !== undefined &&
    now.vni === wanted.vni &&
    now.port === wanted.port &&
    now.local === wanted.local &&
    now.device === wanted.device &&
    now.learning === wanted.learning &&
    now.gbp === wanted.gbp
  );
}
