import type { ApiClient } from "#api/client.ts";
import { type KubeObject, keyOf, type Resource } from "#api/meta.ts";
import { isReason } from "#api/status-error.ts";
import { getOrUndefined } from "../observe/lookup.ts";

const manager = { fieldManager: "keelson-control" };

/** Creates the object unless there is one: what a user made of it is never overwritten. */
export async function ensureExists<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  object: T,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name } = keyOf(object);
  if ((await getOrUndefined(client, resource, namespace, name, signal)) !== undefined) return;
  try {
    await client.create(resource, object, manager, signal);
  } catch (cause) {
    if (!isReason(cause, "AlreadyExists")) throw cause; // another API server was faster
  }
}

/**
 * Creates the object, or makes the fields under `fields` and the labels what they are in `object`.
 * Writes nothing when they are already.
 */
export async function ensureFields<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  object: T,
  fields: readonly (keyof T)[],
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name } = keyOf(object);
  const actual = await getOrUndefined(client, resource, namespace, name, signal);
  if (actual === undefined) {
    await ensureExists(client, resource, object, signal);
    return;
  }
  const labels = { ...actual.metadata?.labels, ...object.metadata?.labels };
  const desired = { ...actual, metadata: { ...actual.metadata, labels } };
  for (const field of fields) Object.assign(desired, { [field]: object[field] });
  if (isEqual(desired, actual)) return;
  await client.update(resource, desired, manager, signal);
}

/** Equal as JSON, whatever the order of fields. */
function isEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = new Map(Object.entries(a));
  const right = new Map(Object.entries(b));
  return (
    left.size === right.size &&
    [...left].every(([key, value]) => right.has(key) && isEqual(value, right.get(key)))
  );
}
