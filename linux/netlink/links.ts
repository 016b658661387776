import {
  type Attribute,
  be16,
  decodeAttributes,
  macBytes,
  macOf,
  nested,
  text,
  textOf,
  u32,
  u32Of,
  u8,
} from "./attributes.ts";
import { NLM_F, type NetlinkRequest } from "./message.ts";
import { isNetlinkError } from "./netlink-error.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";
import { addressBytes, addressOfBytes } from "#lib/ip.ts";

/** Links: bridges, veth pairs, VXLAN devices (rtnetlink(7), linux/if_link.h). */

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const AF_UNSPEC = 0;
const AF_BRIDGE = 7;
const IFF_UP = 0x1;
const IFF_PROMISC = 0x100;
const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  protinfo: 12,
  operState: 16,
  linkInfo: 18,
  netnsFd: 28,
} as const;
const INFO = { kind: 1, data: 2, slaveData: 5 } as const;
const VETH_PEER = 1;
const VXLAN = { id: 1, link: 3, local: 4, learning: 7, port: 15, local6: 17, gbp: 23 } as const;
const BRIDGE_PORT = { hairpin: 4, isolated: 33 } as const;

/** One network interface. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** `bridge`, `veth`, `vxlan`; "" for a physical one. */
  readonly kind: string;
  readonly mac: string;
  readonly mtuBytes: number;
  readonly up: boolean;
  /** RFC 2863: 6 is up, 2 down, 7 lower layer down, 0 unknown. */
  readonly operState: number;
  /** Index of the bridge it is a port of; 0 for none. */
  readonly master: number;
  /** Index of the link it stands on (VXLAN) or of its peer (veth); 0 for none. */
  readonly lower: number;
  readonly hairpin: boolean;
  readonly vxlan: VxlanInfo | undefined;
}

export interface VxlanInfo {
  readonly vni: number;
  readonly port: number;
  readonly local: string;
  /** Index of the link packets leave by. */
  readonly device: number;
  readonly learning: boolean;
  readonly gbp: boolean;
}

/** What can be set on a link, and given when it is made. */
export interface LinkSettings {
  readonly mtuBytes?: number;
  readonly mac?: string;
  /** Index of a bridge; 0 takes it out of one. */
  readonly master?: number;
  readonly up?: boolean;
  readonly promiscuous?: boolean;
}

/** @returns undefined when there is none. @throws {NetlinkError} */
export function findLink(socket: NetlinkSocket, name: string): Link | undefined {
  return readLink(socket, { doing: `find link "${name}"`, index: 0, attributes: [text(IFLA.name, name)] });
}

/** @returns undefined when there is none. @throws {NetlinkError} */
export function findLinkByIndex(socket: NetlinkSocket, index: number): Link | undefined {
  return readLink(socket, { doing: `find link ${index}`, index, attributes: [] });
}

/** Every link of the namespace. @throws {NetlinkError} */
export function listLinks(socket: NetlinkSocket): Link[] {
  return socket
    .dump({ doing: "list links", type: RTM_GETLINK, header: linkHeader(0) })
    .map(({ body }) => parseLink(body));
}

/** @throws {NetlinkError} `EEXIST` when the name is taken. */
export function createBridge(socket: NetlinkSocket, name: string, settings: LinkSettings): void {
  socket.change(creation(`create bridge "${name}"`, name, "bridge", [], settings));
}

/** One end of a veth pair; the other end is made directly in another namespace. */
export interface VethPeer {
  readonly name: string;
  /** Descriptor of the peer's network namespace. */
  readonly netnsFd: number;
  readonly mtuBytes?: number;
  readonly mac?: string;
}

/** Makes `name` here and its peer there. @throws {NetlinkError} `EEXIST` when one of the names is taken. */
export function createVeth(
  socket: NetlinkSocket,
  name: string,
  peer: VethPeer,
  settings: LinkSettings,
): void {
  const peerAttributes = [
    text(IFLA.name, peer.name),
    u32(IFLA.netnsFd, peer.netnsFd),
    ...settingAttributes({
      ...(peer.mtuBytes === undefined ? {} : { mtuBytes: peer.mtuBytes }),
      ...(peer.mac === undefined ? {} : { mac: peer.mac }),
    }),
  ];
  // VETH_INFO_PEER holds an ifinfomsg before its attributes, and lacks the nested flag.
  const value = Buffer.concat([linkHeader(0), nested(0, peerAttributes).value]);
  socket.change(creation(`create veth "${name}"`, name, "veth", [{ type: VETH_PEER, value }], settings));
}

/** @throws {NetlinkError} `EEXIST` when the name is taken or another device has this VNI and port. */
export function createVxlan(
  socket: NetlinkSocket,
  name: string,
  info: VxlanInfo,
  settings: LinkSettings,
): void {
  const local = addressBytes(info.local);
  const data = [
    u32(VXLAN.id, info.vni),
    u32(VXLAN.link, info.device),
    { type: local.length === 4 ? VXLAN.local : VXLAN.local6, value: local },
    u8(VXLAN.learning, info.learning ? 1 : 0),
    be16(VXLAN.port, info.port),
    ...(info.gbp ? [{ type: VXLAN.gbp, value: new Uint8Array() }] : []),
  ];
  socket.change(creation(`create vxlan device "${name}"`, name, "vxlan", data, settings));
}

