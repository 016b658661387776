import type { EndpointAddress, EndpointSubset, Endpoints, Service } from "#api/generated/kubernetes.ts";
import { canonicalJson, isSameJson } from "./same.ts";
import {
  familiesOf,
  headlessLabel,
  isHeadless,
  type PodEndpoint,
  triggerAnnotation,
} from "./service-endpoints.ts";

/** Addresses an Endpoints object holds at most; the rest is only in slices. */
const addressLimit = 1_000;
const overCapacity = "endpoints.kubernetes.io/over-capacity";
const managedByLabel = "endpoints.kubernetes.io/managed-by";

/** The Endpoints object of a Service as it is to be; undefined when the one that exists says it already. */
export function planEndpoints(
  service: Service,
  endpoints: readonly PodEndpoint[],
  existing: Endpoints | undefined,
  trigger: string,
): Endpoints | undefined {
  const [family] = familiesOf(service);
  const anyState = service.spec?.publishNotReadyAddresses === true;
  const shown = endpoints.filter((each) => each.family === family && (anyState || !each.terminating));
  const { [overCapacity]: _, ...annotations } = existing?.metadata?.annotations ?? {};
  const next: Endpoints = {
    ...existing,
    metadata: {
      ...(existing?.metadata ?? {
        name: service.metadata?.name ?? "",
        namespace: service.metadata?.namespace ?? "",
      }),
      labels: {
        ...service.metadata?.labels,
        [managedByLabel]: "endpoint-controller",
        ...(isHeadless(service) ? { [headlessLabel]: "" } : {}),
      },
      annotations: {
        ...annotations,
        [triggerAnnotation]: trigger,
        ...(shown.length > addressLimit ? { [overCapacity]: "truncated" } : {}),
      },
    },
    subsets: subsetsOf(shown.toSorted((a, b) => Number(b.ready) - Number(a.ready)).slice(0, addressLimit)),
  };
  const isSame =
    existing !== undefined &&
    isSameJson(
      [existing.subsets ?? [], existing.metadata?.labels, existing.metadata?.annotations?.[overCapacity]],
      [next.subsets, next.metadata?.labels, next.metadata?.annotations?.[overCapacity]],
    );
  return isSame ? undefined : next;
}

/** Addresses with the same ports together, in an order that does not change by itself. */
function subsetsOf(endpoints: readonly PodEndpoint[]): readonly EndpointSubset[] {
  const groups = Map.groupBy(endpoints, ({ ports }) => canonicalJson(ports));
  return [...groups]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([, members]) => {
      const ready = addressesOf(members.filter((each) => each.ready));
      const notReady = addressesOf(members.filter((each) => !each.ready));
      const ports = (members[0]?.ports ?? []).map(({ name, ...port }) =>
        name === "" ? port : { name, ...port },
      );
      return {
        ...(ready.length === 0 ? {} : { addresses: ready }),
        ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady }),
        ...(ports.length === 0 ? {} : { ports }),
      };
    });
}

function addressesOf(endpoints: readonly PodEndpoint[]): readonly EndpointAddress[] {
  return endpoints
    .map(({ ip, hostname, nodeName, targetRef }) => ({
      ip,
      ...(hostname === undefined ? {} : { hostname }),
      ...(nodeName === undefined ? {} : { nodeName }),
      targetRef,
    }))
    .toSorted((a, b) => (a.ip < b.ip ? -1 : a.ip > b.ip ? 1 : 0));
}
