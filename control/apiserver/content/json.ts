/** Reading untyped JSON without casts: what is absent or of another shape reads as empty. */

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

const nothing: Json = Object.freeze({});

export function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @returns the object, or an empty one. */
export const record = (value: unknown): Json => (isJson(value) ? value : nothing);

/** @returns the list, or an empty one. */
export const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/** @returns the objects of the list; members of other types are left out. */
export const records = (value: unknown): readonly Json[] => list(value).filter(isJson);

/** @returns the string, or "". */
export const text = (value: unknown): string => (typeof value === "string" ? value : "");

/** @returns the number, or the fallback. */
export const number = (value: unknown, fallback = 0): number =>
  typeof value === "number" && Number.isFinite(value) ? value : fallback;

/** @param path dotted, `spec.template.spec` */
export function at(value: unknown, path: string): unknown {
  let here: unknown = value;
  for (const key of path.split(".")) here = record(here)[key];
  return here;
}

/** Strings of a map such as labels; values of other types are left out. */
export function strings(value: unknown): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const [key, each] of Object.entries(record(value))) if (typeof each === "string") found[key] = each;
  return found;
}

/** A scalar as Go prints it; "" for nothing and for objects. */
export function scalar(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** Deep equality of JSON. Key order does not count; an absent key and `undefined` are equal. */
export function equal(left: unknown, right: unknown): boolean {
  if (Object.is(left, right)) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((each, index) => equal(each, right[index]));
  }
  if (!isJson(left) || !isJson(right)) return false;
  for (const key of Object.keys(left)) if (!equal(left[key], right[key])) return false;
  for (const key of Object.keys(right)) if (right[key] !== undefined && left[key] === undefined) return false;
  return true;
}

/**
 * Equality as Kubernetes compares specs: `null`, "", empty lists and empty maps equal absence.
 * Go's `omitempty` loses the difference, so a client cannot mean one by it.
 */
export function sameMeaning(left: unknown, right: unknown): boolean {
  if (isNothing(left) && isNothing(right)) return true;
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.length === right.length && left.every((each, index) => sameMeaning(each, right[index]));
  }
  if (isJson(left) && isJson(right)) {
    return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) =>
      sameMeaning(left[key], right[key]),
    );
  }
  return Object.is(left, right);
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return true;
  if (Array.isArray(value)) return value.length === 0;
  return isJson(value) && Object.values(value).every((each) => each === undefined);
}
