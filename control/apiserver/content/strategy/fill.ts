import type { StoredObject } from "../../../model.ts";
import { isJson, type Json, record } from "../json.ts";

/** Sets what is absent, null or "" (Go's omitempty knows no difference); what is there stays. */
export function fill(object: Json, defaults: Json): Json {
  const missing = Object.entries(defaults).filter(
    ([key, value]) => value !== undefined && isUnset(object[key]),
  );
  return missing.length === 0 ? object : { ...object, ...Object.fromEntries(missing) };
}

export const isUnset = (value: unknown): boolean => value === undefined || value === null || value === "";

/** Changes the object at a key, where there is one. */
export function within(object: Json, key: string, change: (inner: Json) => Json): Json {
  const inner = object[key];
  if (!isJson(inner)) return object;
  const changed = change(inner);
  return changed === inner ? object : { ...object, [key]: changed };
}

/** Changes every object of the list at a key, where there is one. */
export function each(object: Json, key: string, change: (inner: Json) => Json): Json {
  const items = object[key];
  if (!Array.isArray(items)) return object;
  return { ...object, [key]: items.map((item: unknown) => (isJson(item) ? change(item) : item)) };
}

/** Changes the spec of an object; an absent one is taken for empty. */
export const inSpec = (object: StoredObject, change: (spec: Json) => Json): StoredObject => ({
  ...object,
  spec: change(record(object["spec"])),
});

/** Changes one member of an object that stands beside metadata; an absent one stays absent. */
export function member(object: StoredObject, key: string, change: (holder: Json) => Json): StoredObject {
  const value = object[key];
  return value === undefined ? object : { ...object, ...change({ [key]: value }) };
}
