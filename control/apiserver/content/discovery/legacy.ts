import type {
  APIGroup,
  APIGroupList,
  APIResource,
  APIResourceList,
  APIVersions,
} from "#api/generated/kubernetes.ts";
import type { ResourceDefinition } from "../../../model.ts";
import { groupsOf } from "./groups.ts";
import { storageVersionHash } from "./storage-version-hash.ts";
import { subresourceKind } from "./subresource-kinds.ts";

/** `/api` @param serverAddress `10.0.0.1:6443` */
export function apiVersions(serverAddress: string): APIVersions {
  return {
    kind: "APIVersions",
    versions: ["v1"],
    serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress }],
  };
}

/** `/apis` */
export function apiGroupList(resources: readonly ResourceDefinition[]): APIGroupList {
  return {
    kind: "APIGroupList",
    apiVersion: "v1",
    groups: groupsOf(resources)
      .filter(({ name }) => name !== "")
      .map(({ name, versions }) => groupOf(name, versions)),
  };
}

/** `/apis/<group>` @returns undefined for a group nobody serves. */
export function apiGroup(resources: readonly ResourceDefinition[], group: string): APIGroup | undefined {
  const found = groupsOf(resources).find(({ name }) => name === group && name !== "");
  return found === undefined
    ? undefined
    : { kind: "APIGroup", apiVersion: "v1", ...groupOf(found.name, found.versions) };
}

/** `/api/v1` and `/apis/<group>/<version>` @returns undefined for a group-version nobody serves. */
export function apiResourceList(
  resources: readonly ResourceDefinition[],
  group: string,
  version: string,
): APIResourceList | undefined {
  const served = resources.filter((each) => each.group === group && each.version === version);
  if (served.length === 0) return undefined;
  return {
    kind: "APIResourceList",
    ...(group === "" ? {} : { apiVersion: "v1" }),
    groupVersion: group === "" ? version : `${group}/${version}`,
    resources: served.flatMap(resourceRows),
  };
}

function groupOf(name: string, versions: readonly string[]): APIGroup {
  const all = versions.map((version) => ({ groupVersion: `${name}/${version}`, version }));
  const [preferredVersion] = all;
  return { name, versions: all, ...(preferredVersion === undefined ? {} : { preferredVersion }) };
}

function resourceRows(of: ResourceDefinition): readonly APIResource[] {
  const row: APIResource = {
    name: of.plural,
    singularName: of.singular,
    namespaced: of.namespaced,
    kind: of.kind,
    verbs: of.verbs,
    ...(of.shortNames.length === 0 ? {} : { shortNames: of.shortNames }),
    ...(of.categories.length === 0 ? {} : { categories: of.categories }),
    ...(of.storage === "stored" ? { storageVersionHash: storageVersionHash(of) } : {}),
  };
  const below = of.subresources.map((name): APIResource => {
    const speaks = subresourceKind(of, name);
    return {
      name: `${of.plural}/${name}`,
      singularName: "",
      namespaced: of.namespaced,
      ...(speaks.foreign ? { group: speaks.group, version: speaks.version } : {}),
      kind: speaks.kind,
      verbs: speaks.verbs,
    };
  });
  return [row, ...below.toSorted((left, right) => (left.name < right.name ? -1 : 1))];
}
