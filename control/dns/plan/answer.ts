import type { Endpoint, EndpointSlice, Service } from "#api/generated/kubernetes.ts";

/** Record types that the cluster has; every other type of a name that exists is an empty answer. */
export type DnsRecord =
  | { readonly type: "A" | "AAAA" | "CNAME" | "PTR"; readonly name: string; readonly data: string }
  | { readonly type: "TXT"; readonly name: string; readonly data: readonly string[] }
  | {
      readonly type: "SRV";
      readonly name: string;
      readonly data: {
        readonly port: number;
        readonly target: string;
        readonly priority: 0;
        readonly weight: number;
      };
    }
  | { readonly type: "SOA"; readonly name: string; readonly data: SoaData };

export interface SoaData {
  readonly mname: string;
  readonly rname: string;
  readonly serial: number;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  readonly minimum: number;
}

/** What a client asks. */
export interface DnsQuestion {
  readonly name: string;
  /** `A`, `SRV`, ... */
  readonly type: string;
}

/** What we know of a name. */
export type DnsAnswer =
  | {
      readonly state: "found";
      readonly records: readonly DnsRecord[];
      readonly additional: readonly DnsRecord[];
    }
  /** The name exists, this type of it does not (NODATA, RFC 2308 §2.2). */
  | { readonly state: "no-data" }
  /** No such name in the cluster (NXDOMAIN). */
  | { readonly state: "no-name" }
  /** An alias; where it leads is to be asked for. */
  | { readonly state: "alias"; readonly record: DnsRecord; readonly target: string }
  /** Not ours: other servers know. */
  | { readonly state: "foreign" };

/** What the cluster has, as DNS needs to look it up. */
export interface DnsView {
  /** `cluster.local`, in lower case. */
  readonly zone: string;
  hasNamespace(name: string): boolean;
  service(namespace: string, name: string): Service | undefined;
  slices(namespace: string, service: string): readonly EndpointSlice[];
  /** Names that an address leads back to, complete. */
  namesOf(ip: string): readonly string[];
  /** True for addresses of the cluster: what we do not know of them nobody does. */
  ownsAddress(ip: string): boolean;
}

/** Seconds that an answer may be kept. */
export const ttlSeconds = 5;
/** The version of the specification that these names follow (kubernetes/dns, docs/specification.md). */
const specification = "1.1.0";

/** Answers one question from the cluster's Services and their endpoints. Names are compared without case. */
export function answer(question: DnsQuestion, view: DnsView): DnsAnswer {
  const name = question.name.toLowerCase().replace(/\.$/, "");
  const type = question.type.toUpperCase();
  const reverse = addressOfReverse(name);
  if (reverse !== undefined) return answerReverse(name, reverse, type, view);
  if (name !== view.zone && !name.endsWith(`.${view.zone}`)) return { state: "foreign" };
  const labels = name === view.zone ? [] : name.slice(0, -view.zone.length - 1).split(".");
  const [kind, namespace, service, ...rest] = labels.toReversed();
  if (kind === undefined) {
    return type === "SOA"
      ? found([{ type: "SOA", name: view.zone, data: soa(view.zone) }])
      : { state: "no-data" };
  }
  if (kind === "dns-version" && namespace === undefined) {
    return type === "TXT" ? found([{ type: "TXT", name, data: [specification] }]) : { state: "no-data" };
  }
  if (kind === "pod") return answerPod(name, labels, type, view);
  if (kind !== "svc") return { state: "no-name" };
  if (namespace === undefined) return { state: "no-data" };
  if (service === undefined)
    return view.hasNamespace(namespace) ? { state: "no-data" } : { state: "no-name" };
  return answerService(name, type, { namespace, service, rest: rest.toReversed() }, view);
}

/** The record that says whose names these are; part of every answer that has nothing. */
export function soa(zone: string): SoaData {
  return {
    mname: `ns.dns.${zone}`,
    rname: `hostmaster.${zone}`,
    serial: 1,
    refresh: 7_200,
    retry: 1_800,
    expire: 86_400,
    minimum: ttlSeconds,
  };
}

interface ServiceName {
  readonly namespace: string;
  readonly service: string;
  /** What stands before the Service: nothing, an endpoint's name, or `_port._proto`. */
  readonly rest: readonly string[];
}

function answerService(name: string, type: string, of: ServiceName, view: DnsView): DnsAnswer {
  const service = view.service(of.namespace, of.service);
  if (service === undefined) return { state: "no-name" };
  const { spec = {} } = service;
  const full = `${of.service}.${of.namespace}.svc.${view.zone}`;
  if (spec.type === "ExternalName") {
    const target = (spec.externalName ?? "").toLowerCase().replace(/\.$/, "");
    if (of.rest.length > 0 || target === "") return { state: "no-name" };
    return { state: "alias", record: { type: "CNAME", name, data: target }, target };
  }
  const headless = spec.clusterIP === "None";
  const targets = headless ? endpointTargets(service, full, view) : clusterTargets(service, full);
  if (headless && targets.length === 0) return { state: "no-name" };
  const [first = "", second] = of.rest;
  if (of.rest.length === 0)
    return byType(
      name,
      type,
      targets,
      targets.flatMap((target) => target.ports),
    );
  if (of.rest.length === 2 && first.startsWith("_") && second?.startsWith("_") === true) {
    const wanted = (port: TargetPort): boolean => `_${port.name}` === first && `_${port.protocol}` === second;
    const ports = targets.flatMap((target) => target.ports.filter(wanted));
    if (ports.length === 0) return { state: "no-name" };
    return type === "SRV" || type === "ANY" ? srv(name, ports, targets) : { state: "no-data" };
  }
  const named =
    headless && of.rest.length === 1 ? targets.filter((target) => target.name === `${first}.${full}`) : [];
  if (named.length === 0) return { state: "no-name" };
  return byType(
    name,
    type,
    named,
    named.flatMap((target) => target.ports),
  );
}

