import type { EndpointSlice, Node, Service } from "#api/generated/kubernetes.ts";
import { address, type Place } from "./proxy-hosts.ts";

/** One flow and what must become of it. */
export interface Flow {
  readonly name: string;
  readonly from: Place;
  /** `tcp 10.96.0.7:80` */
  readonly to: string;
  /** Servers that answer: every one of them does, and none else. Or how it fails. */
  readonly reaches: readonly string[] | "refused" | "dropped";
  /** The client address the server sees; not said where it depends on the server. */
  readonly seenAs?: string;
  /** What the flow does in userspace mode where that differs; "unsupported": not served there. */
  readonly userspace?: readonly string[] | "refused" | "dropped" | "unsupported";
}

const { podA, podB, podC, node, outside } = address;
/** An answer across a masqueraded hop shows one of these. */
const both = [podA, podB];
const everywhere = [podA, podC];

/** The Services of the table, each a name that says what it is. */
export const services: readonly Service[] = [
  service("web", "10.96.0.7", { nodePort: 30080, externalIPs: ["192.168.99.22"] }),
  service("local", "10.96.0.8", {
    nodePort: 30081,
    externalTrafficPolicy: "Local",
    healthCheckNodePort: 32_000,
  }),
  service("far", "10.96.0.9", {
    nodePort: 30082,
    externalTrafficPolicy: "Local",
    healthCheckNodePort: 32_001,
  }),
  service("empty", "10.96.0.10", { nodePort: 30083 }),
  service("inner", "10.96.0.11", { internalTrafficPolicy: "Local" }),
  service("inner-far", "10.96.0.12", { internalTrafficPolicy: "Local" }),
  service("sticky", "10.96.0.13", { sessionAffinity: "ClientIP" }),
  service("self", "10.96.0.14", {}),
  service("udp", "10.96.0.15", { nodePort: 30085, protocol: "UDP" }),
  balanced(service("open", "10.96.0.16", { loadBalancerSourceRanges: ["192.168.77.0/24"] }), "192.168.99.50"),
  balanced(
    service("closed", "10.96.0.17", { loadBalancerSourceRanges: ["203.0.113.0/24"] }),
    "192.168.99.51",
  ),
];

export const slices: readonly EndpointSlice[] = [
  slice("web", both),
  slice("local", everywhere),
  slice("far", [podC]),
  slice("empty", []),
  slice("inner", everywhere),
  slice("inner-far", [podC]),
  slice("sticky", both),
  slice("self", [podA]),
  slice("udp", both, "UDP"),
  slice("open", [podA]),
  slice("closed", [podA]),
];

export const nodeObject: Node = {
  metadata: { name: "node-1" },
  status: { addresses: [{ type: "InternalIP", address: node }] },
};

export const flows: readonly Flow[] = [
  { name: "Pod to ClusterIP", from: "pod-b", to: "tcp 10.96.0.7:80", reaches: both },
  { name: "node to ClusterIP", from: "node", to: "tcp 10.96.0.7:80", reaches: both },
  {
    name: "Pod to ClusterIP keeps its address",
    from: "pod-b",
    to: "tcp 10.96.0.14:80",
    reaches: [podA],
    seenAs: podB,
    userspace: [podA],
  },
  { name: "Pod to itself through its Service", from: "pod-a", to: "tcp 10.96.0.14:80", reaches: [podA] },
  { name: "UDP to ClusterIP", from: "pod-b", to: "udp 10.96.0.15:80", reaches: both },
  { name: "UDP to NodePort", from: "outside", to: `udp ${node}:30085`, reaches: both },
  { name: "outside to NodePort", from: "outside", to: `tcp ${node}:30080`, reaches: both },
  { name: "node to its NodePort", from: "node", to: `tcp ${node}:30080`, reaches: both },
  { name: "node to its NodePort on loopback", from: "node", to: "tcp 127.0.0.1:30080", reaches: both },
  { name: "Pod to NodePort", from: "pod-b", to: `tcp ${node}:30080`, reaches: both },
  { name: "outside to an external IP", from: "outside", to: "tcp 192.168.99.22:80", reaches: both },
  {
    name: "policy Local: from outside to this node's Pods, address kept",
    from: "outside",
    to: `tcp ${node}:30081`,
    reaches: [podA],
    seenAs: outside,
    userspace: "unsupported",
  },
  {
    name: "policy Local: a Pod may use every endpoint",
    from: "pod-b",
    to: `tcp ${node}:30081`,
    reaches: everywhere,
  },
  {
    name: "policy Local: the node may use every endpoint",
    from: "node",
    to: `tcp ${node}:30081`,
    reaches: everywhere,
  },
  {
    name: "policy Local without a local endpoint drops what comes from outside",
    from: "outside",
    to: `tcp ${node}:30082`,
    reaches: "dropped",
    userspace: "unsupported",
  },
  { name: "a Service without endpoints refuses", from: "pod-b", to: "tcp 10.96.0.10:80", reaches: "refused" },
  {
    name: "a Service without endpoints refuses on its NodePort",
    from: "outside",
    to: `tcp ${node}:30083`,
    reaches: "refused",
  },
  {
    name: "internal policy Local reaches this node's Pods",
    from: "pod-b",
    to: "tcp 10.96.0.11:80",
    reaches: [podA],
  },
  {
    name: "internal policy Local without a local endpoint drops",
    from: "pod-b",
    to: "tcp 10.96.0.12:80",
    reaches: "dropped",
    userspace: "refused",
  },
  {
    name: "a load balancer address serves the ranges it is for",
    from: "outside",
    to: "tcp 192.168.99.50:80",
    reaches: [podA],
  },
  {
    name: "a load balancer address drops everybody else",
    from: "outside",
    to: "tcp 192.168.99.51:80",
    reaches: "dropped",
  },
  {
    name: "an address no Service has is refused to a Pod",
    from: "pod-b",
    to: "tcp 10.96.9.9:80",
    reaches: "refused",
  },
  {
    name: "an address no Service has is refused to the node",
    from: "node",
    to: "tcp 10.96.9.9:80",
    reaches: "refused",
  },
  {
    name: "a port the Service does not have is refused",
    from: "pod-b",
    to: "tcp 10.96.0.7:81",
    reaches: "refused",
  },
];

export function slice(name: string, ips: readonly string[], protocol = "TCP"): EndpointSlice {
  return {
    metadata: { namespace: "ns", name: `${name}-1`, labels: { "kubernetes.io/service-name": name } },
    addressType: "IPv4",
    ports: [{ name: "", port: 8080, protocol }],
    endpoints: ips.map((ip) => ({
      addresses: [ip],
      nodeName: ip === podC ? "node-2" : "node-1",
      conditions: { ready: true },
    })),
  };
}

/** The Service as it is once a load balancer has given it an address. */
function balanced(object: Service, ip: string): Service {
  return {
    ...object,
    spec: { ...object.spec, type: "LoadBalancer" },
    status: { loadBalancer: { ingress: [{ ip }] } },
  };
}

function service(
  name: string,
  clusterIP: string,
  what: { readonly nodePort?: number; readonly protocol?: string } & NonNullable<Service["spec"]>,
): Service {
  const { nodePort, protocol = "TCP", ...spec } = what;
  const port = { port: 80, protocol, ...(nodePort === undefined ? {} : { nodePort }) };
  return {
    metadata: { namespace: "ns", name },
    spec: {
      clusterIP,
      clusterIPs: [clusterIP],
      type: nodePort === undefined ? "ClusterIP" : "NodePort",
      ports: [port],
      ...spec,
    },
  };
}
