import type { Pod } from "#api/generated/kubernetes.ts";

/** The three lists of a resolv.conf. */
export interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

/** A DNS configuration and what the user should hear about it. */
export interface PodDns {
  readonly dns: DnsConfig;
  readonly notes: readonly {
    readonly reason: "MissingClusterDNS" | "DNSConfigForming";
    readonly message: string;
  }[];
}

const maxServers = 3;
const maxSearches = 32;
const maxSearchChars = 2_048;

/** The resolver configuration of a Pod by its dnsPolicy. */
export function podDns(
  pod: Pod,
  cluster: { readonly servers: readonly string[]; readonly domain: string },
  host: DnsConfig,
): PodDns {
  const notes: PodDns["notes"][number][] = [];
  let policy = pod.spec?.dnsPolicy ?? "ClusterFirst";
  if (policy === "ClusterFirst" && pod.spec?.hostNetwork === true) policy = "Default";
  if (policy === "ClusterFirstWithHostNet") policy = "ClusterFirst";
  if (policy === "ClusterFirst" && cluster.servers.length === 0) {
    notes.push({
      reason: "MissingClusterDNS",
      message: `pod: "${pod.metadata?.name}_${pod.metadata?.namespace}(${pod.metadata?.uid})". kubelet does not have ClusterDNS IP configured and cannot create Pod using "${policy}" policy. Falling back to "Default" policy.`,
    });
    policy = "Default";
  }
  const { domain } = cluster;
  const namespace = pod.metadata?.namespace ?? "";
  const base: DnsConfig =
    policy === "None"
      ? { servers: [], searches: [], options: [] }
      : policy === "ClusterFirst"
        ? {
            servers: cluster.servers,
            searches:
              domain === ""
                ? host.searches
                : unique([`${namespace}.svc.${domain}`, `svc.${domain}`, domain, ...host.searches]),
            options: ["ndots:5"],
          }
        : host;
  const own = pod.spec?.dnsConfig;
  const merged: DnsConfig = {
    servers: unique([...base.servers, ...(own?.nameservers ?? [])]),
    searches: unique([...base.searches, ...(own?.searches ?? [])]),
    options: mergeOptions(
      base.options,
      (own?.options ?? []).map(({ name, value }) =>
        value === undefined || value === "" ? (name ?? "") : `${name}:${value}`,
      ),
    ),
  };
  const servers = merged.servers.slice(0, maxServers);
  if (servers.length < merged.servers.length) {
    notes.push({
      reason: "DNSConfigForming",
      message: `Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: ${servers.join(" ")}`,
    });
  }
  const searches = fitting(merged.searches);
  if (searches.length < merged.searches.length) {
    notes.push({
      reason: "DNSConfigForming",
      message: `Search Line limits were exceeded, some search paths have been omitted, the applied search line is: ${searches.join(" ")}`,
    });
  }
  return { dns: { servers, searches, options: merged.options }, notes };
}

/** Reads a resolv.conf; lines it does not know are passed over. */
export function parseResolvConf(text: string): DnsConfig {
  const servers: string[] = [];
  let searches: readonly string[] = [];
  let options: readonly string[] = [];
  for (const line of text.split("\n")) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, "")
      .trim()
      .split(/\s+/);
    if (word === "nameserver" && rest[0] !== undefined) servers.push(rest[0]);
    if (word === "search" || word === "domain") searches = rest;
    if (word === "options") options = rest;
  }
  return { servers, searches: searches.filter((search) => search !== "."), options };
}

function fitting(searches: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let chars = 0;
  for (const search of searches) {
    chars += search.length + (kept.length === 0 ? 0 : 1);
    if (kept.length >= maxSearches || chars > maxSearchChars) break;
    kept.push(search);
  }
  return kept;
}

function mergeOptions(base: readonly string[], own: readonly string[]): readonly string[] {
  const named = new Map(base.map((option) => [option.split(":")[0] ?? option, option]));
  for (const option of own) named.set(option.split(":")[0] ?? option, option);
  return [...named.values()];
}

function unique(values: readonly string[]): readonly string[] {
  return [...new Set(values)];
}
