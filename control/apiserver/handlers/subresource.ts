import { isDeepStrictEqual } from "node:util";
import { invalid, notAllowed } from "../../api-error.ts";
import type { ResourceDefinition, StoredObject, Subresource } from "../../model.ts";
import type { Engine } from "../engine.ts";
import { isRecord } from "./incoming.ts";

/**
 * What a write to a subresource changes: the old object with only that part of the new one.
 * @throws {ApiError} 405 for a subresource that is not written this way.
 */
export function mergeSubresource(
  _engine: Engine,
  definition: ResourceDefinition,
  subresource: Subresource,
  next: StoredObject,
  old: StoredObject,
): StoredObject {
  switch (subresource) {
    case "status":
      return definition.strategy.prepareStatusUpdate(next, old);
    case "finalize":
      return withSpec(old, { finalizers: field(next["spec"], "finalizers") ?? [] });
    case "ephemeralcontainers":
      return raised(withSpec(old, { ephemeralContainers: grown(definition, next, old) }), old);
    case "resize":
      return raised(withSpec(old, resized(next, old)), old);
    case "approval":
      return {
        ...old,
        status: { ...record(old["status"]), conditions: field(next["status"], "conditions") ?? [] },
      };
    default:
      throw notAllowed("PUT", `${definition.plural}/${subresource}`);
  }
}

function withSpec(object: StoredObject, spec: Readonly<Record<string, unknown>>): StoredObject {
  return { ...object, spec: { ...record(object["spec"]), ...spec } };
}

/** A changed spec has a higher generation. */
function raised(next: StoredObject, old: StoredObject): StoredObject {
  const same = JSON.stringify(next["spec"]) === JSON.stringify(old["spec"]);
  const generation = old.metadata.generation;
  if (same || generation === undefined) return next;
  return { ...next, metadata: { ...next.metadata, generation: generation + 1 } };
}

/** Ephemeral containers are only ever added. @throws {ApiError} 422 for one that was changed or removed. */
function grown(definition: ResourceDefinition, next: StoredObject, old: StoredObject): readonly unknown[] {
  const wanted = list(field(next["spec"], "ephemeralContainers"));
  for (const before of list(field(old["spec"], "ephemeralContainers"))) {
    const name = field(before, "name");
    const now = wanted.find((each) => field(each, "name") === name);
    if (now !== undefined && isDeepStrictEqual(now, before)) continue;
    throw invalid(definition, old.metadata.name, [
      {
        reason: "FieldValueForbidden",
        field: "spec.ephemeralContainers",
        detail: `Forbidden: existing ephemeral containers ${JSON.stringify(name)} may not be ${now === undefined ? "removed" : "changed"}`,
      },
    ]);
  }
  return wanted;
}

/** The spec's parts with resources and resize policies: of containers, of init containers and of the pod as a whole. */
function resized(next: StoredObject, old: StoredObject): Readonly<Record<string, unknown>> {
  const changed = (kind: string): object => {
    const before = field(old["spec"], kind);
    if (!Array.isArray(before)) return {};
    const wanted = list(field(next["spec"], kind));
    const merged = before.map((container: unknown) => {
      const match = wanted.find((other) => field(other, "name") === field(container, "name"));
      if (!isRecord(container) || !isRecord(match)) return container;
      const { resources, resizePolicy } = match;
      return {
        ...container,
        ...(resources === undefined ? {} : { resources }),
        ...(resizePolicy === undefined ? {} : { resizePolicy }),
      };
    });
    return { [kind]: merged };
  };
  const whole = field(next["spec"], "resources");
  return {
    ...changed("containers"),
    ...changed("initContainers"),
    ...(whole === undefined ? {} : { resources: whole }),
  };
}

const record = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {});
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const field = (value: unknown, name: string): unknown => (isRecord(value) ? value[name] : undefined);
