import { addressBytes, addressOfBytes } from "#lib/ip.ts";
import { decodeAttributes, macBytes, macOf } from "./attributes.ts";
import { NLM_F, type NetlinkRequest } from "./message.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

/** Neighbours (ARP, NDP) and forwarding entries of VXLAN devices (`struct ndmsg`). */

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const AF_INET = 2;
const AF_INET6 = 10;
const AF_BRIDGE = 7;
const NDA = { destination: 1, mac: 2 } as const;
const NUD_PERMANENT = 0x80;
const NUD_NOARP = 0x40;
const NTF_SELF = 0x02;

/** An IP address on a link and the MAC it is reached at, without asking. */
export interface Neighbour {
  readonly link: number;
  readonly address: string;
  readonly mac: string;
}

/** A MAC behind a VXLAN device and the tunnel endpoint it is reached through. */
export interface ForwardingEntry {
  readonly link: number;
  readonly mac: string;
  /** The other node's address outside the tunnel. */
  readonly remote: string;
}

/** For {@link NetlinkSocket.changeAll}: a permanent entry, in place of one with the same address. */
export function replaceNeighbourRequest(entry: Neighbour): NetlinkRequest {
  return {
    ...neighbourRequest(`set neighbour "${entry.address}"`, RTM_NEWNEIGH, entry),
    flags: NLM_F.create | NLM_F.replace,
  };
}

/** For {@link NetlinkSocket.changeAll}; an entry that is gone answers `ENOENT`. */
export function removeNeighbourRequest(entry: Neighbour): NetlinkRequest {
  return neighbourRequest(`remove neighbour "${entry.address}"`, RTM_DELNEIGH, entry);
}

/** For {@link NetlinkSocket.changeAll}: in place of an entry with the same MAC. */
export function replaceForwardingRequest(entry: ForwardingEntry): NetlinkRequest {
  return {
    ...forwardingRequest(`set forwarding entry "${entry.mac}"`, RTM_NEWNEIGH, entry),
    flags: NLM_F.create | NLM_F.replace,
  };
}

/** For {@link NetlinkSocket.changeAll}; an entry that is gone answers `ENOENT`. */
export function removeForwardingRequest(entry: ForwardingEntry): NetlinkRequest {
  return forwardingRequest(`remove forwarding entry "${entry.mac}"`, RTM_DELNEIGH, entry);
}

/** Permanent neighbours of a link. @throws {NetlinkError} */
export function listNeighbours(socket: NetlinkSocket, link: number): Neighbour[] {
  return listEntries(socket, 0, link).flatMap(({ family, state, destination, mac }) =>
    (family === AF_INET || family === AF_INET6) && (state & NUD_PERMANENT) !== 0 && destination !== ""
      ? [{ link, address: destination, mac }]
      : [],
  );
}

/** Forwarding entries of a VXLAN device. @throws {NetlinkError} */
export function listForwarding(socket: NetlinkSocket, link: number): ForwardingEntry[] {
  return listEntries(socket, AF_BRIDGE, link).flatMap(({ flags, destination, mac }) =>
    (flags & NTF_SELF) !== 0 && destination !== "" ? [{ link, mac, remote: destination }] : [],
  );
}

/** Index of the link an `RTM_NEWNEIGH` or `RTM_DELNEIGH` message is about. */
export function neighbourLink(body: Buffer): number {
  return body.readInt32LE(4);
}

interface Entry {
  readonly family: number;
  readonly state: number;
  readonly flags: number;
  readonly destination: string;
  readonly mac: string;
}

function listEntries(socket: NetlinkSocket, family: number, link: number): Entry[] {
  const header = Buffer.alloc(12);
  header.writeUInt8(family, 0);
  return socket
    .dump({
      doing: family === AF_BRIDGE ? "list forwarding entries" : "list neighbours",
      type: RTM_GETNEIGH,
      header,
    })
    .filter(({ body }) => neighbourLink(body) === link)
    .map(({ body }) => {
      const attributes = decodeAttributes(body.subarray(12));
      return {
        family: body.readUInt8(0),
        state: body.readUInt16LE(8),
        flags: body.readUInt8(10),
        destination: addressOfBytes(attributes.get(NDA.destination) ?? Buffer.alloc(0)),
        mac: macOf(attributes.get(NDA.mac)),
      };
    });
}

function neighbourRequest(doing: string, type: number, entry: Neighbour): NetlinkRequest {
  const address = addressBytes(entry.address);
  return {
    doing,
    type,
    header: neighbourHeader(address.length === 4 ? AF_INET : AF_INET6, entry.link, NUD_PERMANENT, 0),
    attributes: [
      { type: NDA.destination, value: address },
      { type: NDA.mac, value: macBytes(entry.mac) },
    ],
  };
}

function forwardingRequest(doing: string, type: number, entry: ForwardingEntry): NetlinkRequest {
  return {
    doing,
    type,
    header: neighbourHeader(AF_BRIDGE, entry.link, NUD_NOARP | NUD_PERMANENT, NTF_SELF),
    attributes: [
      { type: NDA.mac, value: macBytes(entry.mac) },
      { type: NDA.destination, value: addressBytes(entry.remote) },
    ],
  };
}

/** `struct ndmsg` */
function neighbourHeader(family: number, link: number, state: number, flags: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(family, 0);
  header.writeInt32LE(link, 4);
  header.writeUInt16LE(state, 8);
  header.writeUInt8(flags, 10);
  return header;
}
