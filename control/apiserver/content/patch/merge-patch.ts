import { isJson } from "../json.ts";
import { badPatch } from "./patch-errors.ts";

/** RFC 7386: null removes, objects merge, everything else replaces. @throws ApiError 400. */
export function mergePatch(doc: unknown, patch: unknown): unknown {
  if (!isJson(patch)) throw badPatch("Invalid JSON Patch");
  return merge(doc, patch);
}

function merge(doc: unknown, patch: unknown): unknown {
  if (!isJson(patch)) return patch;
  const result = new Map(Object.entries(isJson(doc) ? doc : {}));
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, merge(result.get(key), value));
  }
  return Object.fromEntries(result);
}
