import { readFile } from "node:fs/promises";
import { endpointSlices, namespaces, services } from "#api/resources.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { Task } from "#lib/together.ts";
import { parseRange } from "../allocators/plan/ipv4-range.ts";
import { DnsIndex } from "../dns/dns-index.ts";
import { serveDns } from "../dns/dns-server.ts";
import { Forwarder } from "../dns/forward.ts";
import { parseResolvConf, parseUpstream, type Upstream, usableUpstreams } from "../dns/plan/upstreams.ts";
import { Resolver } from "../dns/resolver.ts";
import type { PartPorts } from "./part.ts";

/** Where programs of this machine find the servers they ask. */
const resolvConf = "/etc/resolv.conf";

/** The cluster's DNS server; nothing when it is switched off. */
export function dnsTask(ports: PartPorts): Task {
  return async (signal) => {
    const { config, tables } = ports;
    const { dns } = ports.settings.published;
    if (dns === undefined) return;
    const log = ports.log.child({ part: "dns" });
    const index = new DnsIndex(
      config.clusterDomain,
      {
        namespaces: tables.of(namespaces),
        services: tables.of(services),
        endpointSlices: tables.of(endpointSlices),
      },
      [config.serviceClusterIpRange, parseRange(config.clusterCidr)],
    );
    const upstreams =
      config.dnsUpstreams.length > 0
        ? config.dnsUpstreams.map(wanted)
        : await ofThisMachine([dns.address, dns.serviceIp], log);
    const resolver = new Resolver(index, new Forwarder(upstreams));
    const listening = (port: number): void => log.info("answering DNS", { address: dns.address, port });
    await serveDns(resolver, dns, listening, log, signal);
  };
}

function wanted(text: string): Upstream {
  const upstream = parseUpstream(text);
  if (upstream === undefined) {
    throw new Error(`cannot forward DNS to "${text}"; --dns-upstream wants addresses such as 192.0.2.1`);
  }
  return upstream;
}

async function ofThisMachine(ours: readonly string[], log: Log): Promise<readonly Upstream[]> {
  try {
    return usableUpstreams(parseResolvConf(await readFile(resolvConf, "utf8")), ours);
  } catch (cause) {
    log.warn("no DNS servers to forward to", { file: resolvConf, cause: errorText(cause) });
    return [];
  }
}
