import { contains, formatAddress, overlaps, parseAddress, parseCidr } from "#lib/ip.ts";
import type { NetworkConfig, SubnetLease } from "../model.ts";

/** A lease in the registry, with what is needed to change it safely. */
export interface RegisteredLease extends SubnetLease {
  readonly modRevision: bigint;
  /** It has no time to live: somebody reserved it, and it stays so. */
  readonly isReservation: boolean;
}

/** What to do to get a subnet. */
export type SubnetChoice =
  /** The registry has our address in it already. */
  | { readonly action: "reuse"; readonly lease: RegisteredLease }
  /** Leases of ours that no longer fit the network; then choose again. */
  | { readonly action: "discard"; readonly leases: readonly RegisteredLease[] }
  | { readonly action: "create"; readonly subnet: string }
  | { readonly action: "none-left" };

/** As many free subnets are looked at; one of them is drawn, so that nodes that start together seldom collide. */
const candidates = 100;

/**
 * A subnet for the node with address `publicIp`: the one registered for it, else the one it had before, else a free one.
 * @param random in [0, 1)
 */
export function chooseSubnet(
  config: NetworkConfig,
  leases: readonly RegisteredLease[],
  publicIp: string,
  previous: string | undefined,
  random: number,
): SubnetChoice {
  const ours = leases.filter((lease) => lease.attributes.publicIp === publicIp);
  const fitting = ours.find((lease) => fits(config, lease.subnet));
  if (fitting !== undefined) return { action: "reuse", lease: fitting };
  if (ours.length > 0) return { action: "discard", leases: ours };
  const taken = leases.map((lease) => parseCidr(lease.subnet));
  const isFree = (subnet: string): boolean => !taken.some((other) => overlaps(other, parseCidr(subnet)));
  if (previous !== undefined && fits(config, previous) && isFree(previous)) {
    return { action: "create", subnet: previous };
  }
  const free: string[] = [];
  for (const subnet of subnetsOf(config)) {
    if (isFree(subnet)) free.push(subnet);
    if (free.length === candidates) break;
  }
  const drawn = free[Math.floor(random * free.length)];
  return drawn === undefined ? { action: "none-left" } : { action: "create", subnet: drawn };
}

/** True when the network as it is configured now would give out this subnet. */
export function fits(config: NetworkConfig, subnet: string): boolean {
  const cidr = parseCidr(subnet);
  return (
    cidr.prefix === config.subnetLen &&
    contains(parseCidr(config.network), cidr) &&
    parseAddress(config.subnetMin).value <= cidr.first &&
    cidr.first <= parseAddress(config.subnetMax).value
  );
}

function* subnetsOf(config: NetworkConfig): Generator<string, void, undefined> {
  const size = 1n << BigInt(32 - config.subnetLen);
  const last = parseAddress(config.subnetMax).value;
  for (let value = parseAddress(config.subnetMin).value; value <= last; value += size) {
    yield `${formatAddress({ family: 4, value })}/${config.subnetLen}`;
  }
}
