import { ApiError, badRequest } from "../../../api-error.ts";
import { equal, isJson, type Json, list, record } from "../json.ts";
import { type FieldType, modelOf } from "#api/schema.ts";
import {
  element,
  elementPath,
  type Fields,
  fieldsOf,
  isAtomic,
  keysOf,
  separator,
  showPath,
} from "./field-set.ts";
import { type ManagedEntry, readManaged, withManaged, type Writer } from "./managed-fields.ts";

export interface ApplyRequest extends Writer {
  readonly model: string;
  /** Undefined when nothing of the name exists: the applied configuration is then the object. */
  readonly live: Json | undefined;
  readonly applied: Json;
  /** Takes fields from other managers instead of refusing. */
  readonly force: boolean;
}

interface Conflict {
  readonly entry: ManagedEntry;
  readonly path: string;
}

/**
 * Server-side apply: the fields of the configuration are set and owned by its manager; what it owned
 * before and names no more goes, unless another manager owns it too. The result carries managedFields;
 * applying the same again returns the live object itself.
 * @throws ApiError 409 with a cause per field for values that others own, 400 for managedFields in the configuration.
 */
export function applyConfiguration(request: ApplyRequest): Json {
  const { model, live, applied } = request;
  if (list(record(applied["metadata"])["managedFields"]).length > 0) {
    throw badRequest("metadata.managedFields must be nil");
  }
  const fields = fieldsOf(model, applied);
  const set = new Set(fields.keys());
  const entries = managedEntries(request);
  const isOwn = (entry: ManagedEntry): boolean =>
    entry.manager === request.manager &&
    entry.operation === "Apply" &&
    entry.subresource === request.subresource;
  const others = entries.filter((entry) => !isOwn(entry));
  const before = entries.find(isOwn)?.paths ?? new Set<string>();
  const conflicts = live === undefined ? [] : conflictsOf(fields, fieldsOf(model, live), others);
  if (conflicts.length > 0 && !request.force) throw refused(conflicts);
  const kept = others.map((entry) => ({
    ...entry,
    paths: entry.paths.difference(
      new Set(conflicts.filter((each) => each.entry === entry).map(({ path }) => path)),
    ),
  }));
  const merged = live === undefined ? applied : mergeModel(model, live, applied);
  const gone = [...before.difference(set)].filter((path) => !isOwned(path, kept));
  // Deepest first, so that an element goes after what stands in it.
  const result = gone
    .toSorted((left, right) => right.split(separator).length - left.split(separator).length)
    .reduce<Json>((sum, path) => record(without(sum, path.split(separator))), merged);
  const unchanged =
    live !== undefined && equal(result, live) && before.size === set.size && before.isSubsetOf(set);
  if (unchanged && conflicts.length === 0) return live;
  const { manager, apiVersion, time, subresource } = request;
  return withManaged(result, [
    ...kept,
    { manager, apiVersion, time, subresource, operation: "Apply", paths: set },
  ]);
}

/** An object that nobody tracked yet belongs to those who were there before. */
function managedEntries({ model, live, apiVersion }: ApplyRequest): readonly ManagedEntry[] {
  const entries = readManaged(live);
  if (live === undefined || entries.length > 0) return entries;
  const paths = new Set(fieldsOf(model, live).keys());
  return [
    { manager: "before-first-apply", operation: "Update", apiVersion, time: "", subresource: "", paths },
  ];
}

/** Fields of which another manager owns a different value. */
function conflictsOf(fields: Fields, live: Fields, others: readonly ManagedEntry[]): readonly Conflict[] {
  return others.flatMap((entry) =>
    [...fields].flatMap(([path, value]) => {
      const differs =
        value !== element && entry.paths.has(path) && live.has(path) && !equal(live.get(path), value);
      return differs ? [{ entry, path }] : [];
    }),
  );
}

