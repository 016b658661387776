import type { Requirement } from "#api/selectors.ts";
import { matches, parseFieldSelector, parseLabelSelector } from "#api/selectors.ts";
import { badRequest, expired, invalid } from "../api-error.ts";
import type { ResourceDefinition, StoredObject } from "../model.ts";
import { isTrue } from "./request-target.ts";

/** The query of a list or a watch, read and checked. */
export interface ListOptions {
  readonly select: (object: StoredObject) => boolean;
  /** True when some object may be left out. */
  readonly selective: boolean;
  /** Set when the field selector names one object. */
  readonly name: string | undefined;
  /** 0 for all. */
  readonly limit: number;
  readonly continue: Continue | undefined;
  /** Undefined: not given. 0n: any. */
  readonly resourceVersion: bigint | undefined;
  readonly match: "" | "NotOlderThan" | "Exact";
  readonly bookmarks: boolean;
  /** Undefined: not given. */
  readonly sendInitialEvents: boolean | undefined;
  /** 0: not given. */
  readonly timeoutSeconds: number;
}

/** Where the next page begins. */
export interface Continue {
  /** -1n: as it is now, because the revision of the first page is gone. */
  readonly revision: bigint;
  /** The key after the last one given, without the collection's prefix. */
  readonly start: string;
}

const optionsKind = { group: "meta.k8s.io", plural: "", kind: "ListOptions" };

/** @throws {ApiError} 400 for what does not parse, 422 for options that contradict each other. */
export function parseListOptions(
  query: URLSearchParams,
  definition: ResourceDefinition,
  watch: boolean,
  name: string,
): ListOptions {
  const labels = parseLabels(query.get("labelSelector") ?? "");
  const fields = parseFields(query.get("fieldSelector") ?? "", definition);
  const resourceVersion = parseRevision(query.get("resourceVersion") ?? "");
  const token = query.get("continue") ?? "";
  const match = query.get("resourceVersionMatch") ?? "";
  const initial = query.get("sendInitialEvents");
  checkMatch(match, query, watch, token);
  if (initial !== null && !watch)
    throw refuse("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list");
  if (token !== "" && resourceVersion !== undefined && resourceVersion !== 0n)
    throw badRequest("specifying resource version is not allowed when using continue");
  const named = fields.find(({ key, operator }) => key === "metadata.name" && operator === "=")?.values[0];
  const only = name === "" ? named : name;
  return {
    select: (object) =>
      matches(labels, object.metadata.labels) &&
      fields.every((requirement) => fieldHolds(requirement, object, definition)) &&
      (name === "" || object.metadata.name === name),
    selective: labels.length > 0 || fields.length > 0 || name !== "",
    name: only,
    limit: parseCount(query.get("limit"), "limit"),
    continue: token === "" ? undefined : parseContinue(token),
    resourceVersion,
    match: match === "Exact" || match === "NotOlderThan" ? match : "",
    bookmarks: query.has("allowWatchBookmarks") && isTrue(query.get("allowWatchBookmarks")),
    sendInitialEvents: initial === null ? undefined : isTrue(initial),
    timeoutSeconds: parseCount(query.get("timeoutSeconds"), "timeoutSeconds"),
  };
}

/** `{"v":"meta.k8s.io/v1","rv":N,"start":"..."}` in base64url. */
export function formatContinue(token: Continue): string {
  const json = JSON.stringify({ v: "meta.k8s.io/v1", rv: Number(token.revision), start: token.start });
  return Buffer.from(json).toString("base64url");
}

function parseContinue(token: string): Continue {
  const wrong = (why: string) => badRequest(`continue key is not valid: ${why}`);
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
  } catch {
    throw wrong("it is not what this server gave");
  }
  if (
    typeof value !== "object" ||
    value === null ||
    !("rv" in value) ||
    !("start" in value) ||
    !("v" in value)
  )
    throw wrong("it is not what this server gave");
  const { v, rv, start } = value;
  if (
    v !== "meta.k8s.io/v1" ||
    typeof rv !== "number" ||
    !Number.isSafeInteger(rv) ||
    typeof start !== "string"
  )
    throw wrong("incorrect encoded start key or version");
  if (rv === 0 || rv < -1) throw expired("continue key is not valid: its resource version is 0");
  return { revision: BigInt(rv), start };
}

/** @throws {ApiError} 400. */
export function parseRevision(text: string): bigint | undefined {
  if (text === "") return undefined;
  if (!/^\d{1,18}$/.test(text))
    throw badRequest(`invalid resource version "${text}": it must be an unsigned integer`);
  return BigInt(text);
}

function parseCount(text: string | null, name: string): number {
  if (text === null || text === "") return 0;
  if (!/^-?\d{1,15}$/.test(text))
    throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax (in "${name}")`);
  return Math.max(0, Number(text));
}

function parseLabels(source: string): readonly Requirement[] {
  try {
    return parseLabelSelector(source);
  } catch (cause) {
    throw badRequest(cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function parseFields(source: string, definition: ResourceDefinition): readonly Requirement[] {
  let requirements: readonly Requirement[];
  try {
    requirements = parseFieldSelector(source);
  } catch (cause) {
    throw badRequest(cause instanceof Error ? cause.message : String(cause), { cause });
  }
  for (const { key } of requirements) {
    const known =
      key === "metadata.name" ||
      (key === "metadata.namespace" && definition.namespaced) ||
      Object.hasOwn(definition.fields, key);
    if (!known) throw badRequest(`field label not supported: ${key}`);
  }
  return requirements;
}

function fieldHolds(requirement: Requirement, object: StoredObject, definition: ResourceDefinition): boolean {
  const { key, operator, values } = requirement;
  const value =
    key === "metadata.name"
      ? object.metadata.name
      : key === "metadata.namespace"
        ? (object.metadata.namespace ?? "")
        : (definition.fields[key]?.(object) ?? "");
  return operator === "!=" ? value !== values[0] : value === values[0];
}

function checkMatch(match: string, query: URLSearchParams, watch: boolean, token: string): void {
  const revision = query.get("resourceVersion") ?? "";
  const initial = query.get("sendInitialEvents");
  if (watch) {
    if (initial === null && match !== "")
      throw refuse(
        "resourceVersionMatch",
        "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
      );
    if (initial !== null && match !== "NotOlderThan")
      throw refuse(
        "resourceVersionMatch",
        "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
      );
    return;
  }
  if (match === "") return;
  if (revision === "")
    throw refuse(
      "resourceVersionMatch",
      "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
  if (token !== "")
    throw refuse(
      "resourceVersionMatch",
      "Forbidden: resourceVersionMatch is forbidden when continue is provided",
    );
  if (match !== "Exact" && match !== "NotOlderThan")
    throw refuse(
      "resourceVersionMatch",
      `Unsupported value: "${match}": supported values: "Exact", "NotOlderThan", ""`,
    );
  if (match === "Exact" && revision === "0")
    throw refuse(
      "resourceVersionMatch",
      'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
    );
}

function refuse(field: string, detail: string): ReturnType<typeof invalid> {
  const reason = detail.startsWith("Unsupported") ? "FieldValueNotSupported" : "FieldValueForbidden";
  return invalid(optionsKind, "", [{ reason, field, detail }]);
}
