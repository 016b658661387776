import type { Endpoint, EndpointSlice, Service } from "#api/generated/kubernetes.ts";
import { services } from "#api/resources.ts";
import { controllerReference } from "./owners.ts";
import { canonicalJson, isSameJson } from "./same.ts";
import {
  type EndpointPortValue,
  familiesOf,
  headlessLabel,
  isHeadless,
  type PodEndpoint,
  triggerAnnotation,
} from "./service-endpoints.ts";

/** Endpoints in one slice at most. */
export const sliceLimit = 100;
export const serviceNameLabel = "kubernetes.io/service-name";
export const managedByLabel = "endpointslice.kubernetes.io/managed-by";
export const sliceManager = "endpointslice-controller.k8s.io";

/** What brings the slices of a Service up to date, in the order it is written. */
export interface SlicePlan {
  readonly create: readonly EndpointSlice[];
  readonly update: readonly EndpointSlice[];
  readonly delete: readonly EndpointSlice[];
}

/**
 * Endpoints stay in the slice they are in, so that a change of one pod rewrites one slice.
 * @param existing the slices of this Service that we manage.
 * @param zoneOf the zone of a node, by its label.
 */
export function planSlices(
  service: Service,
  endpoints: readonly PodEndpoint[],
  existing: readonly EndpointSlice[],
  zoneOf: (node: string) => string | undefined,
  trigger: string,
): SlicePlan {
  const create: EndpointSlice[] = [];
  const update: EndpointSlice[] = [];
  const kept = new Set<EndpointSlice>();
  for (const group of groupsOf(service, endpoints)) {
    const wanted = new Map(
      group.endpoints.map((endpoint) => [identity(endpoint), toEndpoint(endpoint, zoneOf)] as const),
    );
    const drafts = existing
      .filter((slice) => groupKeyOf(slice) === group.key)
      .map((slice) => ({ slice, endpoints: takeKept(slice, wanted) }));
    const rest = [...wanted.values()];
    for (const draft of drafts) draft.endpoints.push(...rest.splice(0, sliceLimit - draft.endpoints.length));
    const [first] = drafts;
    for (const draft of drafts) {
      // An empty slice goes, unless it is all that shows the Service has been looked at.
      if (draft.endpoints.length === 0 && !(group.isPlaceholder && draft === first)) continue;
      kept.add(draft.slice);
      const next = sliceWith(service, group, draft.endpoints, trigger, draft.slice);
      if (!isSameSlice(draft.slice, next)) update.push(next);
    }
    if (drafts.length === 0 && rest.length === 0) create.push(sliceWith(service, group, [], trigger));
    while (rest.length > 0) create.push(sliceWith(service, group, rest.splice(0, sliceLimit), trigger));
  }
  return { create, update, delete: existing.filter((slice) => !kept.has(slice)) };
}

interface Group {
  readonly key: string;
  readonly family: "IPv4" | "IPv6";
  readonly ports: readonly EndpointPortValue[];
  readonly endpoints: readonly PodEndpoint[];
  /** Nobody is behind the Service in this family; one empty slice says so. */
  readonly isPlaceholder: boolean;
}

/** Endpoints by family and by the ports they serve. */
function groupsOf(service: Service, endpoints: readonly PodEndpoint[]): readonly Group[] {
  return familiesOf(service).flatMap((family): readonly Group[] => {
    const ofFamily = endpoints.filter((endpoint) => endpoint.family === family);
    if (ofFamily.length === 0) {
      return [{ key: groupKey(family, []), family, ports: [], endpoints: [], isPlaceholder: true }];
    }
    const groups = Map.groupBy(ofFamily, ({ ports }) => groupKey(family, ports));
    return [...groups].map(([key, members]) => ({
      key,
      family,
      ports: members[0]?.ports ?? [],
      endpoints: members,
      isPlaceholder: false,
    }));
  });
}

function groupKey(family: string, ports: readonly EndpointPortValue[]): string {
  return `${family} ${canonicalJson(ports.toSorted((a, b) => (a.name < b.name ? -1 : 1)))}`;
}

function groupKeyOf(slice: EndpointSlice): string {
  const ports = (slice.ports ?? []).map((port) => ({
    name: port.name ?? "",
    port: port.port ?? 0,
    protocol: port.protocol ?? "TCP",
    ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
  }));
  return groupKey(slice.addressType, ports);
}

/** Takes the endpoints that are in this slice already out of `wanted`, as they are to be. */
function takeKept(slice: EndpointSlice, wanted: Map<string, Endpoint>): Endpoint[] {
  return (slice.endpoints ?? []).flatMap((endpoint) => {
    const key = `${endpoint.targetRef?.uid ?? ""} ${endpoint.addresses[0] ?? ""}`;
    const next = wanted.get(key);
    wanted.delete(key);
    return next === undefined ? [] : [next];
  });
}

function identity(endpoint: PodEndpoint): string {
  return `${endpoint.targetRef.uid ?? ""} ${endpoint.ip}`;
}

function toEndpoint(endpoint: PodEndpoint, zoneOf: (node: string) => string | undefined): Endpoint {
  const zone = endpoint.nodeName === undefined ? undefined : zoneOf(endpoint.nodeName);
  return {
    addresses: [endpoint.ip],
    conditions: { ready: endpoint.ready, serving: endpoint.serving, terminating: endpoint.terminating },
    targetRef: endpoint.targetRef,
    ...(endpoint.hostname === undefined ? {} : { hostname: endpoint.hostname }),
    ...(endpoint.nodeName === undefined ? {} : { nodeName: endpoint.nodeName }),
    ...(zone === undefined ? {} : { zone }),
  };
}

function sliceWith(
  service: Service,
  group: Group,
  endpoints: readonly Endpoint[],
  trigger: string,
  before?: EndpointSlice,
): EndpointSlice {
  const name = service.metadata?.name ?? "";
  return {
    ...before,
    metadata: {
      ...(before?.metadata ?? { generateName: `${name}-`, namespace: service.metadata?.namespace ?? "" }),
      labels: {
        ...service.metadata?.labels,
        [serviceNameLabel]: name,
        [managedByLabel]: sliceManager,
        ...(isHeadless(service) ? { [headlessLabel]: "" } : {}),
      },
      annotations: { ...before?.metadata?.annotations, [triggerAnnotation]: trigger },
      ownerReferences: [controllerReference(services, service)],
    },
    addressType: group.family,
    endpoints,
    ports: group.ports,
  };
}

/** The trigger time alone is no reason to write. */
function isSameSlice(a: EndpointSlice, b: EndpointSlice): boolean {
  return isSameJson(
    [a.metadata?.labels, a.metadata?.ownerReferences, a.endpoints ?? []],
    [b.metadata?.labels, b.metadata?.ownerReferences, b.endpoints ?? []],
  );
}
