import { contains, formatAddress, parseAddress, parseCidr } from "#lib/ip.ts";
import type { Allocation, IpRange } from "../model.ts";

/** A range with its ends worked out. */
export interface ResolvedRange {
  readonly first: bigint;
  readonly last: bigint;
  readonly gateway: bigint;
  readonly prefix: number;
  readonly family: 4 | 6;
}

/**
 * The ends of a range: all of the subnet but its own address and, for IPv4, the broadcast address.
 * The gateway is the first address unless given.
 * @throws {RangeError} for an end outside the subnet, or a subnet without room for a gateway and a Pod.
 */
export function resolveRange(range: IpRange): ResolvedRange {
  const subnet = parseCidr(range.subnet);
  const bits = subnet.family === 4 ? 32 : 128;
  if (subnet.prefix > bits - 2) {
    throw new RangeError(
      `cannot give out addresses of "${range.subnet}": it is too small; want at most /${bits - 2}`,
    );
  }
  const end = (text: string | undefined, otherwise: bigint): bigint => {
    if (text === undefined) return otherwise;
    const address = parseAddress(text);
    if (!contains(subnet, address)) {
      throw new RangeError(`cannot give out addresses of "${range.subnet}": "${text}" is outside of it`);
    }
    return address.value;
  };
  return {
    first: end(range.rangeStart, subnet.first + 1n),
    last: end(range.rangeEnd, subnet.family === 4 ? subnet.last - 1n : subnet.last),
    gateway: range.gateway === undefined ? subnet.first + 1n : parseAddress(range.gateway).value,
    prefix: subnet.prefix,
    family: subnet.family,
  };
}

/**
 * The next free address of a set of ranges, round robin: one that was just given back rests longest.
 * @param isTaken asked at most once for each address.
 * @param last the address given out before, if known.
 * @returns undefined when none is free.
 */
export function chooseAddress(
  ranges: readonly IpRange[],
  last: string | undefined,
  isTaken: (address: string) => boolean,
): Allocation | undefined {
  const resolved = ranges.map(resolveRange);
  for (const { range, value } of walk(resolved, last === undefined ? undefined : parseAddress(last).value)) {
    const address = formatAddress({ family: range.family, value });
    if (value === range.gateway || isTaken(address)) continue;
    return {
      address: `${address}/${range.prefix}`,
      gateway: formatAddress({ family: range.family, value: range.gateway }),
    };
  }
  return undefined;
}

/** Every address once, beginning after `last` and wrapping around. */
function* walk(
  ranges: readonly ResolvedRange[],
  last: bigint | undefined,
): Generator<{ readonly range: ResolvedRange; readonly value: bigint }, void, undefined> {
  const at = last === undefined ? -1 : ranges.findIndex((range) => range.first <= last && last <= range.last);
  const start = ranges[at];
  if (start === undefined || last === undefined) {
    for (const range of ranges) yield* span(range, range.first, range.last);
    return;
  }
  yield* span(start, last + 1n, start.last);
  for (const range of [...ranges.slice(at + 1), ...ranges.slice(0, at)])
    yield* span(range, range.first, range.last);
  yield* span(start, start.first, last);
}

function* span(
  range: ResolvedRange,
  first: bigint,
  last: bigint,
): Generator<{ readonly range: ResolvedRange; readonly value: bigint }, void, undefined> {
  for (let value = first; value <= last; value += 1n) yield { range, value };
}
