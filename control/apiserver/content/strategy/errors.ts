import type { FieldError } from "../../../model.ts";

/** A value as Go's `%q` or `%#v` shows it in field errors. */
function shown(value: unknown): string {
  return typeof value === "number" || typeof value === "boolean"
    ? String(value)
    : JSON.stringify(value ?? "");
}

const make = (reason: string, field: string, detail: string): FieldError => ({ reason, field, detail });
const tail = (why: string): string => (why === "" ? "" : `: ${why}`);

export const invalid = (field: string, value: unknown, why: string): FieldError =>
  make("FieldValueInvalid", field, `Invalid value: ${shown(value)}${tail(why)}`);

export const required = (field: string, why = ""): FieldError =>
  make("FieldValueRequired", field, `Required value${tail(why)}`);

export const forbidden = (field: string, why: string): FieldError =>
  make("FieldValueForbidden", field, `Forbidden${tail(why)}`);

export const duplicate = (field: string, value: unknown): FieldError =>
  make("FieldValueDuplicate", field, `Duplicate value: ${shown(value)}`);

export const notFound = (field: string, value: unknown): FieldError =>
  make("FieldValueNotFound", field, `Not found: ${shown(value)}`);

export const notSupported = (field: string, value: unknown, supported: readonly string[]): FieldError =>
  make(
    "FieldValueNotSupported",
    field,
    `Unsupported value: ${shown(value)}: supported values: ${[...supported]
      .sort()
      .map((each) => JSON.stringify(each))
      .join(", ")}`,
  );

export const tooLong = (field: string, maxBytes: number): FieldError =>
  make("FieldValueTooLong", field, `Too long: may not be more than ${maxBytes} bytes`);

export const immutable = (field: string, value: unknown): FieldError =>
  invalid(field, value, "field is immutable");
