import type { ResourceDefinition } from "../model.ts";

/** The resource table, found by where it is served. */
export class Registry {
  readonly all: readonly ResourceDefinition[];
  readonly #byPlace = new Map<string, ResourceDefinition>();

  constructor(resources: readonly ResourceDefinition[]) {
    this.all = resources;
    for (const resource of resources)
      this.#byPlace.set(`${resource.group}/${resource.version}/${resource.plural}`, resource);
  }

  find(group: string, version: string, plural: string): ResourceDefinition | undefined {
    return this.#byPlace.get(`${group}/${version}/${plural}`);
  }

  /** Any version of it. */
  named(group: string, plural: string): ResourceDefinition | undefined {
    return this.all.find((resource) => resource.group === group && resource.plural === plural);
  }

  /** @throws when the table lacks it; for kinds that the engine itself needs. */
  require(group: string, plural: string): ResourceDefinition {
    const found = this.named(group, plural);
    if (found === undefined) throw new Error(`cannot find resource "${plural}.${group}" in the table`);
    return found;
  }

  /** True when something of this group and version is served. */
  serves(group: string, version: string): boolean {
    return this.all.some((resource) => resource.group === group && resource.version === version);
  }
}

/** `v1`, `apps/v1`. */
export function groupVersionOf(definition: ResourceDefinition): string {
  return definition.group === "" ? definition.version : `${definition.group}/${definition.version}`;
}

/** The store's key of one object. */
export function storeKey(definition: ResourceDefinition, namespace: string, name: string): string {
  return definition.namespaced
    ? `${definition.storagePrefix}/${namespace}/${name}`
    : `${definition.storagePrefix}/${name}`;
}

/** What the keys of a collection start with. @param namespace "" for all. */
export function storePrefix(definition: ResourceDefinition, namespace: string): string {
  return definition.namespaced && namespace !== ""
    ? `${definition.storagePrefix}/${namespace}/`
    : `${definition.storagePrefix}/`;
}
