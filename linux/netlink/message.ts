import { align, type Attribute, decodeAttributes, encodeAttributes, textOf } from "./attributes.ts";

/** Flags of a netlink message (linux/netlink.h). */
export const NLM_F = {
  request: 0x1,
  ack: 0x4,
  dumpInterrupted: 0x10,
  capped: 0x100,
  ackTlvs: 0x200,
  dump: 0x300,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
  append: 0x800,
} as const;

const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLMSGERR_ATTR_MSG = 1;

/** What is asked of the kernel. */
export interface NetlinkRequest {
  /** For error messages: `create link "cni0"`. */
  readonly doing: string;
  readonly type: number;
  /** Besides request and ack. */
  readonly flags?: number;
  /** The family's fixed header: `ifinfomsg`, `rtmsg`. */
  readonly header: Uint8Array;
  readonly attributes?: readonly Attribute[];
}

/** One message from the kernel. */
export type NetlinkReply = { readonly sequence: number } & (
  | { readonly kind: "data"; readonly type: number; readonly interrupted: boolean; readonly body: Buffer }
  /** errno 0 is an acknowledgement. */
  | { readonly kind: "error"; readonly errno: number; readonly detail: string }
  | { readonly kind: "done"; readonly errno: number; readonly detail: string }
);

export function encodeRequest(request: NetlinkRequest, flags: number, sequence: number): Buffer {
  const attributes = encodeAttributes(request.attributes ?? []);
  const length = 16 + align(request.header.length) + attributes.length;
  const buffer = Buffer.alloc(length);
  buffer.writeUInt32LE(length, 0);
  buffer.writeUInt16LE(request.type, 4);
  buffer.writeUInt16LE(flags | (request.flags ?? 0), 6);
  buffer.writeUInt32LE(sequence, 8);
  buffer.set(request.header, 16);
  buffer.set(attributes, 16 + align(request.header.length));
  return buffer;
}

/** The messages of one read. */
export function decodeReplies(bytes: Buffer): NetlinkReply[] {
  const replies: NetlinkReply[] = [];
  for (let at = 0; at + 16 <= bytes.length; ) {
    const length = bytes.readUInt32LE(at);
    if (length < 16 || at + length > bytes.length) break;
    replies.push(decodeReply(bytes.subarray(at, at + length)));
    at += align(length);
  }
  return replies;
}

function decodeReply(bytes: Buffer): NetlinkReply {
  const type = bytes.readUInt16LE(4);
  const flags = bytes.readUInt16LE(6);
  const sequence = bytes.readUInt32LE(8);
  const body = bytes.subarray(16);
  if (type === NLMSG_ERROR) {
    // errno, then the header of the request, then the request itself unless capped, then what the kernel has to say.
    const skipped = (flags & NLM_F.capped) === 0 ? body.readUInt32LE(4) : 16;
    return {
      kind: "error",
      sequence,
      errno: -body.readInt32LE(0),
      detail: detailOf(flags, body.subarray(4 + align(skipped))),
    };
  }
  if (type === NLMSG_DONE) {
    const errno = body.length >= 4 ? -body.readInt32LE(0) : 0;
    return { kind: "done", sequence, errno, detail: detailOf(flags, body.subarray(4)) };
  }
  return { kind: "data", sequence, type, interrupted: (flags & NLM_F.dumpInterrupted) !== 0, body };
}

function detailOf(flags: number, bytes: Buffer): string {
  return (flags & NLM_F.ackTlvs) === 0 ? "" : textOf(decodeAttributes(bytes).get(NLMSGERR_ATTR_MSG));
}
