import type { Pod, PodAffinityTerm } from "#api/generated/kubernetes.ts";
import { type Labels, matches, type Requirement, requirementsOf } from "#api/selectors.ts";
import type { NodeInfo } from "./node-info.ts";

/** What affinity needs to know besides the nodes. */
export interface AffinityWorld {
  readonly nodes: readonly NodeInfo[];
  readonly namespaceLabels: (namespace: string) => Labels;
}

/** Why a node is refused by the rules about other pods; undefined when it is not. */
export type AffinityFilter = (info: NodeInfo) => string | undefined;

/** Reads the pods of all nodes once, and returns the check for one node. */
export function affinityFilter(pod: Pod, world: AffinityWorld): AffinityFilter {
  const wanted = pod.spec?.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const unwanted = pod.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const existing = domainsRefusing(pod, world);
  if (wanted.length + unwanted.length === 0 && existing.size === 0) return () => undefined;
  const near = wanted.map((term) => ({ term, domains: domainsWith(term, pod, world) }));
  const far = unwanted.map((term) => ({ term, domains: domainsWith(term, pod, world) }));
  // The first pod of a group that wants to be with its own kind has nobody to join yet.
  const mayBeFirst =
    near.every(({ domains }) => domains.size === 0) &&
    near.every(({ term }) => termMatches(term, pod, pod, world.namespaceLabels));
  return (info) => {
    const labels = info.node.metadata?.labels ?? {};
    const isIn = (term: PodAffinityTerm, domains: ReadonlySet<string>): boolean =>
      domains.has(labels[term.topologyKey] ?? "\0");
    if (near.some(({ term }) => labels[term.topologyKey] === undefined))
      return "node(s) didn't match pod affinity rules";
    if (!mayBeFirst && !near.every(({ term, domains }) => isIn(term, domains)))
      return "node(s) didn't match pod affinity rules";
    if (far.some(({ term, domains }) => isIn(term, domains)))
      return "node(s) didn't match pod anti-affinity rules";
    if (Object.entries(labels).some(([key, value]) => existing.has(`${key}=${value}`)))
      return "node(s) didn't satisfy existing pods anti-affinity rules";
    return undefined;
  };
}

/** Preferred terms, for and against, added up for each node. */
export function affinityWeight(pod: Pod, world: AffinityWorld): (info: NodeInfo) => number {
  const wanted = pod.spec?.affinity?.podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const unwanted = pod.spec?.affinity?.podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  if (wanted.length + unwanted.length === 0) return () => 0;
  const terms = [
    ...wanted.map(({ weight, podAffinityTerm }) => ({ weight, term: podAffinityTerm })),
    ...unwanted.map(({ weight, podAffinityTerm }) => ({ weight: -weight, term: podAffinityTerm })),
  ].map(({ weight, term }) => ({ weight, term, domains: domainsWith(term, pod, world) }));
  return (info) =>
    terms
      .filter(({ term, domains }) => domains.has(info.node.metadata?.labels?.[term.topologyKey] ?? "\0"))
      .reduce((sum, { weight }) => sum + weight, 0);
}

/** The values of the term's topology label where a pod is that the term means. */
function domainsWith(term: PodAffinityTerm, owner: Pod, world: AffinityWorld): ReadonlySet<string> {
  const domains = new Set<string>();
  for (const info of world.nodes) {
    const domain = info.node.metadata?.labels?.[term.topologyKey];
    if (domain === undefined || domains.has(domain)) continue;
    for (const other of info.pods.values()) {
      if (!termMatches(term, owner, other, world.namespaceLabels)) continue;
      domains.add(domain);
      break;
    }
  }
  return domains;
}

/** `topologyKey=value` of every domain where a pod is that refuses to be with this one. */
function domainsRefusing(pod: Pod, world: AffinityWorld): ReadonlySet<string> {
  const domains = new Set<string>();
  for (const info of world.nodes) {
    for (const other of info.withAffinity) {
      for (const term of other.spec?.affinity?.podAntiAffinity
        ?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
        const domain = info.node.metadata?.labels?.[term.topologyKey];
        if (domain !== undefined && termMatches(term, other, pod, world.namespaceLabels))
          domains.add(`${term.topologyKey}=${domain}`);
      }
    }
  }
  return domains;
}

function termMatches(
  term: PodAffinityTerm,
  owner: Pod,
  other: Pod,
  namespaceLabels: (namespace: string) => Labels,
): boolean {
  if (term.labelSelector === undefined || other.metadata?.deletionTimestamp !== undefined) return false;
  const namespace = other.metadata?.namespace ?? "";
  const named = term.namespaces ?? [];
  const selected =
    term.namespaceSelector !== undefined &&
    matches(requirementsOf(term.namespaceSelector), namespaceLabels(namespace));
  const isOwn =
    named.length === 0 && term.namespaceSelector === undefined && namespace === owner.metadata?.namespace;
  if (!isOwn && !selected && !named.includes(namespace)) return false;
  return matches(
    [...requirementsOf(term.labelSelector), ...keyRequirements(term, owner)],
    other.metadata?.labels,
  );
}

/** `matchLabelKeys` take their values from the pod that has the rule. */
function keyRequirements(term: PodAffinityTerm, owner: Pod): readonly Requirement[] {
  const labels = owner.metadata?.labels ?? {};
  const requirement =
    (operator: "in" | "notin") =>
    (key: string): readonly Requirement[] => {
      const value = labels[key];
      return value === undefined ? [] : [{ key, operator, values: [value] }];
    };
  return [
    ...(term.matchLabelKeys ?? []).flatMap(requirement("in")),
    ...(term.mismatchLabelKeys ?? []).flatMap(requirement("notin")),
  ];
}
