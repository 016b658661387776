/** Which IP: one proxier works for one family. */
export type Family = 4 | 6;

/** Transport protocols a Service may have, as iptables spells them. */
export type Protocol = "tcp" | "udp" | "sctp";

/** One address behind a Service, as its EndpointSlice tells it. Nothing is filtered yet. */
export interface Endpoint {
  readonly ip: string;
  readonly port: number;
  /** It runs on this node. */
  readonly local: boolean;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** Nodes the hints name; empty when there are none. */
  readonly nodeHints: readonly string[];
  /** Zones the hints name; empty when there are none. */
  readonly zoneHints: readonly string[];
}

/** One port of one Service in one family: the unit that rules are written for. */
export interface ServicePort {
  /** `namespace/name` */
  readonly service: string;
  /** `namespace/name:port`, or `namespace/name` for a port without a name; rule comments carry it. */
  readonly name: string;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly clusterIp: string;
  readonly port: number;
  /** 0: none. */
  readonly nodePort: number;
  readonly externalIps: readonly string[];
  /** Load balancer addresses that the node answers itself (`ipMode` is not `Proxy`). */
  readonly loadBalancerIps: readonly string[];
  /** CIDRs that may use the load balancer addresses; empty: everybody. */
  readonly sourceRanges: readonly string[];
  /** 0: none. */
  readonly healthCheckNodePort: number;
  readonly internalLocal: boolean;
  readonly externalLocal: boolean;
  /** ClientIP affinity in seconds; 0: none. */
  readonly affinitySeconds: number;
  readonly endpoints: readonly Endpoint[];
}

/** What the planner must know about the node it plans for. */
export interface NodeFacts {
  readonly name: string;
  /** Label `topology.kubernetes.io/zone`; "" when the node has none. */
  readonly zone: string;
  /** The node's own addresses in the API. */
  readonly ips: readonly string[];
  /** spec.podCIDRs */
  readonly podCidrs: readonly string[];
}

/** How a packet of a Pod on this node is told from others. */
export type LocalDetector =
  | { readonly by: "nothing" }
  | { readonly by: "cidr"; readonly cidr: string }
  | { readonly by: "bridge"; readonly name: string }
  | { readonly by: "interface-prefix"; readonly prefix: string };

/** The key under which a port is planned and its rules are kept: `ns/name:port/tcp`. */
export function servicePortKey(port: Pick<ServicePort, "name" | "protocol">): string {
  return `${port.name}/${port.protocol}`;
}

/** True when something outside the cluster can address this port. */
export function isExternallyAccessible(port: ServicePort): boolean {
  return port.nodePort !== 0 || port.externalIps.length > 0 || port.loadBalancerIps.length > 0;
}

/** `10.0.0.1:80`, `[fd00::1]:80` */
export function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
