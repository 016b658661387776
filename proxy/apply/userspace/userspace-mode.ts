import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import type { Iptables } from "#linux/iptables.ts";
import { type Family, hostPort, type NodeFacts, type ServicePort, servicePortKey } from "../../model.ts";
import { chooseEndpoints } from "../../plan/endpoints.ts";
import type { OwnedRules } from "../../plan/owned-rules.ts";
import { planUserspaceBase, planUserspaceRules } from "../../plan/userspace-rules.ts";
import { localIps } from "../clean-flows.ts";
import { RuleWriter } from "../iptables/rule-writer.ts";
import type { ProxyMode } from "../mode.ts";
import { Balancer } from "./balancer.ts";
import { listenTcp, type PortListener } from "./tcp-listener.ts";
import { listenUdp } from "./udp-listener.ts";

/** Settings of userspace mode. */
export interface UserspaceSettings {
  readonly family: Family;
  readonly serviceCidrs: readonly string[];
  /** Connections, and UDP clients, at once for each port of each Service. */
  readonly maxConnections: number;
}

/** What the mode works with. */
export interface UserspacePorts {
  readonly iptables: Iptables;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

interface Portal {
  readonly protocol: ServicePort["protocol"];
  readonly balancer: Balancer;
  readonly listener: PortListener;
}

/** Services as listeners of this process, with rules that lead to them. Its connections end with the process. */
export function userspaceMode(settings: UserspaceSettings, ports: UserspacePorts): ProxyMode {
  const writer = new RuleWriter(ports.iptables, planUserspaceBase(settings.serviceCidrs));
  const portals = new Map<string, Portal>();

  const open = async (key: string, port: ServicePort): Promise<Portal | undefined> => {
    const known = portals.get(key);
    if (known !== undefined) return known;
    if (port.protocol === "sctp") {
      ports.log.warn("SCTP is not served in userspace mode", { port: port.name });
      return undefined;
    }
    const balancer = new Balancer(ports.clock, ports.random);
    const address = settings.family === 4 ? "0.0.0.0" : "::";
    const log = ports.log.child({ port: port.name });
    const common = { balancer, log, maxConnections: settings.maxConnections };
    const listener =
      port.protocol === "tcp"
        ? await listenTcp(address, common)
        : await listenUdp(address, { ...common, clock: ports.clock });
    const portal = { protocol: port.protocol, balancer, listener };
    portals.set(key, portal);
    return portal;
  };

  return {
    name: "userspace",
    sync: async (changes, node, signal) => {
      const hostIp = hostAddress(node, settings.family);
      const rules = new Map<string, OwnedRules | undefined>();
      for (const [key, port] of changes) {
        const portal = port === undefined ? undefined : await open(key, port);
        if (port === undefined || portal === undefined) {
          rules.set(key, undefined);
          continue;
        }
        const chosen = chooseEndpoints(port, node);
        portal.balancer.update(port.internalLocal ? chosen.local : chosen.cluster, port.affinitySeconds);
        portal.listener.endpointsChanged();
        rules.set(key, planUserspaceRules(port, { proxyPort: portal.listener.proxyPort, hostIp }));
      }
      const report = await writer.write(rules, signal);
      // Only now: until the rules are gone, packets still come to the listener.
      for (const [key, owned] of rules) {
        if (owned !== undefined) continue;
        portals.get(key)?.listener.close();
        portals.delete(key);
      }
      return report;
    },
    // REDIRECT takes the address of whatever link the packet came in by.
    answers: (port) => {
      const portal = portals.get(servicePortKey(port));
      if (portal === undefined) return [];
      return localIps(settings.family).map((ip) => hostPort(ip, portal.listener.proxyPort));
    },
    missing: (signal) => writer.missing(signal),
    forget: () => writer.forget(),
    close: () => {
      for (const { listener } of portals.values()) listener.close("kill");
      portals.clear();
    },
  };
}

/** Where the node's own processes reach our listeners: the node's address if this machine has it. */
function hostAddress(node: NodeFacts, family: Family): string {
  const mine = localIps(family).filter((ip) => !ip.startsWith("fe80:"));
  const loopback = family === 4 ? "127.0.0.1" : "::1";
  return (
    node.ips.find((ip) => mine.includes(ip)) ??
    mine.find((ip) => !ip.startsWith("127.") && ip !== "::1") ??
    loopback
  );
}