interface TargetPort {
  readonly name: string;
  readonly protocol: string;
  readonly port: number;
  readonly target: string;
}

/** One address behind a name, and what SRV records say of it. */
interface Target {
  readonly name: string;
  readonly ip: string;
  readonly ports: readonly TargetPort[];
}

function clusterTargets(service: Service, full: string): readonly Target[] {
  const { clusterIP = "", clusterIPs = [clusterIP], ports = [] } = service.spec ?? {};
  return clusterIPs
    .filter((ip) => ip !== "")
    .map((ip, place) => ({
      name: full,
      ip,
      // Both families of one Service share a name: its ports are told once.
      ports: (place === 0 ? ports : []).map((port) => ({
        name: (port.name ?? "").toLowerCase(),
        protocol: (port.protocol ?? "TCP").toLowerCase(),
        port: port.port ?? 0,
        target: full,
      })),
    }));
}

function endpointTargets(service: Service, full: string, view: DnsView): readonly Target[] {
  const { namespace = "", name = "" } = service.metadata ?? {};
  const all = service.spec?.publishNotReadyAddresses === true;
  return view
    .slices(namespace, name)
    .flatMap((slice) =>
      (slice.endpoints ?? [])
        .filter((endpoint) => all || endpoint.conditions?.ready !== false)
        .flatMap((endpoint) => endpoint.addresses.map((ip) => endpointTarget(slice, endpoint, ip, full))),
    );
}

function endpointTarget(slice: EndpointSlice, endpoint: Endpoint, ip: string, full: string): Target {
  const name = `${endpointName(endpoint, ip)}.${full}`;
  const ports = (slice.ports ?? []).flatMap((port) =>
    port.port === undefined
      ? []
      : [
          {
            name: (port.name ?? "").toLowerCase(),
            protocol: (port.protocol ?? "TCP").toLowerCase(),
            port: port.port,
            target: name,
          },
        ],
  );
  return { name, ip, ports };
}

/** An endpoint's own label: its Pod's hostname, else its address with dashes. */
export function endpointName(endpoint: Endpoint, ip: string): string {
  const { hostname = "" } = endpoint;
  return hostname === "" ? ip.replace(/[.:]/g, "-") : hostname.toLowerCase();
}

function byType(
  name: string,
  type: string,
  targets: readonly Target[],
  ports: readonly TargetPort[],
): DnsAnswer {
  if (type === "SRV") return ports.length === 0 ? { state: "no-data" } : srv(name, ports, targets);
  const records = targets.map((target) => addressRecord(name, target.ip));
  const wanted = records.filter((record) => record.type === type || type === "ANY");
  return wanted.length === 0 ? { state: "no-data" } : found(wanted);
}

function srv(name: string, ports: readonly TargetPort[], targets: readonly Target[]): DnsAnswer {
  // Equal shares that add up to 100, as CoreDNS gives them.
  const weight = Math.max(1, Math.floor(100 / ports.length));
  const seen = new Set<string>();
  const records = ports.flatMap(({ port, target }): DnsRecord[] => {
    const key = `${port} ${target}`;
    if (seen.has(key)) return [];
    seen.add(key);
    return [{ type: "SRV", name, data: { port, target, priority: 0, weight } }];
  });
  const named = new Set(ports.map((port) => port.target));
  const additional = targets
    .filter((target) => named.has(target.name))
    .map((target) => addressRecord(target.name, target.ip));
  return { state: "found", records, additional };
}

function addressRecord(name: string, ip: string): DnsRecord {
  return { type: ip.includes(":") ? "AAAA" : "A", name, data: ip };
}

/** `10-244-1-9.<namespace>.pod.<zone>` is 10.244.1.9, as CoreDNS has it with `pods insecure`. */
function answerPod(name: string, labels: readonly string[], type: string, view: DnsView): DnsAnswer {
  const [dashed = "", namespace] =
    labels.length === 3 ? labels : ["", labels.length === 2 ? labels[0] : undefined];
  if (labels.length === 1) return { state: "no-data" };
  if (namespace === undefined || !view.hasNamespace(namespace)) return { state: "no-name" };
  if (dashed === "") return { state: "no-data" };
  const parts = dashed.split("-").map(Number);
  const isAddress =
    parts.length === 4 && parts.every((part) => Number.isInteger(part) && part >= 0 && part < 256);
  if (!isAddress || !/^[\d-]+$/.test(dashed)) return { state: "no-name" };
  return type === "A" || type === "ANY"
    ? found([{ type: "A", name, data: parts.join(".") }])
    : { state: "no-data" };
}

function answerReverse(name: string, ip: string, type: string, view: DnsView): DnsAnswer {
  const names = view.namesOf(ip);
  if (names.length === 0) return view.ownsAddress(ip) ? { state: "no-name" } : { state: "foreign" };
  return type === "PTR" || type === "ANY"
    ? found(names.map((data): DnsRecord => ({ type: "PTR", name, data })))
    : { state: "no-data" };
}

/** `9.1.244.10.in-addr.arpa` is 10.244.1.9. */
function addressOfReverse(name: string): string | undefined {
  const [, d, c, b, a] = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name) ?? [];
  return d === undefined ? undefined : `${a}.${b}.${c}.${d}`;
}

function found(records: readonly DnsRecord[]): DnsAnswer {
  return { state: "found", records, additional: [] };
}
