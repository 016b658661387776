import { type ApiError, badRequest } from "../../../api-error.ts";
import { isJson, type Json } from "../json.ts";
import { goTypeName, wrongType } from "./go-words.ts";
import { type FieldType, modelOf } from "#api/schema.ts";

export interface CheckedFields {
  /** The object without unknown fields and without nulls; as Go would read it. */
  readonly object: Json;
  /** For `Warning` headers: one a finding; empty unless the level is "warn". */
  readonly warnings: readonly string[];
  /** Each makes the body unreadable (400): wrong types at every level, findings at "strict". */
  readonly errors: readonly string[];
}

/** What is being read, and what was found so far. */
interface Reading {
  readonly unknown: string[];
  readonly wrong: string[];
}

/** Where a value stands: as a person writes it, as Go's decoder names it, and in which struct. */
interface Place {
  /** `spec.containers[0].image` */
  readonly path: string;
  /** `spec.containers.image` */
  readonly goPath: string;
  readonly struct: string;
}

const maxDepth = 200;
const maxFindings = 100;

/**
 * Reads a body as a typed server would: unknown fields go, nulls are absence, wrong types are errors.
 * @param model a name of `api/generated/schema.json`; an unknown model passes through unchecked.
 * @param duplicates what `parseBody` noticed; counted as findings of the same level.
 */
export function checkFields(
  model: string,
  object: unknown,
  level: "ignore" | "warn" | "strict",
  duplicates: readonly string[] = [],
): CheckedFields {
  const reading: Reading = { unknown: [], wrong: [] };
  const root: Place = { path: "", goPath: "", struct: goTypeName(model) };
  if (!isJson(object)) {
    const why = wrongType(object, { is: "model", model }, undefined);
    return { object: {}, warnings: [], errors: [why] };
  }
  const checked = modelOf(model) === undefined ? object : readModel(model, object, root, reading, 0);
  const findings = [...duplicates, ...reading.unknown];
  const strict = level === "strict" && findings.length > 0;
  return {
    object: checked,
    warnings: level === "warn" ? findings : [],
    errors: [
      ...reading.wrong.slice(0, 1), // Go's decoder tells the first only
      ...(strict ? [`strict decoding error: ${findings.join(", ")}`] : []),
    ],
  };
}

/** The 400 for a body with errors, as Kubernetes words it. @param version without the group: `v1` */
export function unreadableBody(kind: string, version: string, errors: readonly string[]): ApiError {
  return badRequest(
    `${kind} in version ${JSON.stringify(version)} cannot be handled as a ${kind}: ${errors.join(", ")}`,
  );
}

function readModel(model: string, object: Json, place: Place, reading: Reading, depth: number): Json {
  const fields = modelOf(model)?.fields;
  if (fields === undefined || fields.size === 0) return object;
  const result: [string, unknown][] = [];
  for (const [name, value] of Object.entries(object)) {
    const path = place.path === "" ? name : `${place.path}.${name}`;
    const field = fields.get(name);
    if (field === undefined) {
      if (reading.unknown.length < maxFindings) reading.unknown.push(`unknown field ${JSON.stringify(path)}`);
      continue;
    }
    if (value === null || value === undefined) continue;
    const goPath = place.goPath === "" ? name : `${place.goPath}.${name}`;
    const here = { path, goPath, struct: goTypeName(model) };
    const read = readValue(field.type, value, here, reading, depth + 1);
    if (read !== undefined) result.push([name, read]);
  }
  return Object.fromEntries(result);
}

/** @returns undefined for what has a wrong type; it was noted. */
function readValue(type: FieldType, value: unknown, place: Place, reading: Reading, depth: number): unknown {
  if (depth > maxDepth) {
    reading.wrong.push("json: exceeded max depth");
    return undefined;
  }
  switch (type.is) {
    case "any":
      return value;
    case "model":
      if (isJson(value)) return readModel(type.model, value, place, reading, depth);
      break;
    case "list":
      if (!Array.isArray(value)) break;
      return value.map((each, index) => {
        const at = { ...place, path: `${place.path}[${index}]` };
        return each === null ? zero(type.of) : readValue(type.of, each, at, reading, depth + 1);
      });
    case "map":
      if (!isJson(value)) break;
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [
          key,
          each === null
            ? zero(type.of)
            : readValue(type.of, each, { ...place, path: `${place.path}.${key}` }, reading, depth + 1),
        ]),
      );
    default: {
      const why = wrongScalar(type, value, place);
      if (why === undefined) return type.is === "quantity" ? String(value) : value;
      reading.wrong.push(why);
      return undefined;
    }
  }
  reading.wrong.push(wrongType(value, type, place));
  return undefined;
}

const quantityPattern = /^[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?\d+))?$/;
const timePattern = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

function wrongScalar(type: FieldType, value: unknown, place: Place): string | undefined {
  switch (type.is) {
    case "string":
      return typeof value === "string" ? undefined : wrongType(value, type, place);
    case "boolean":
      return typeof value === "boolean" ? undefined : wrongType(value, type, place);
    case "number":
      return isNumber(value, type.format) ? undefined : wrongType(value, type, place);
    case "int-or-string":
      return typeof value === "string" || isNumber(value, "int32")
        ? undefined
        : wrongType(value, type, place);
    case "bytes": {
      if (typeof value !== "string") return wrongType(value, type, place);
      const bad = /[^A-Za-z0-9+/=\r\n]/.exec(value)?.index;
      if (bad !== undefined) return `illegal base64 data at input byte ${bad}`;
      return value.replaceAll(/\s/g, "").length % 4 === 0
        ? undefined
        : `illegal base64 data at input byte ${value.length}`;
    }
    case "quantity":
      if (typeof value !== "string" && typeof value !== "number") return wrongType(value, type, place);
      return quantityPattern.test(String(value).trim())
        ? undefined
        : "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    case "time":
    case "micro-time":
      if (typeof value !== "string") return wrongType(value, type, place);
      return timePattern.test(value)
        ? undefined
        : `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(value)} as "2006"`;
    default:
      return undefined;
  }
}

function isNumber(value: unknown, format: "int32" | "int64" | "double"): boolean {
  if (typeof value !== "number") return false;
  if (format === "double") return true;
  return Number.isInteger(value) && (format === "int64" || Math.abs(value) <= 2_147_483_648);
}

/** What Go makes of null inside a list or a map. */
function zero(type: FieldType): unknown {
  switch (type.is) {
    case "model":
    case "map":
      return {};
    case "list":
      return [];
    case "boolean":
      return false;
    case "number":
    case "int-or-string":
      return 0;
    case "quantity":
      return "0";
    case "any":
      return null;
    default:
      return "";
  }
}
