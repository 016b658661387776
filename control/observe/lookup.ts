import type { ApiClient } from "#api/client.ts";
import type { KubeObject, Resource } from "#api/meta.ts";
import { keyText } from "#api/meta.ts";
import { isReason } from "#api/status-error.ts";

/** What is known of one kind without asking: a watch cache, or a map in a test. */
export interface Lister<T> {
  get(key: string): T | undefined;
  values(): Iterable<T>;
}

/** One object, or undefined when there is none. Never throws for a missing object. */
export type Lookup<T> = (namespace: string, name: string, signal: AbortSignal) => Promise<T | undefined>;

/**
 * Looks in the cache first and asks the API when it is not there: a cache is a moment behind, and what was
 * written a moment ago must be found.
 */
export function lookup<T extends KubeObject>(
  resource: Resource<T>,
  cache: Lister<T>,
  client: ApiClient,
): Lookup<T> {
  return async (namespace, name, signal) => {
    const cached = cache.get(keyText({ namespace, name }));
    if (cached !== undefined) return cached;
    return await getOrUndefined(client, resource, namespace, name, signal);
  };
}

/** Asks the API; undefined when there is no such object. */
export async function getOrUndefined<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<T | undefined> {
  try {
    return await client.get(resource, { namespace, name }, signal);
  } catch (cause) {
    if (isReason(cause, "NotFound")) return undefined;
    throw cause;
  }
}
