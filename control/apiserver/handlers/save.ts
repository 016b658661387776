import { ApiError } from "../../api-error.ts";
import type { ResourceDefinition, StoredObject } from "../../model.ts";
import { type PutResult, StoreError } from "../../store/store.ts";
import { withRevision, withoutRevision } from "../cache/cached-object.ts";
import type { Engine } from "../engine.ts";
import { storeKey } from "../registry.ts";

/** How a write ended: with the object as it is now, or because somebody else was first. */
export type Saved =
  | { readonly state: "written"; readonly object: StoredObject; readonly revision: bigint }
  | { readonly state: "conflict" };

/**
 * Writes the object if the store still holds it at `expected` (0n: if there is none).
 * @throws {ApiError} 507-like refusals of the store as 500 with a clear text.
 */
export async function save(
  engine: Engine,
  definition: ResourceDefinition,
  object: StoredObject,
  expected: bigint,
  signal: AbortSignal,
): Promise<Saved> {
  const stored = engine.ports.content.toStorage(definition, withoutRevision(object));
  const value = Buffer.from(JSON.stringify(stored));
  engine.cache.remember(value, stored);
  const key = storeKey(definition, object.metadata.namespace ?? "", object.metadata.name);
  const result = await guarded(engine.ports.store.put(key, value, expected, signal));
  if (result.state === "conflict") return result;
  return {
    state: "written",
    object: engine.ports.content.fromStorage(definition, withRevision(stored, result.revision)),
    revision: result.revision,
  };
}

/** Removes the object if the store still holds it at `expected`. */
export async function remove(
  engine: Engine,
  definition: ResourceDefinition,
  object: StoredObject,
  expected: bigint,
  signal: AbortSignal,
): Promise<PutResult> {
  const key = storeKey(definition, object.metadata.namespace ?? "", object.metadata.name);
  return await guarded(engine.ports.store.delete(key, expected, signal));
}

/** A full disk or a store that is away is the server's trouble, said in a way that a client can pass on. */
async function guarded(writing: Promise<PutResult>): Promise<PutResult> {
  try {
    return await writing;
  } catch (cause) {
    if (!(cause instanceof StoreError)) throw cause;
    if (cause.code === "full") throw new ApiError(500, "InternalError", cause.message, undefined, { cause });
    throw new ApiError(503, "ServiceUnavailable", cause.message, { retryAfterSeconds: 1 }, { cause });
  }
}