function refused(conflicts: readonly Conflict[]): ApiError {
  const causes = conflicts.map(({ entry, path }) => ({
    reason: "FieldManagerConflict",
    message: `conflict with ${JSON.stringify(entry.manager)}${entry.subresource === "" ? "" : ` with subresource ${JSON.stringify(entry.subresource)}`} using ${entry.apiVersion}`,
    field: showPath(path),
  }));
  const [first] = causes;
  const text =
    causes.length === 1
      ? `1 conflict: ${first?.message ?? ""}: ${first?.field ?? ""}`
      : `${causes.length} conflicts: ${[...Map.groupBy(causes, ({ message }) => message)]
          .map(
            ([message, each]) =>
              `${message.replace("conflict with", "conflicts with")}:\n${each.map(({ field }) => `- ${field}`).join("\n")}`,
          )
          .join("\n")}`;
  return new ApiError(409, "Conflict", `Apply failed with ${text}`, { causes });
}

/** A path is owned when it, or for an element of a list anything in it, is. */
const isOwned = (path: string, entries: readonly ManagedEntry[]): boolean =>
  entries.some(
    ({ paths }) =>
      paths.has(path) ||
      (isElement(path) && [...paths].some((each) => each.startsWith(`${path}${separator}`))),
  );

const isElement = (path: string): boolean => /^[kv]:/.test(path.slice(path.lastIndexOf(separator) + 1));

function mergeModel(model: string, live: Json, applied: Json): Json {
  const fields = modelOf(model)?.fields;
  const result = new Map(Object.entries(live));
  for (const [name, value] of Object.entries(applied)) {
    if (value === null || value === undefined) continue;
    const type: FieldType = fields?.get(name)?.type ?? { is: "any" };
    result.set(name, mergeValue(model, name, type, result.get(name), value));
  }
  return Object.fromEntries(result);
}

function mergeValue(model: string, name: string, type: FieldType, live: unknown, value: unknown): unknown {
  if (isAtomic(model, name, type)) return value;
  if (isJson(live) && isJson(value)) {
    if (type.is === "model") return mergeModel(type.model, live, value);
    return type.is === "map" ? { ...live, ...value } : value;
  }
  const keys = type.is === "list" ? keysOf(model, name) : undefined;
  if (type.is !== "list" || keys === undefined || !Array.isArray(live) || !Array.isArray(value)) return value;
  const result = new Map<string, unknown>(live.map((each: unknown) => [elementPath(each, keys), each]));
  for (const each of value as readonly unknown[]) {
    const key = elementPath(each, keys);
    const before = result.get(key);
    const both = type.of.is === "model" && isJson(before) && isJson(each);
    result.set(
      key,
      both && type.of.is === "model" ? mergeModel(type.of.model, record(before), record(each)) : each,
    );
  }
  return [...result.values()];
}

/** The value without the field at a path; maps that this empties go too. @returns undefined for nothing left. */
function without(value: unknown, path: readonly string[]): unknown {
  const [part = "", ...rest] = path;
  if (part === "") return undefined;
  if (part.startsWith("f:")) {
    const key = part.slice(2);
    if (!isJson(value) || !Object.hasOwn(value, key)) return value;
    const inner = rest.length === 0 ? undefined : without(value[key], rest);
    const { [key]: _gone, ...others } = value;
    if (inner !== undefined) return { ...value, [key]: inner };
    return Object.keys(others).length === 0 ? undefined : others;
  }
  if (!Array.isArray(value)) return value;
  const keys = part.startsWith("k:") ? Object.keys(record(JSON.parse(part.slice(2)))) : [];
  const position = value.findIndex((each) => elementPath(each, keys) === part);
  if (position === -1) return value;
  // What tells an element apart stays as long as the element does.
  if (rest.length === 1 && keys.some((key) => rest[0] === `f:${key}`)) return value;
  const inner = rest.length === 0 ? undefined : without(value[position], rest);
  const result = inner === undefined ? value.toSpliced(position, 1) : value.with(position, inner);
  return result.length === 0 ? undefined : result;
}
