import net from "node:net";

/** An IP address as a number: IPv4 in 32 bits, IPv6 in 128. */
export interface Address {
  readonly family: 4 | 6;
  readonly value: bigint;
}

/** A range of addresses with a prefix. `address` is what was written, `first` its network address. */
export interface Cidr extends Address {
  readonly prefix: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** @throws {RangeError} for anything but an IPv4 or IPv6 address in text form. */
export function parseAddress(text: string): Address {
  const family = net.isIP(text);
  if (family === 4) return { family, value: parseV4(text) };
  if (family === 6 && !text.includes("%")) return { family, value: parseV6(text) };
  throw new RangeError(`cannot read "${text}" as an IP address; want for instance "10.0.0.1" or "fd00::1"`);
}

/** The shortest text form (RFC 5952 for IPv6). */
export function formatAddress({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join(".");
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
  ).join(":");
  const zeros = [...groups.matchAll(/(?<![0-9a-f])0(?::0)+(?![0-9a-f])/g)].sort(
    (a, b) => b[0].length - a[0].length,
  )[0];
  if (zeros === undefined) return groups;
  const head = groups.slice(0, zeros.index).replace(/:$/, "");
  const tail = groups.slice(zeros.index + zeros[0].length).replace(/^:/, "");
  return `${head}::${tail}`;
}

/** @throws {RangeError} for anything but `address/prefix`. */
export function parseCidr(text: string): Cidr {
  const [, ip = "", length = ""] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  if (ip === "" || net.isIP(ip) === 0) {
    throw new RangeError(`cannot read "${text}" as a CIDR; want for instance "10.244.0.0/16"`);
  }
  const address = parseAddress(ip);
  const bits = address.family === 4 ? 32 : 128;
  const prefix = Number(length);
  if (prefix > bits) throw new RangeError(`cannot read "${text}" as a CIDR: the prefix is at most ${bits}`);
  const size = 1n << BigInt(bits - prefix);
  const first = address.value - (address.value % size);
  return { ...address, prefix, first, last: first + size - 1n };
}

/** The range's own address: `10.244.1.0/24` for `10.244.1.7/24`. */
export function formatNetwork(cidr: Cidr): string {
  return `${formatAddress({ family: cidr.family, value: cidr.first })}/${cidr.prefix}`;
}

/** True when every address of `inner` is in `outer`. */
export function contains(outer: Cidr, inner: Cidr | Address): boolean {
  const [first, last] = "first" in inner ? [inner.first, inner.last] : [inner.value, inner.value];
  return outer.family === inner.family && outer.first <= first && last <= outer.last;
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

/** Network byte order, 4 or 16 bytes. @throws {RangeError} as {@link parseAddress}. */
export function addressBytes(text: string): Uint8Array {
  const { family, value } = parseAddress(text);
  const length = family === 4 ? 4 : 16;
  return Uint8Array.from({ length }, (_, i) => Number((value >> BigInt(8 * (length - 1 - i))) & 0xffn));
}

/** The inverse of {@link addressBytes}; "" for a length that is neither 4 nor 16. */
export function addressOfBytes(bytes: Uint8Array): string {
  if (bytes.length !== 4 && bytes.length !== 16) return "";
  let value = 0n;
  for (const byte of bytes) value = (value << 8n) | BigInt(byte);
  return formatAddress({ family: bytes.length === 4 ? 4 : 6, value });
}

function parseV4(text: string): bigint {
  return text.split(".").reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function parseV6(text: string): bigint {
  // The last 32 bits may be written as IPv4.
  const plain = text.replace(/(\d+\.\d+\.\d+\.\d+)$/, (v4) => {
    const value = parseV4(v4);
    return `${(value >> 16n).toString(16)}:${(value & 0xffffn).toString(16)}`;
  });
  const [head = "", tail] = plain.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const gap = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => "0");
  return [...left, ...gap, ...right].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}
