/** A range of IPv4 addresses; addresses are numbers while they are counted. */
export interface Ipv4Range {
  /** `10.96.0.0/16`. */
  readonly cidr: string;
  /** The network's own address. */
  readonly base: number;
  /** How many addresses, the first and the last (which no Service gets) included. */
  readonly size: number;
}

/**
 * @throws Error that says what a good range looks like.
 */
export function parseRange(cidr: string): Ipv4Range {
  const [, address = "", bits = ""] = /^([\d.]+)\/(\d{1,2})$/.exec(cidr) ?? [];
  const ip = parseIpv4(address);
  const prefix = Number(bits);
  if (ip === undefined || bits === "" || prefix < 8 || prefix > 28) {
    throw new Error("want an IPv4 range such as 10.96.0.0/16, from /8 to /28");
  }
  const size = 2 ** (32 - prefix);
  if (ip % size !== 0)
    throw new Error(`want the range's first address; "${cidr}" begins at ${formatIpv4(ip - (ip % size))}`);
  return { cidr, base: ip, size };
}

/** @returns the address as a number, or undefined when the text is not one in its usual form. */
export function parseIpv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) {
    return undefined;
  }
  return parts.reduce((left, part) => left * 256 + Number(part), 0);
}

export function formatIpv4(ip: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(ip / 2 ** shift) % 256).join(".");
}

/** The n-th address: 1 is the API server's, 10 is the cluster's DNS. */
export function nthAddress(range: Ipv4Range, n: number): string {
  return formatIpv4(range.base + n);
}

/** True for an address that a Service may have: in the range, neither its first nor its last. */
export function isUsable(range: Ipv4Range, ip: number): boolean {
  return ip > range.base && ip < range.base + range.size - 1;
}
