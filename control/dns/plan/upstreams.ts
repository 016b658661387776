import { isIP } from "node:net";

/** A DNS server. */
export interface Upstream {
  readonly address: string;
  readonly port: number;
}

/** More servers than this are never asked: what a resolver of libc does (resolv.conf(5), MAXNS). */
const limit = 3;

/** The `nameserver` lines of a resolv.conf. */
export function parseResolvConf(text: string): readonly Upstream[] {
  return text
    .split("\n")
    .flatMap((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? [])
    .flatMap((server) => parseUpstream(server) ?? []);
}

/** `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`; undefined for anything else. */
export function parseUpstream(text: string): Upstream | undefined {
  const [, address = text, port = "53"] =
    /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(isIP(text) === 0 ? text : "") ?? [];
  return isIP(address) === 0 ? undefined : { address, port: Number(port) };
}

/**
 * The servers to ask, without ourselves: a question that comes back to us would go round for ever.
 * @param ours addresses that lead to this server, whatever the port: the listening one and the Service's.
 */
export function usableUpstreams(all: readonly Upstream[], ours: readonly string[]): readonly Upstream[] {
  return all.filter((one) => !ours.includes(one.address)).slice(0, limit);
}
