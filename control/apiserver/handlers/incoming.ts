import { badRequest, invalid } from "../../api-error.ts";
import type { FieldError, ResourceDefinition, StoredMetadata, StoredObject } from "../../model.ts";
import { unreadableBody } from "../content/schema/check-fields.ts";
import type { ParsedBody } from "../content/schema/parse-body.ts";
import type { Engine, ResourceRequest } from "../engine.ts";
import { groupVersionOf } from "../registry.ts";

/** `fieldValidation` of the request. */
export type FieldLevel = "ignore" | "warn" | "strict";

/** What the query says about a write. */
export interface WriteQuery {
  readonly dryRun: boolean;
  readonly level: FieldLevel;
}

/** @throws {ApiError} 400 or 422 for values that do not exist. */
export function parseWriteQuery(query: URLSearchParams): WriteQuery {
  const dryRun = query.getAll("dryRun").filter((value) => value !== "");
  const optionsKind = { group: "meta.k8s.io", plural: "", kind: "CreateOptions" };
  const bad = dryRun.find((value) => value !== "All");
  if (bad !== undefined)
    throw invalid(optionsKind, "", [
      {
        reason: "FieldValueNotSupported",
        field: "dryRun",
        detail: `Unsupported value: ${JSON.stringify(bad)}: supported values: "All"`,
      },
    ]);
  const manager = query.get("fieldManager") ?? "";
  if (manager.length > 128 || /\p{C}/u.test(manager))
    throw invalid(optionsKind, "", [
      {
        reason: manager.length > 128 ? "FieldValueTooLong" : "FieldValueInvalid",
        field: "fieldManager",
        detail:
          manager.length > 128
            ? "Too long: may not be more than 128 bytes"
            : "Invalid value: should only contain printable characters",
      },
    ]);
  const validation = query.get("fieldValidation") ?? "";
  const levels: Readonly<Record<string, FieldLevel>> = {
    "": "warn",
    Ignore: "ignore",
    Warn: "warn",
    Strict: "strict",
  };
  const level = levels[validation];
  if (level === undefined)
    throw invalid(optionsKind, "", [
      {
        reason: "FieldValueNotSupported",
        field: "fieldValidation",
        detail: `Unsupported value: ${JSON.stringify(validation)}: supported values: "Ignore", "Strict", "Warn"`,
      },
    ]);
  return { dryRun: dryRun.length > 0, level };
}

/** The posted object of the request's kind: decoded, its fields checked, its place compared with the URL's. */
export async function readObject(
  engine: Engine,
  request: ResourceRequest,
  definition: ResourceDefinition,
  level: FieldLevel,
): Promise<StoredObject> {
  const { object, duplicates } = await readBody(engine, request);
  return checkObject(engine, request, definition, object, level, duplicates);
}

/** The body as a plain value; undefined when it is empty. @throws {ApiError} 400, 413, 415. */
export async function readBody(engine: Engine, request: ResourceRequest): Promise<ParsedBody> {
  const bytes = await request.body();
  if (bytes.length === 0) return { object: undefined, duplicates: [] };
  return engine.ports.content.parseBody(request.headers["content-type"] ?? "", bytes);
}

/** The same for a value that was made here: the result of a patch. @throws {ApiError} 400. */
export function checkObject(
  engine: Engine,
  request: ResourceRequest,
  definition: ResourceDefinition,
  value: unknown,
  level: FieldLevel,
  duplicates: readonly string[] = [],
): StoredObject {
  if (!isRecord(value))
    throw badRequest(`the object provided is unrecognized (must be of type ${definition.kind})`);
  const wanted = groupVersionOf(definition);
  const apiVersion = value["apiVersion"] ?? wanted;
  const kind = value["kind"] ?? definition.kind;
  if (kind !== definition.kind)
    throw badRequest(
      `the object provided is unrecognized (must be of type ${definition.kind}): got ${JSON.stringify(kind)} of ${JSON.stringify(apiVersion)}`,
    );
  if (apiVersion !== wanted)
    throw badRequest(
      `the API version in the data (${typeof apiVersion === "string" ? apiVersion : JSON.stringify(apiVersion)}) does not match the expected API version (${wanted})`,
    );
  const checked = engine.ports.content.checkFields(
    definition.model,
    { ...value, apiVersion, kind, metadata: value["metadata"] ?? {} },
    level,
    duplicates,
  );
  if (checked.errors.length > 0) throw unreadableBody(definition.kind, definition.version, checked.errors);
  request.warnings.push(...checked.warnings);
  const object = withoutNulls(checked.object);
  if (!isStored(object))
    throw badRequest(`the object provided has no metadata (must be of type ${definition.kind})`);
  return object;
}

/** The object in the namespace of the URL. @throws {ApiError} 400 when it says another. */
export function placed(
  definition: ResourceDefinition,
  namespace: string,
  object: StoredObject,
): StoredObject {
  const own = object.metadata.namespace ?? "";
  if (!definition.namespaced) {
    if (own === "") return object;
    const { namespace: _, ...metadata } = object.metadata;
    return { ...object, metadata };
  }
  if (own !== "" && own !== namespace)
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  return { ...object, metadata: { ...object.metadata, namespace } };
}

/** @throws {ApiError} 422 when there is anything wrong. */
export function assertValid(
  definition: ResourceDefinition,
  object: StoredObject,
  errors: readonly FieldError[],
): void {
  if (errors.length > 0) throw invalid(definition, object.metadata.name, errors);
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** True for what has the outline of an object. */
export function isStored(value: unknown): value is StoredObject {
  return isRecord(value) && isRecord(value["metadata"]);
}

/** A field that is null is a field that is not there (`creationTimestamp: null`); an empty name is none either. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isRecord(value)) return value;
  const kept = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(kept.map(([key, field]) => [key, withoutNulls(field)]));
}

/** The name, or "" for a new object that wants one made. */
export function nameOf(object: { readonly metadata: Partial<StoredMetadata> }): string {
  return object.metadata.name ?? "";
}
