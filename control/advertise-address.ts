import { hostname, networkInterfaces } from "node:os";

/**
 * The address that other machines reach this one at: its first IPv4 address that is not loopback or link-local,
 * else 127.0.0.1, with which a cluster of one machine works all the same.
 */
export function detectAddress(): string {
  return (
    machineAddresses().find((address) => !address.startsWith("127.") && !address.includes(":")) ?? "127.0.0.1"
  );
}

/** Every address of this machine that a certificate can name, without link-local ones. */
export function machineAddresses(): readonly string[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .filter(({ address }) => !address.startsWith("169.254.") && !address.startsWith("fe80:"))
    .map(({ address }) => address);
}

/** This machine's names and addresses. */
export function machineNames(): readonly string[] {
  return [hostname().toLowerCase(), ...machineAddresses()];
}
