import { isIP } from "node:net";
import type { EndpointSlice, Service, ServicePort as ApiPort } from "#api/generated/kubernetes.ts";
import { type Endpoint, type Family, hostPort, type Protocol, type ServicePort } from "../model.ts";

const defaultAffinitySeconds = 10_800;

/**
 * What one Service asks of the node in one family.
 * @param slices every EndpointSlice that names the Service.
 * @returns no ports for a Service that a proxy has nothing to do for: headless, ExternalName, another proxy's,
 *   or one without an address in this family.
 */
export function servicePorts(
  service: Service,
  slices: readonly EndpointSlice[],
  family: Family,
  nodeName: string,
): readonly ServicePort[] {
  const spec = service.spec;
  const clusterIp = clusterIpOf(service, family);
  if (spec === undefined || clusterIp === undefined || !isOurs(service)) return [];
  const key = `${service.metadata?.namespace ?? ""}/${service.metadata?.name ?? ""}`;
  const ofFamily = (ip: string | undefined): ip is string => ip !== undefined && isIP(ip) === family;
  const base = {
    service: key,
    family,
    clusterIp,
    externalIps: (spec.externalIPs ?? []).filter(ofFamily),
    loadBalancerIps: (service.status?.loadBalancer?.ingress ?? [])
      .filter((ingress) => ingress.ipMode !== "Proxy")
      .map((ingress) => ingress.ip)
      .filter(ofFamily),
    sourceRanges: sourceRangesOf(service).filter((range) => ofFamily(range.split("/")[0])),
    healthCheckNodePort: spec.externalTrafficPolicy === "Local" ? (spec.healthCheckNodePort ?? 0) : 0,
    internalLocal: spec.internalTrafficPolicy === "Local",
    externalLocal: spec.externalTrafficPolicy === "Local",
    affinitySeconds:
      spec.sessionAffinity === "ClientIP"
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds)
        : 0,
  };
  return (spec.ports ?? []).flatMap((port) => {
    const protocol = protocolOf(port.protocol);
    if (protocol === undefined) return [];
    return [
      {
        ...base,
        name: port.name === undefined || port.name === "" ? key : `${key}:${port.name}`,
        protocol,
        port: port.port,
        nodePort: port.nodePort ?? 0,
        endpoints: endpointsOf(port, protocol, slices, family, nodeName),
      },
    ];
  });
}

/** The key `namespace/name` of the Service a slice belongs to; undefined when it belongs to none. */
export function serviceOfSlice(slice: EndpointSlice): string | undefined {
  const name = slice.metadata?.labels?.["kubernetes.io/service-name"];
  return name === undefined || name === "" ? undefined : `${slice.metadata?.namespace ?? ""}/${name}`;
}

function isOurs(service: Service): boolean {
  return (
    service.spec?.type !== "ExternalName" &&
    service.metadata?.labels?.["service.kubernetes.io/service-proxy-name"] === undefined
  );
}

function clusterIpOf(service: Service, family: Family): string | undefined {
  const ips = service.spec?.clusterIPs ?? [service.spec?.clusterIP ?? ""];
  return ips.find((ip) => isIP(ip) === family); // "None" and "" are no addresses
}

/** The field, or the annotation that came before it. */
function sourceRangesOf(service: Service): readonly string[] {
  const field = service.spec?.loadBalancerSourceRanges;
  if (field !== undefined && field.length > 0) return field.map((range) => range.trim());
  const annotation =
    service.metadata?.annotations?.["service.beta.kubernetes.io/load-balancer-source-ranges"];
  return (annotation ?? "")
    .split(",")
    .map((range) => range.trim())
    .filter((range) => range !== "");
}

function protocolOf(protocol: string | undefined): Protocol | undefined {
  const lower = (protocol ?? "TCP").toLowerCase();
  return lower === "tcp" || lower === "udp" || lower === "sctp" ? lower : undefined;
}

function endpointsOf(
  port: ApiPort,
  protocol: Protocol,
  slices: readonly EndpointSlice[],
  family: Family,
  nodeName: string,
): readonly Endpoint[] {
  const byAddress = new Map<string, Endpoint>();
  for (const slice of slices) {
    if (slice.addressType !== `IPv${family}`) continue;
    const numbers = (slice.ports ?? []).filter(
      (candidate) =>
        (candidate.name ?? "") === (port.name ?? "") && protocolOf(candidate.protocol) === protocol,
    );
    for (const { port: number } of numbers) {
      if (number === undefined) continue;
      for (const item of slice.endpoints ?? []) {
        // Only the first address counts: the API gives the others no meaning.
        const ip = item.addresses[0];
        if (ip === undefined || isIP(ip) !== family) continue;
        const endpoint: Endpoint = {
          ip,
          port: number,
          local: item.nodeName === nodeName,
          ready: item.conditions?.ready ?? true,
          serving: item.conditions?.serving ?? item.conditions?.ready ?? true,
          terminating: item.conditions?.terminating ?? false,
          nodeHints: (item.hints?.forNodes ?? []).map((hint) => hint.name),
          zoneHints: (item.hints?.forZones ?? []).map((hint) => hint.name),
        };
        const address = hostPort(ip, number);
        const known = byAddress.get(address);
        // The same address in two slices while it moves between them: the one that says more wins.
        if (known === undefined || weight(endpoint) > weight(known)) byAddress.set(address, endpoint);
      }
    }
  }
  return [...byAddress].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, endpoint]) => endpoint);
}

function weight(endpoint: Endpoint): number {
  return (endpoint.local ? 4 : 0) + (endpoint.ready ? 2 : 0) + (endpoint.serving ? 1 : 0);
}
