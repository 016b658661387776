import { isDeepStrictEqual } from "node:util";
import type { Container, Pod, ResourceRequirements } from "#api/generated/kubernetes.ts";
import { amountsOf } from "#api/pod-requests.ts";
import type { ContainerStatus } from "../runtime/runtime.ts";
import { annotation } from "./names.ts";

/** What a container or a Pod as a whole may have of CPU and memory, as Kubernetes writes it. */
export type Resources = Pick<ResourceRequirements, "limits" | "requests">;

/** What the node has granted to one Pod: it holds until a resize is granted (KEP-1287, KEP-5419). */
export interface Allocation {
  /** For the Pod as a whole; undefined when it asks for nothing of the kind. */
  readonly pod: Resources | undefined;
  /** By container name, init containers too. */
  readonly containers: Readonly<Record<string, Resources>>;
}

/** What a Pod's spec asks for. */
export function allocationOf(pod: Pod): Allocation {
  const all = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  return {
    pod: pod.spec?.resources === undefined ? undefined : plain(pod.spec.resources),
    containers: Object.fromEntries(all.map(({ name, resources }) => [name, plain(resources)])),
  };
}

/**
 * What a Pod was granted that an earlier agent began, told by its containers; what none of them tells is as its spec
 * says.
 */
export function begunAllocation(pod: Pod, containers: readonly ContainerStatus[]): Allocation {
  const asked = allocationOf(pod);
  const begun = containers
    .toSorted((a, b) => a.attempt - b.attempt)
    .flatMap((container): [string, Resources][] => {
      const told = containerResourcesAtStart(container);
      return told === undefined || asked.containers[container.name] === undefined
        ? []
        : [[container.name, told]];
    });
  return { ...asked, containers: { ...asked.containers, ...Object.fromEntries(begun) } };
}

/** The Pod with what it was granted in place of what it asks for. A container that is not in it stays as it is. */
export function allocatedPod(pod: Pod, allocation: Allocation): Pod {
  if (pod.spec === undefined || sameAllocation(allocationOf(pod), allocation)) return pod;
  const granted = (container: Container): Container => {
    const resources = allocation.containers[container.name];
    return resources === undefined
      ? container
      : { ...container, resources: { ...claimsOf(container.resources), ...resources } };
  };
  const { initContainers, containers, resources, ...spec } = pod.spec;
  return {
    ...pod,
    spec: {
      ...spec,
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(granted) }),
      containers: containers.map(granted),
      ...(resources === undefined ? {} : { resources: { ...resources, ...allocation.pod } }),
    },
  };
}

/** Whether two allocations mean the same: `1` is `1000m`. Containers that only one of them has count. */
export function sameAllocation(a: Allocation, b: Allocation): boolean {
  const names = new Set([...Object.keys(a.containers), ...Object.keys(b.containers)]);
  return (
    sameResources(a.pod ?? {}, b.pod ?? {}) &&
    [...names].every((name) => sameResources(a.containers[name] ?? {}, b.containers[name] ?? {}))
  );
}

/** Whether two requirements mean the same amounts. */
export function sameResources(a: Resources, b: Resources): boolean {
  return (
    isDeepStrictEqual(amountsOf(a.limits), amountsOf(b.limits)) &&
    isDeepStrictEqual(amountsOf(a.requests), amountsOf(b.requests))
  );
}

/** What the container was made with, from its annotation; undefined when another agent made it or it is spoilt. */
export function containerResourcesAtStart(container: ContainerStatus): Resources | undefined {
  const text = container.annotations[annotation.resources];
  if (text === undefined) return undefined;
  try {
    return parseResources(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** @returns undefined for what is not a pair of lists of quantities. */
export function parseResources(value: unknown): Resources | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const limits = "limits" in value ? quantities(value.limits) : {};
  const requests = "requests" in value ? quantities(value.requests) : {};
  if (limits === undefined || requests === undefined) return undefined;
  return plain({ limits, requests });
}

/** Only amounts, without empty lists and claims. */
export function plain(resources: ResourceRequirements | undefined): Resources {
  const { limits = {}, requests = {} } = resources ?? {};
  return {
    ...(Object.keys(limits).length === 0 ? {} : { limits }),
    ...(Object.keys(requests).length === 0 ? {} : { requests }),
  };
}

function claimsOf(resources: ResourceRequirements | undefined): Pick<ResourceRequirements, "claims"> {
  return resources?.claims === undefined ? {} : { claims: resources.claims };
}

function quantities(value: unknown): Record<string, string> | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const pairs = Object.entries(value).flatMap(([name, text]: [string, unknown]): [string, string][] =>
    typeof text === "string" ? [[name, text]] : [],
  );
  if (pairs.length !== Object.keys(value).length) return undefined;
  const list = Object.fromEntries(pairs);
  try {
    amountsOf(list);
    return list;
  } catch {
    return undefined; // not a quantity
  }
}
