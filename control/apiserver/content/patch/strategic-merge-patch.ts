import { ApiError } from "../../../api-error.ts";
import { equal, isJson, type Json, list } from "../json.ts";
import { modelOf, modelUnder } from "#api/schema.ts";
import { elementOrder } from "./element-order.ts";
import { mergeRule } from "./merge-keys.ts";
import { badPatch } from "./patch-errors.ts";

const deleteList = "$deleteFromPrimitiveList/";
const orderList = "$setElementOrder/";

/**
 * Kubernetes' strategic merge patch: maps merge, lists merge by the key that the type names, and
 * directives in the patch (`$patch`, `$retainKeys`, `$setElementOrder/x`, `$deleteFromPrimitiveList/x`)
 * say what cannot be said by values. Neither argument is changed.
 * @param model the type of the document, a name of `api/generated/schema.json`
 * @throws ApiError 400 for a malformed patch, 422 for a list element without its merge key.
 */
export function strategicMergePatch(model: string, doc: unknown, patch: unknown): unknown {
  if (!isJson(patch)) throw badPatch("Invalid JSON document");
  return mergeMap(model, isJson(doc) ? doc : {}, patch);
}

function mergeMap(model: string | undefined, doc: Json, patch: Json): Json {
  const directive = patch["$patch"];
  if (directive === "replace") return withoutDirectives(model, patch);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge") {
    throw badPatch(`Unknown patch type: ${JSON.stringify(directive)}`);
  }
  const result = new Map(Object.entries(retain(doc, patch)));
  for (const [key, value] of Object.entries(patch)) {
    if (key.startsWith(deleteList)) removePrimitives(result, key.slice(deleteList.length), value);
    if (key.startsWith("$")) continue;
    if (value === null) result.delete(key);
    else result.set(key, mergeField(model, key, result.get(key), value, patch));
  }
  // An order may come alone: it then rearranges a list that the patch leaves as it is.
  for (const [key, order] of Object.entries(patch)) {
    if (!key.startsWith(orderList)) continue;
    if (!Array.isArray(order)) throw badPatch("$setElementOrder directive must be a list");
    const field = key.slice(orderList.length);
    const merged = result.get(field);
    const mergeKey = mergeRule(model ?? "", field).key;
    if (!Array.isArray(merged) || mergeKey === undefined) continue;
    result.set(field, elementOrder({ merged, before: list(doc[field]), order, mergeKey }));
  }
  return Object.fromEntries(result);
}

function mergeField(
  model: string | undefined,
  key: string,
  before: unknown,
  value: unknown,
  patch: Json,
): unknown {
  const rule = mergeRule(model ?? "", key);
  const inner = innerModel(model, key);
  if (isJson(value))
    return mergeMap(inner, isJson(before) && rule.replace === undefined ? before : {}, value);
  if (!Array.isArray(value)) return value;
  const order = patch[`${orderList}${key}`];
  if (Array.isArray(order) && rule.key !== undefined) checkOrder(value, order, rule.key, key);
  if (rule.key === undefined)
    return value.filter((each) => !isDirective(each)).map((each) => stripped(inner, each));
  if (rule.key === "") return [...new Set([...list(before), ...value])];
  return mergeList(inner, list(before), value, rule.key);
}

/** Merges objects by their key, in place; new ones go to the end. */
function mergeList(
  model: string | undefined,
  before: readonly unknown[],
  patch: readonly unknown[],
  key: string,
): readonly unknown[] {
  const replace = patch.some((each) => isJson(each) && each["$patch"] === "replace");
  if (replace) return patch.filter((each) => !isDirective(each)).map((each) => stripped(model, each));
  let result = before;
  for (const each of patch) {
    if (!isJson(each))
      throw badPatch(`expected a map with merge key "${key}" in the list, got ${JSON.stringify(each)}`);
    if (!(key in each)) throw noMergeKey(each, key);
    const matches = (other: unknown): boolean => isJson(other) && equal(other[key], each[key]);
    if (each["$patch"] === "delete") {
      result = result.filter((other) => !matches(other));
      continue;
    }
    const position = result.findIndex(matches);
    const found = result[position];
    result =
      position === -1
        ? [...result, stripped(model, each)]
        : result.with(position, mergeMap(model, isJson(found) ? found : {}, each));
  }
  return result;
}

const isDirective = (value: unknown): boolean =>
  isJson(value) && (value["$patch"] === "replace" || value["$patch"] === "delete");

const noMergeKey = (element: Json, key: string): ApiError =>
  new ApiError(422, "Invalid", `map: ${JSON.stringify(element)} does not contain declared merge key: ${key}`);

/** What the patch brings anew stands without directives and nulls. */
function stripped(model: string | undefined, value: unknown): unknown {
  return isJson(value) ? withoutDirectives(model, value) : value;
}

function withoutDirectives(model: string | undefined, value: Json): Json {
  const { $patch: _directive, ...rest } = value;
  return mergeMap(model, {}, rest);
}

function innerModel(model: string | undefined, key: string): string | undefined {
  const field = model === undefined ? undefined : modelOf(model)?.fields.get(key);
  return field === undefined ? undefined : modelUnder(field.type);
}

/** `$retainKeys` names what stays; whatever the patch sets must be among it. */
function retain(doc: Json, patch: Json): Json {
  const keep = patch["$retainKeys"];
  if (keep === undefined) return doc;
  if (!Array.isArray(keep)) throw badPatch("patch for $retainKeys must be a list of keys");
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith("$") && value !== null && !keep.includes(key)) {
      throw badPatch(`patch contains the key "${key}", which is not in its $retainKeys list`);
    }
  }
  return Object.fromEntries(Object.entries(doc).filter(([key]) => keep.includes(key)));
}

function removePrimitives(result: Map<string, unknown>, field: string, values: unknown): void {
  if (!Array.isArray(values)) throw badPatch("$deleteFromPrimitiveList directive must be a list");
  const before = result.get(field);
  if (Array.isArray(before))
    result.set(
      field,
      before.filter((each) => !values.includes(each)),
    );
}

/** Everything that a patch adds or changes must have its place in the order it gives. */
function checkOrder(patch: readonly unknown[], order: readonly unknown[], key: string, field: string): void {
  const keyOf = (value: unknown): unknown => (key === "" || !isJson(value) ? value : value[key]);
  const places = order.map(keyOf);
  for (const each of patch) {
    if (isDirective(each)) continue;
    if (!places.some((place) => equal(place, keyOf(each)))) {
      throw badPatch(
        `The order in patch list: ${JSON.stringify(patch)} doesn't match $setElementOrder/${field} list: ${JSON.stringify(order)}`,
      );
    }
  }
}
