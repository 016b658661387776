/** Netlink attributes: length and type in host byte order (little-endian on every machine we run on), padded to 4. */

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

/** `NLA_F_NESTED`: the value is attributes again. */
const nestedFlag = 0x8000;
const typeMask = 0x3fff;

export function u8(type: number, value: number): Attribute {
  return { type, value: Uint8Array.of(value) };
}

export function u16(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16LE(value);
  return { type, value: buffer };
}

/** In network byte order: ports. */
export function be16(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(2);
  buffer.writeUInt16BE(value);
  return { type, value: buffer };
}

export function u32(type: number, value: number): Attribute {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value >>> 0);
  return { type, value: buffer };
}

/** Text with the zero byte the kernel expects. */
export function text(type: number, value: string): Attribute {
  return { type, value: Buffer.from(`${value}\0`, "utf8") };
}

export function nested(type: number, attributes: readonly Attribute[]): Attribute {
  return { type: type | nestedFlag, value: encodeAttributes(attributes) };
}

export function encodeAttributes(attributes: readonly Attribute[]): Buffer {
  const total = attributes.reduce((sum, { value }) => sum + align(4 + value.length), 0);
  const buffer = Buffer.alloc(total);
  let at = 0;
  for (const { type, value } of attributes) {
    buffer.writeUInt16LE(4 + value.length, at);
    buffer.writeUInt16LE(type, at + 2);
    buffer.set(value, at + 4);
    at += align(4 + value.length);
  }
  return buffer;
}

/** By type, without the flags; the last wins. Stops at what is cut short. */
export function decodeAttributes(bytes: Buffer): ReadonlyMap<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = bytes.readUInt16LE(at);
    if (length < 4 || at + length > bytes.length) break;
    found.set(bytes.readUInt16LE(at + 2) & typeMask, bytes.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

/** A text attribute's value without its zero byte; "" when absent. */
export function textOf(value: Buffer | undefined): string {
  return value === undefined ? "" : value.toString("utf8").replace(/\0.*$/s, "");
}

/** A u32 attribute's value; undefined when absent. */
export function u32Of(value: Buffer | undefined): number | undefined {
  return value === undefined || value.length < 4 ? undefined : value.readUInt32LE();
}

/** `c6:bf:...` to 6 bytes. @throws {RangeError} for anything else. */
export function macBytes(mac: string): Uint8Array {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(mac)) {
    throw new RangeError(`cannot read "${mac}" as a MAC address; want for instance "0a:58:0a:f4:01:02"`);
  }
  return Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));
}

/** 6 bytes to `c6:bf:...`; "" for any other length. */
export function macOf(bytes: Uint8Array | undefined): string {
  return bytes?.length === 6 ? Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":") : "";
}

export function align(length: number): number {
  return (length + 3) & ~3;
}
