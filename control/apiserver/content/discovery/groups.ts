import type { ResourceDefinition } from "../../../model.ts";

/** A group and its versions, the preferred one first; "" is core. */
export interface ServedGroup {
  readonly name: string;
  readonly versions: readonly string[];
}

/** The groups in the order of the resource table, which is the order clients prefer them in. */
export function groupsOf(resources: readonly ResourceDefinition[]): readonly ServedGroup[] {
  const versions = new Map<string, Set<string>>();
  for (const each of resources) {
    versions.set(each.group, (versions.get(each.group) ?? new Set<string>()).add(each.version));
  }
  return [...versions].map(([name, each]) => ({ name, versions: [...each] }));
}
