import { equal, isJson, type Json, record, records, text } from "../json.ts";
import { element, type Fields, fieldsOf, fromFieldsV1, toFieldsV1 } from "./field-set.ts";

/** One manager's share of an object, read from metadata.managedFields. */
export interface ManagedEntry {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  /** RFC 3339; "" when it was not said. */
  readonly time: string;
  /** "" for the object itself. */
  readonly subresource: string;
  readonly paths: ReadonlySet<string>;
}

/** Who writes, and when. */
export interface Writer {
  /** `fieldManager` of the request, else the User-Agent up to its first "/". */
  readonly manager: string;
  readonly apiVersion: string;
  readonly time: string;
  readonly subresource: string;
}

/** More managers that update are summed up under one name. */
const maxUpdaters = 10;

export function readManaged(object: Json | undefined): readonly ManagedEntry[] {
  return records(record(object?.["metadata"])["managedFields"]).flatMap((entry) => {
    const paths = fromFieldsV1(entry["fieldsV1"]);
    if (paths.size === 0) return [];
    return [
      {
        manager: text(entry["manager"]),
        operation: entry["operation"] === "Apply" ? ("Apply" as const) : ("Update" as const),
        apiVersion: text(entry["apiVersion"]),
        time: text(entry["time"]),
        subresource: text(entry["subresource"]),
        paths,
      },
    ];
  });
}

/** The object with these entries; those that own nothing are left out. */
export function withManaged(object: Json, entries: readonly ManagedEntry[]): Json {
  const managedFields = summedUp(entries)
    .filter(({ paths }) => paths.size > 0)
    .map(({ manager, operation, apiVersion, time, subresource, paths }) => ({
      manager,
      operation,
      apiVersion,
      ...(time === "" ? {} : { time }),
      fieldsType: "FieldsV1",
      fieldsV1: toFieldsV1([...paths].toSorted()),
      ...(subresource === "" ? {} : { subresource }),
    }));
  const { managedFields: _old, ...metadata } = record(object["metadata"]);
  return { ...object, metadata: managedFields.length === 0 ? metadata : { ...metadata, managedFields } };
}

function summedUp(entries: readonly ManagedEntry[]): readonly ManagedEntry[] {
  const updates = entries
    .filter((each) => each.operation === "Update")
    .toSorted((left, right) => (left.time < right.time ? -1 : 1));
  const ancient = updates.slice(0, Math.max(0, updates.length - maxUpdaters));
  const [first] = ancient;
  if (first === undefined) return entries;
  const paths = new Set(ancient.flatMap((each) => [...each.paths]));
  return [
    { ...first, manager: "ancient-changes", subresource: "", paths },
    ...entries.filter((each) => !ancient.includes(each)),
  ];
}

/**
 * Writes down who owns what after a create, update or patch: the writer owns what it set or changed,
 * everyone else loses what was changed or removed. A write that changes nothing changes no ownership.
 */
export function trackUpdate(model: string, before: Json | undefined, after: Json, writer: Writer): Json {
  const was: Fields = before === undefined ? new Map() : fieldsOf(model, before);
  const is = fieldsOf(model, after);
  const changed = new Set(
    [...is].filter(([path, value]) => !was.has(path) || !equal(was.get(path), value)).map(([path]) => path),
  );
  const removed = new Set([...was.keys()].filter((path) => !is.has(path)));
  const entries = readManaged(before);
  if (changed.size === 0 && removed.size === 0) return withManaged(after, entries);
  const isOwn = (entry: ManagedEntry): boolean =>
    entry.manager === writer.manager &&
    entry.operation === "Update" &&
    entry.subresource === writer.subresource;
  const lost = new Set([...removed, ...[...changed].filter((path) => is.get(path) !== element)]);
  const others = entries
    .filter((entry) => !isOwn(entry))
    .map((entry) => ({ ...entry, paths: entry.paths.difference(lost) }));
  const own = entries.find(isOwn)?.paths ?? new Set<string>();
  return withManaged(after, [
    ...others,
    { ...writer, operation: "Update", paths: own.union(changed).difference(removed) },
  ]);
}

/** True for what a client sends to give up all ownership: `managedFields: [{}]`. */
export function clearsManaged(object: Json): boolean {
  const given = record(object["metadata"])["managedFields"];
  const [only] = Array.isArray(given) && given.length === 1 ? given : [];
  return isJson(only) && Object.keys(only).length === 0;
}
