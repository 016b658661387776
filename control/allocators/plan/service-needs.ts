import type { Service, ServicePort, ServiceSpec } from "#api/generated/kubernetes.ts";

/** A Service before its addresses and ports are given: what it keeps from before is already in it. */
export interface ServiceNeeds {
  readonly spec: ServiceSpec;
  readonly clusterIp:
    | { readonly state: "none" }
    | { readonly state: "headless" }
    | { readonly state: "asked"; readonly ip: string }
    | { readonly state: "any" };
  /** Places in `spec.ports` that need a node port; the others have one or want none. */
  readonly nodePorts: readonly number[];
  readonly healthCheck: boolean;
}

/**
 * What a Service needs: addresses and ports that a client left out of an update are kept, those that its type
 * no longer has are dropped.
 * @param before the Service as it was; undefined when it is new.
 */
export function serviceNeeds(service: Service, before: Service | undefined): ServiceNeeds {
  const given = service.spec ?? {};
  const old = before?.spec;
  const type = given.type ?? "ClusterIP";
  if (type === "ExternalName") return externalName(given, old);
  const kept = keepFromBefore({ ...given, type }, old);
  const wantsPorts =
    type === "NodePort" || (type === "LoadBalancer" && kept.allocateLoadBalancerNodePorts !== false);
  const ports = (kept.ports ?? []).map((port) =>
    wantsPorts || type === "LoadBalancer" ? port : dropNodePort(port, old),
  );
  const spec: ServiceSpec = { ...kept, ...(kept.ports === undefined ? {} : { ports }) };
  const nodePorts = wantsPorts
    ? ports.flatMap((port, place) => ((port.nodePort ?? 0) === 0 ? [place] : []))
    : [];
  const checked = type === "LoadBalancer" && spec.externalTrafficPolicy === "Local";
  return {
    spec: checked ? spec : without(spec, "healthCheckNodePort"),
    clusterIp: addressNeed(spec),
    nodePorts,
    healthCheck: checked && (spec.healthCheckNodePort ?? 0) === 0,
  };
}

function addressNeed(spec: ServiceSpec): ServiceNeeds["clusterIp"] {
  const ip = spec.clusterIP ?? "";
  const asked = ip === "" ? (spec.clusterIPs?.[0] ?? "") : ip;
  if (asked === "None") return { state: "headless" };
  return asked === "" ? { state: "any" } : { state: "asked", ip: asked };
}

function externalName(given: ServiceSpec, old: ServiceSpec | undefined): ServiceNeeds {
  // An update that only changes the type still carries the addresses of before; those go. Others are the
  // user's wish, and validation refuses them.
  const same = (given.clusterIP ?? "") === (old?.clusterIP ?? "");
  const bare = same ? without(given, "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy") : given;
  const spec = without(bare, "healthCheckNodePort");
  const ports = spec.ports?.map((port) => dropNodePort(port, old));
  return {
    spec: ports === undefined ? spec : { ...spec, ports },
    clusterIp: { state: "none" },
    nodePorts: [],
    healthCheck: false,
  };
}

function keepFromBefore(given: ServiceSpec, old: ServiceSpec | undefined): ServiceSpec {
  if (old === undefined || old.type === "ExternalName") return given;
  const keepsAddress = (given.clusterIP ?? "") === "" && (given.clusterIPs?.[0] ?? "") === "";
  const ports = given.ports?.map((port) => {
    if ((port.nodePort ?? 0) !== 0) return port;
    const same = old.ports?.find((one) => one.port === port.port && protocolOf(one) === protocolOf(port));
    return same?.nodePort === undefined ? port : { ...port, nodePort: same.nodePort };
  });
  return {
    ...given,
    ...(keepsAddress && old.clusterIP !== undefined ? { clusterIP: old.clusterIP } : {}),
    ...(keepsAddress && old.clusterIPs !== undefined ? { clusterIPs: old.clusterIPs } : {}),
    ...(given.healthCheckNodePort === undefined && old.healthCheckNodePort !== undefined
      ? { healthCheckNodePort: old.healthCheckNodePort }
      : {}),
    ...(ports === undefined ? {} : { ports }),
  };
}

/** A node port of before goes with the type that had it; one the user asks for stays for validation to refuse. */
function dropNodePort(port: ServicePort, old: ServiceSpec | undefined): ServicePort {
  const mine = port.nodePort ?? 0;
  const kept = mine !== 0 && !(old?.ports ?? []).some((one) => one.nodePort === mine);
  return kept ? port : without(port, "nodePort");
}

function protocolOf(port: ServicePort): string {
  return port.protocol ?? "TCP";
}

function without<T extends object, K extends keyof T>(from: T, ...keys: readonly K[]): Omit<T, K> & T {
  return Object.fromEntries(Object.entries(from).filter(([key]) => !keys.some((one) => one === key))) as Omit<
    T,
    K
  > &
    T;
}
