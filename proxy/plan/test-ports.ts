import type { Endpoint, ServicePort } from "../model.ts";

/** A port for tests: one Service of TCP port 80 without endpoints, with what differs. */
export function testPort(name: string, what: Partial<ServicePort> = {}): ServicePort {
  return {
    service: name.split(":")[0] ?? name,
    name,
    family: 4,
    protocol: "tcp",
    clusterIp: "172.30.0.41",
    port: 80,
    nodePort: 0,
    externalIps: [],
    loadBalancerIps: [],
    sourceRanges: [],
    healthCheckNodePort: 0,
    internalLocal: false,
    externalLocal: false,
    affinitySeconds: 0,
    endpoints: [],
    ...what,
  };
}

/** A ready endpoint on another node, with what differs. */
export function testEndpoint(ip: string, port: number, what: Partial<Endpoint> = {}): Endpoint {
  return {
    ip,
    port,
    local: false,
    ready: true,
    serving: true,
    terminating: false,
    nodeHints: [],
    zoneHints: [],
    ...what,
  };
}
