/** An IPv4 network: its first address as a number, and the length of its prefix. */
interface Network {
  readonly first: number;
  readonly prefix: number;
}

/**
 * The first part of `clusterCidr` with this prefix length that overlaps none of `used`.
 * @returns undefined when every part is taken.
 * @throws {RangeError} when `clusterCidr` is no IPv4 network or is smaller than one part.
 */
export function freeNodeCidr(
  clusterCidr: string,
  prefix: number,
  used: Iterable<string>,
): string | undefined {
  const cluster = parseNetwork(clusterCidr);
  if (cluster === undefined || prefix < cluster.prefix || prefix > 30) {
    throw new RangeError(
      `cannot divide "${clusterCidr}" into networks of /${prefix}: want an IPv4 network that is at least as large`,
    );
  }
  const size = 2 ** (32 - prefix);
  const parts = 2 ** (prefix - cluster.prefix);
  const taken = new Set<number>();
  for (const text of used) {
    const network = parseNetwork(text);
    if (network === undefined) continue;
    const from = Math.floor((network.first - cluster.first) / size);
    const to = Math.floor((network.first + 2 ** (32 - network.prefix) - 1 - cluster.first) / size);
    for (let part = Math.max(0, from); part <= Math.min(parts - 1, to); part += 1) taken.add(part);
  }
  for (let part = 0; part < parts; part += 1) {
    if (!taken.has(part)) return `${formatAddress(cluster.first + part * size)}/${prefix}`;
  }
  return undefined;
}

function parseNetwork(text: string): Network | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/.exec(text);
  if (match === null) return undefined;
  const [a = 256, b = 256, c = 256, d = 256, prefix = 33] = match.slice(1).map(Number);
  if ([a, b, c, d].some((byte) => byte > 255) || prefix > 32) return undefined;
  const address = ((a * 256 + b) * 256 + c) * 256 + d;
  const size = 2 ** (32 - prefix);
  return { first: Math.floor(address / size) * size, prefix };
}

function formatAddress(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}