/** @throws {NetlinkError} `ENODEV` when it is gone. */
export function setLink(socket: NetlinkSocket, index: number, settings: LinkSettings): void {
  socket.change({
    doing: `set link ${index}`,
    type: RTM_NEWLINK,
    header: linkHeader(index, settings),
    attributes: settingAttributes(settings),
  });
}

/** Whether a bridge sends a frame back out of the port it came in by. @throws {NetlinkError} when it is no port. */
export function setBridgePort(
  socket: NetlinkSocket,
  index: number,
  settings: { readonly hairpin?: boolean; readonly isolated?: boolean },
): void {
  const attributes = [
    ...(settings.hairpin === undefined ? [] : [u8(BRIDGE_PORT.hairpin, settings.hairpin ? 1 : 0)]),
    ...(settings.isolated === undefined ? [] : [u8(BRIDGE_PORT.isolated, settings.isolated ? 1 : 0)]),
  ];
  socket.change({
    doing: `set bridge port ${index}`,
    type: RTM_SETLINK,
    header: linkHeader(index, {}, AF_BRIDGE),
    attributes: [nested(IFLA.protinfo, attributes)],
  });
}

/** Deletes a link without holding up the event loop. One that is gone is no error. @throws {NetlinkError} */
export async function deleteLink(socket: NetlinkSocket, index: number): Promise<void> {
  try {
    await socket.slow({ doing: `delete link ${index}`, type: RTM_DELLINK, header: linkHeader(index) });
  } catch (cause) {
    if (!isNetlinkError(cause, "ENODEV")) throw cause;
  }
}

/** Reads the body of an `RTM_NEWLINK` or `RTM_DELLINK` message. */
export function parseLink(body: Buffer): Link {
  const attributes = decodeAttributes(body.subarray(16));
  const info = decodeAttributes(attributes.get(IFLA.linkInfo) ?? Buffer.alloc(0));
  const slave = decodeAttributes(info.get(INFO.slaveData) ?? Buffer.alloc(0));
  const kind = textOf(info.get(INFO.kind));
  return {
    index: body.readInt32LE(4),
    name: textOf(attributes.get(IFLA.name)),
    kind,
    mac: macOf(attributes.get(IFLA.address)),
    mtuBytes: u32Of(attributes.get(IFLA.mtu)) ?? 0,
    up: (body.readUInt32LE(8) & IFF_UP) !== 0,
    operState: attributes.get(IFLA.operState)?.[0] ?? 0,
    master: u32Of(attributes.get(IFLA.master)) ?? 0,
    lower: u32Of(attributes.get(IFLA.link)) ?? 0,
    hairpin: slave.get(BRIDGE_PORT.hairpin)?.[0] === 1,
    vxlan:
      kind === "vxlan" ? parseVxlan(decodeAttributes(info.get(INFO.data) ?? Buffer.alloc(0))) : undefined,
  };
}

function parseVxlan(data: ReadonlyMap<number, Buffer>): VxlanInfo {
  const local = data.get(VXLAN.local) ?? data.get(VXLAN.local6);
  return {
    vni: u32Of(data.get(VXLAN.id)) ?? 0,
    port: data.get(VXLAN.port)?.readUInt16BE() ?? 0,
    local: local === undefined ? "" : addressOfBytes(local),
    device: u32Of(data.get(VXLAN.link)) ?? 0,
    learning: data.get(VXLAN.learning)?.[0] === 1,
    gbp: data.has(VXLAN.gbp),
  };
}

function readLink(
  socket: NetlinkSocket,
  question: { readonly doing: string; readonly index: number; readonly attributes: readonly Attribute[] },
): Link | undefined {
  try {
    const { doing, index, attributes } = question;
    return parseLink(socket.get({ doing, type: RTM_GETLINK, header: linkHeader(index), attributes }).body);
  } catch (cause) {
    if (isNetlinkError(cause, "ENODEV")) return undefined;
    throw cause;
  }
}

function creation(
  doing: string,
  name: string,
  kind: string,
  data: readonly Attribute[],
  settings: LinkSettings,
): NetlinkRequest {
  const info = [text(INFO.kind, kind), ...(data.length === 0 ? [] : [nested(INFO.data, data)])];
  return {
    doing,
    type: RTM_NEWLINK,
    flags: NLM_F.create | NLM_F.exclusive,
    header: linkHeader(0, settings),
    attributes: [text(IFLA.name, name), ...settingAttributes(settings), nested(IFLA.linkInfo, info)],
  };
}

function settingAttributes(settings: LinkSettings): Attribute[] {
  return [
    ...(settings.mtuBytes === undefined ? [] : [u32(IFLA.mtu, settings.mtuBytes)]),
    ...(settings.mac === undefined ? [] : [{ type: IFLA.address, value: macBytes(settings.mac) }]),
    ...(settings.master === undefined ? [] : [u32(IFLA.master, settings.master)]),
  ];
}

/** `struct ifinfomsg` */
function linkHeader(index: number, settings: LinkSettings = {}, family: number = AF_UNSPEC): Buffer {
  const flags = (settings.up === true ? IFF_UP : 0) | (settings.promiscuous === true ? IFF_PROMISC : 0);
  const mask =
    (settings.up === undefined ? 0 : IFF_UP) | (settings.promiscuous === undefined ? 0 : IFF_PROMISC);
  const header = Buffer.alloc(16);
  header.writeUInt8(family, 0);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(mask, 12);
  return header;
}
