import { read, writeSync } from "node:fs";
import { promisify } from "node:util";
import { closeFd, socket } from "./libc.ts";

const readAsync = promisify(read);

/** One tracked UDP flow as the kernel holds it. */
export interface UdpFlow {
  /** Where the first packet was sent to, before any translation. */
  readonly to: string;
  readonly toPort: number;
  /** Who answers: the translated destination. */
  readonly answers: string;
  readonly answersPort: number;
  readonly family: 4 | 6;
  /** The original tuple and the id as the kernel wrote them: names exactly this flow when it is deleted. */
  readonly handle: Uint8Array;
}

/** The kernel's connection table, as far as the proxy needs it. */
export interface Conntrack {
  /** Every UDP flow of the family. */
  udpFlows(family: 4 | 6, signal: AbortSignal): Promise<readonly UdpFlow[]>;
  /** @returns false when the flow was gone already. */
  delete(flow: UdpFlow, signal: AbortSignal): Promise<boolean>;
}

const netlink = { family: 16, raw: 3, cloexec: 0o2000000, netfilter: 12 } as const;
// linux/netfilter/nfnetlink_conntrack.h: subsystem 1, messages "get" 1 and "delete" 2.
const message = { new: 0x100, get: 0x101, delete: 0x102, error: 2, done: 3 } as const;
const attribute = { original: 1, reply: 2, id: 12, zone: 18, ip: 1, proto: 2 } as const;
const udp = 17;
const headerBytes = 16;
const enoent = 2;
/** More than the kernel puts into one answer of a dump. */
const bufferBytes = 256 * 1024;

/** The connection table of the network namespace this is called in, through ctnetlink. */
export function systemConntrack(): Conntrack {
  return {
    udpFlows: async (family, signal) => {
      const flows: UdpFlow[] = [];
      await ask(request(message.get, 0x300, family, new Uint8Array()), signal, (type, payload) => {
        if (type !== message.new) return;
        const flow = parseFlow(payload, family);
        if (flow !== undefined) flows.push(flow);
      });
      return flows;
    },
    delete: async (flow, signal) => {
      const ack = 4;
      const errno = await ask(
        request(message.delete, ack, flow.family, flow.handle),
        signal,
        () => undefined,
      );
      if (errno === 0) return true;
      if (errno === enoent) return false;
      throw new Error(
        `cannot delete the flow to "${flow.to}:${flow.toPort}": the kernel said errno ${errno}`,
      );
    },
  };
}

/** Sends one request on a socket of its own and reads to the end of the answer. @returns errno, 0 when all went well. */
async function ask(
  packet: Uint8Array,
  signal: AbortSignal,
  each: (type: number, payload: Buffer) => void,
): Promise<number> {
  signal.throwIfAborted();
  const fd = socket(netlink.family, netlink.raw | netlink.cloexec, netlink.netfilter);
  try {
    writeSync(fd, packet);
    const buffer = Buffer.alloc(bufferBytes);
    for (;;) {
      const { bytesRead } = await readAsync(fd, buffer, 0, buffer.length, null);
      for (let at = 0; at + headerBytes <= bytesRead; ) {
        const length = buffer.readUInt32LE(at);
        const type = buffer.readUInt16LE(at + 4);
        if (length < headerBytes || at + length > bytesRead) break;
        const payload = buffer.subarray(at + headerBytes, at + length);
        if (type === message.error) return -payload.readInt32LE(0);
        if (type === message.done) return 0;
        each(type, payload);
        at += (length + 3) & ~3;
      }
      if (bytesRead === 0) return 0;
    }
  } finally {
    closeFd(fd);
  }
}

function request(type: number, flags: number, family: 4 | 6, attributes: Uint8Array): Buffer {
  const packet = Buffer.alloc(headerBytes + 4 + attributes.length);
  packet.writeUInt32LE(packet.length, 0);
  packet.writeUInt16LE(type, 4);
  packet.writeUInt16LE(1 | flags, 6);
  packet.writeUInt32LE(1, 8);
  packet.writeUInt8(family === 4 ? 2 : 10, headerBytes);
  packet.set(attributes, headerBytes + 4);
  return packet;
}

function parseFlow(payload: Buffer, family: 4 | 6): UdpFlow | undefined {
  const parts = attributesOf(payload.subarray(4));
  const original = parts.get(attribute.original);
  const reply = parts.get(attribute.reply);
  if (original === undefined || reply === undefined) return undefined;
  const sent = parseTuple(original.value, family);
  const back = parseTuple(reply.value, family);
  if (sent === undefined || back === undefined || sent.protocol !== udp) return undefined;
  const names = [original, parts.get(attribute.id), parts.get(attribute.zone)];
  return {
    to: sent.to,
    toPort: sent.toPort,
    answers: back.from,
    answersPort: back.fromPort,
    family,
    handle: Buffer.concat(names.flatMap((part) => (part === undefined ? [] : [part.whole]))),
  };
}

function parseTuple(
  tuple: Buffer,
  family: 4 | 6,
): { from: string; fromPort: number; to: string; toPort: number; protocol: number } | undefined {
  const parts = attributesOf(tuple);
  const ip = attributesOf(parts.get(attribute.ip)?.value ?? Buffer.alloc(0));
  const proto = attributesOf(parts.get(attribute.proto)?.value ?? Buffer.alloc(0));
  const from = ip.get(family === 4 ? 1 : 3)?.value;
  const to = ip.get(family === 4 ? 2 : 4)?.value;
  const protocol = proto.get(1)?.value.readUInt8(0);
  if (from === undefined || to === undefined || protocol === undefined) return undefined;
  return {
    from: formatIp(from),
    to: formatIp(to),
    protocol,
    fromPort: proto.get(2)?.value.readUInt16BE(0) ?? 0,
    toPort: proto.get(3)?.value.readUInt16BE(0) ?? 0,
  };
}

function attributesOf(bytes: Buffer): Map<number, { readonly value: Buffer; readonly whole: Buffer }> {
  const found = new Map<number, { value: Buffer; whole: Buffer }>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    const padded = (length + 3) & ~3;
    const whole = Buffer.alloc(padded);
    bytes.copy(whole, 0, at, at + length);
    found.set(bytes.readUInt16LE(at + 2) & 0x3fff, { value: bytes.subarray(at + 4, at + length), whole });
    at += padded;
  }
  return found;
}

function formatIp(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16)).join(
    ":",
  );
  // URL writes an IPv6 address in the canonical form of RFC 5952, as the API does.
  return new URL(`http://[${groups}]`).hostname.slice(1, -1);
}
