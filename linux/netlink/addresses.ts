import { addressBytes, addressOfBytes } from "#lib/ip.ts";
import { decodeAttributes, u32, u32Of } from "./attributes.ts";
import { NLM_F, type NetlinkRequest } from "./message.ts";
import { isNetlinkError } from "./netlink-error.ts";
import type { NetlinkSocket } from "./netlink-socket.ts";

/** Addresses on links (`struct ifaddrmsg`). */

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const AF_INET = 2;
const AF_INET6 = 10;
const IFA = { address: 1, local: 2, broadcast: 4, flags: 8 } as const;
const IFA_F_NODAD = 0x02;
const IFA_F_TEMPORARY = 0x01;
const IFA_F_DEPRECATED = 0x20;
const IFA_F_PERMANENT = 0x80;

/** One address of one link. */
export interface LinkAddress {
  readonly link: number;
  readonly address: string;
  readonly prefix: number;
  /** 0 global, 253 link, 254 host. */
  readonly scope: number;
  readonly permanent: boolean;
  readonly temporary: boolean;
  readonly deprecated: boolean;
}

/** What can be put on a link. */
export interface NewAddress {
  readonly link: number;
  readonly address: string;
  readonly prefix: number;
  readonly broadcast?: string;
}

/** Puts an address on a link; one that stands there already is no error. @throws {NetlinkError} */
export function addAddress(socket: NetlinkSocket, address: NewAddress): void {
  const request = addressRequest(`add address "${address.address}/${address.prefix}"`, RTM_NEWADDR, address);
  socket.change({ ...request, flags: NLM_F.create | NLM_F.replace });
}

/** Takes an address off a link; one that is gone is no error. @throws {NetlinkError} */
export function removeAddress(socket: NetlinkSocket, address: NewAddress): void {
  try {
    socket.change(addressRequest(`remove address "${address.address}"`, RTM_DELADDR, address));
  } catch (cause) {
    if (!isNetlinkError(cause, "EADDRNOTAVAIL", "ENODEV")) throw cause;
  }
}

/** Every address in the namespace, of one link when given. @throws {NetlinkError} */
export function listAddresses(socket: NetlinkSocket, link?: number): LinkAddress[] {
  return socket
    .dump({ doing: "list addresses", type: RTM_GETADDR, header: Buffer.alloc(8) })
    .map(({ body }) => parseAddressMessage(body))
    .filter((address) => address.address !== "" && (link === undefined || address.link === link));
}

/** Reads the body of an `RTM_NEWADDR` or `RTM_DELADDR` message. */
export function parseAddressMessage(body: Buffer): LinkAddress {
  const attributes = decodeAttributes(body.subarray(8));
  const bytes = attributes.get(IFA.local) ?? attributes.get(IFA.address) ?? Buffer.alloc(0);
  const flags = u32Of(attributes.get(IFA.flags)) ?? body.readUInt8(2);
  return {
    link: body.readUInt32LE(4),
    address: addressOfBytes(bytes),
    prefix: body.readUInt8(1),
    scope: body.readUInt8(3),
    permanent: (flags & IFA_F_PERMANENT) !== 0,
    temporary: (flags & IFA_F_TEMPORARY) !== 0,
    deprecated: (flags & IFA_F_DEPRECATED) !== 0,
  };
}

function addressRequest(doing: string, type: number, address: NewAddress): NetlinkRequest {
  const bytes = addressBytes(address.address);
  const isV4 = bytes.length === 4;
  const header = Buffer.alloc(8);
  header.writeUInt8(isV4 ? AF_INET : AF_INET6, 0);
  header.writeUInt8(address.prefix, 1);
  header.writeUInt32LE(address.link, 4);
  return {
    doing,
    type,
    header,
    attributes: [
      { type: IFA.local, value: bytes },
      { type: IFA.address, value: bytes },
      ...(address.broadcast === undefined
        ? []
        : [{ type: IFA.broadcast, value: addressBytes(address.broadcast) }]),
      // The address is ours by assignment; duplicate address detection would only hold it back for a second.
      ...(isV4 ? [] : [u32(IFA.flags, IFA_F_NODAD)]),
    ],
  };
}
