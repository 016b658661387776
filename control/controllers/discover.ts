import type { ApiClient } from "#api/client.ts";
import type { APIGroupList, APIResourceList } from "#api/generated/kubernetes.ts";
import type { Resource } from "#api/meta.ts";

/** A resource as discovery lists it. */
export interface DiscoveredResource {
  readonly resource: Resource;
  readonly verbs: readonly string[];
}

/**
 * Every resource of the API in its preferred version, without subresources.
 * @throws {StatusError} when the server does not answer discovery.
 */
export async function discover(
  client: ApiClient,
  signal: AbortSignal,
): Promise<readonly DiscoveredResource[]> {
  const groups = await client.json<APIGroupList>("GET", "/apis", undefined, signal);
  const versions = [
    { group: "", version: "v1", path: "/api/v1" },
    ...groups.groups.map(({ name, preferredVersion, versions: all }) => {
      const version = preferredVersion?.version ?? all[0]?.version ?? "v1";
      return { group: name, version, path: `/apis/${name}/${version}` };
    }),
  ];
  const lists = await Promise.all(
    versions.map(async ({ group, version, path }) => {
      const list = await client.json<APIResourceList>("GET", path, undefined, signal);
      return list.resources
        .filter(({ name }) => !name.includes("/"))
        .map(({ name, kind, namespaced, verbs }) => ({
          resource: { group, version, plural: name, kind, namespaced },
          verbs,
        }));
    }),
  );
  return lists.flat();
}
