import { notFound } from "../../api-error.ts";
import type { ResourceDefinition } from "../../model.ts";
import type { CachedObject } from "../cache/cached-object.ts";
import type { Engine, ListItem, Reply, ResourceRequest } from "../engine.ts";
import { storeKey } from "../registry.ts";

/** The object as it is now in the store; undefined when there is none. */
export async function current(
  engine: Engine,
  definition: ResourceDefinition,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<CachedObject | undefined> {
  const entry = await engine.ports.store.get(storeKey(definition, namespace, name), signal);
  return entry === undefined ? undefined : engine.cache.parse(entry);
}

/** The same, when its absence is the client's mistake. @throws {ApiError} 404. */
export async function existing(
  engine: Engine,
  definition: ResourceDefinition,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<CachedObject> {
  const found = await current(engine, definition, namespace, name, signal);
  if (found === undefined) throw notFound(definition, name);
  return found;
}

/** GET of one object. */
export async function getObject(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition, namespace, name } = request;
  const item = served(engine, definition, await existing(engine, definition, namespace, name, signal));
  return {
    kind: "object",
    status: 200,
    object: item.object,
    ...(item.bytes === undefined ? {} : { bytes: item.bytes }),
  };
}

/** The form that this resource serves, with bytes when it is the stored form. */
export function served(engine: Engine, definition: ResourceDefinition, cached: CachedObject): ListItem {
  const object = engine.ports.content.fromStorage(definition, cached.object);
  return { object, bytes: object === cached.object ? cached.bytes : undefined };
}
