import type { ResourceDefinition } from "../../../model.ts";
import { groupsOf } from "./groups.ts";
import { subresourceKind } from "./subresource-kinds.ts";

/** `apidiscovery.k8s.io` APIGroupDiscoveryList; the two versions differ in name only. */
export interface ApiGroupDiscoveryList {
  readonly kind: "APIGroupDiscoveryList";
  readonly apiVersion: string;
  readonly metadata: Readonly<Record<string, never>>;
  readonly items: readonly ApiGroupDiscovery[];
}

export interface ApiGroupDiscovery {
  readonly metadata: { readonly name?: string; readonly creationTimestamp: null };
  readonly versions: readonly {
    readonly version: string;
    readonly freshness: "Current" | "Stale";
    readonly resources: readonly DiscoveredResource[];
  }[];
}

export interface DiscoveredKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

export interface DiscoveredResource {
  readonly resource: string;
  readonly responseKind: DiscoveredKind;
  readonly scope: "Namespaced" | "Cluster";
  readonly singularResource: string;
  readonly verbs: readonly string[];
  readonly shortNames?: readonly string[];
  readonly categories?: readonly string[];
  readonly subresources?: readonly {
    readonly subresource: string;
    readonly responseKind: DiscoveredKind;
    readonly verbs: readonly string[];
  }[];
}

/**
 * What `/api` (the core group) or `/apis` (the others) answer to clients that ask for everything at once.
 * @param version the one the client accepts; v2beta1 is for kubectl before 1.30.
 */
export function aggregatedDiscovery(
  resources: readonly ResourceDefinition[],
  root: "api" | "apis",
  version: "v2" | "v2beta1",
): ApiGroupDiscoveryList {
  return {
    kind: "APIGroupDiscoveryList",
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groupsOf(resources)
      .filter(({ name }) => (name === "") === (root === "api"))
      .map(({ name, versions }) => ({
        metadata: { ...(name === "" ? {} : { name }), creationTimestamp: null },
        versions: versions.map((each) => ({
          version: each,
          freshness: "Current",
          resources: resources
            .filter((resource) => resource.group === name && resource.version === each)
            .map(discovered),
        })),
      })),
  };
}

function discovered(of: ResourceDefinition): DiscoveredResource {
  return {
    resource: of.plural,
    responseKind: { group: of.group, version: of.version, kind: of.kind },
    scope: of.namespaced ? "Namespaced" : "Cluster",
    singularResource: of.singular,
    verbs: of.verbs,
    ...(of.shortNames.length === 0 ? {} : { shortNames: of.shortNames }),
    ...(of.categories.length === 0 ? {} : { categories: of.categories }),
    ...(of.subresources.length === 0
      ? {}
      : {
          subresources: of.subresources.toSorted().map((name) => {
            const { group, version, kind, verbs } = subresourceKind(of, name);
            return { subresource: name, responseKind: { group, version, kind }, verbs };
          }),
        }),
  };
}
