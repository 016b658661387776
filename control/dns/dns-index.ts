import type { EndpointSlice, Namespace, Service } from "#api/generated/kubernetes.ts";
import { keyText } from "#api/meta.ts";
import type { Source } from "../auth/rbac-rules.ts";
import { type Ipv4Range, parseIpv4 } from "../allocators/plan/ipv4-range.ts";
import { type DnsView, endpointName } from "./plan/answer.ts";

/** What the names are made from. */
export interface DnsSources {
  readonly namespaces: Source<Namespace>;
  readonly services: Source<Service>;
  readonly endpointSlices: Source<EndpointSlice>;
}

/** Looked up by question, kept up to date change by change. */
export class DnsIndex implements DnsView {
  readonly zone: string;
  readonly #sources: DnsSources;
  readonly #ranges: readonly Ipv4Range[];
  /** `namespace/service` -> its slices by key. */
  readonly #slices = new Map<string, Map<string, EndpointSlice>>();
  /** Address -> keys of the Services that have it. */
  readonly #services = new Map<string, Set<string>>();
  /** Address -> keys of the slices that have it. */
  readonly #endpoints = new Map<string, Set<string>>();

  /** @param ranges the cluster's own addresses. */
  constructor(zone: string, sources: DnsSources, ranges: readonly Ipv4Range[]) {
    this.zone = zone.toLowerCase();
    this.#sources = sources;
    this.#ranges = ranges;
    sources.services.subscribe((key, now, before) => {
      change(this.#services, key, clusterIps(now), clusterIps(before));
    });
    sources.endpointSlices.subscribe((key, now, before) => {
      change(this.#endpoints, key, sliceIps(now), sliceIps(before));
      if (before !== undefined) this.#dropSlice(key, before);
      if (now !== undefined) this.#addSlice(key, now);
    });
  }

  hasNamespace(name: string): boolean {
    return this.#sources.namespaces.get(name) !== undefined;
  }

  service(namespace: string, name: string): Service | undefined {
    return this.#sources.services.get(keyText({ namespace, name }));
  }

  slices(namespace: string, service: string): readonly EndpointSlice[] {
    return [...(this.#slices.get(`${namespace}/${service}`)?.values() ?? [])];
  }

  namesOf(ip: string): readonly string[] {
    const names = new Set<string>();
    for (const key of this.#services.get(ip) ?? []) {
      const [namespace = "", name = ""] = key.split("/");
      names.add(`${name}.${namespace}.svc.${this.zone}`);
    }
    if (names.size > 0) return [...names];
    for (const key of this.#endpoints.get(ip) ?? []) {
      const slice = this.#sources.endpointSlices.get(key);
      const namespace = slice?.metadata?.namespace ?? "";
      const name = serviceOf(slice);
      if (this.service(namespace, name)?.spec?.clusterIP !== "None") continue;
      for (const endpoint of slice?.endpoints ?? []) {
        if (endpoint.addresses.includes(ip)) {
          names.add(`${endpointName(endpoint, ip)}.${name}.${namespace}.svc.${this.zone}`);
        }
      }
    }
    return [...names];
  }

  ownsAddress(ip: string): boolean {
    const number = parseIpv4(ip);
    return (
      number !== undefined && this.#ranges.some(({ base, size }) => number >= base && number < base + size)
    );
  }

  #addSlice(key: string, slice: EndpointSlice): void {
    const owner = ownerOf(slice);
    const slices = this.#slices.get(owner) ?? new Map<string, EndpointSlice>();
    this.#slices.set(owner, slices.set(key, slice));
  }

  #dropSlice(key: string, slice: EndpointSlice): void {
    const owner = ownerOf(slice);
    const slices = this.#slices.get(owner);
    slices?.delete(key);
    if (slices?.size === 0) this.#slices.delete(owner);
  }
}

function change(
  index: Map<string, Set<string>>,
  key: string,
  now: readonly string[],
  before: readonly string[],
): void {
  for (const ip of before) {
    const keys = index.get(ip);
    keys?.delete(key);
    if (keys?.size === 0) index.delete(ip);
  }
  for (const ip of now) index.set(ip, (index.get(ip) ?? new Set()).add(key));
}

function clusterIps(service: Service | undefined): readonly string[] {
  const { clusterIP = "", clusterIPs = [clusterIP] } = service?.spec ?? {};
  return clusterIPs.filter((ip) => ip !== "" && ip !== "None");
}

function sliceIps(slice: EndpointSlice | undefined): readonly string[] {
  return [...new Set((slice?.endpoints ?? []).flatMap((endpoint) => endpoint.addresses))];
}

const serviceOf = (slice: EndpointSlice | undefined): string =>
  slice?.metadata?.labels?.["kubernetes.io/service-name"] ?? "";
const ownerOf = (slice: EndpointSlice): string => `${slice.metadata?.namespace ?? ""}/${serviceOf(slice)}`;
