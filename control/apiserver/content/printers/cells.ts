import type { Column, StoredObject } from "../../../model.ts";
import { scalar } from "../json.ts";
import { humanDuration } from "./human-duration.ts";

/** The age of a moment, or what Kubernetes shows when there is none. */
export function ageOf(time: unknown, nowMs: number, missing = "<unknown>"): string {
  const ms = typeof time === "string" ? Date.parse(time) : Number.NaN;
  return Number.isNaN(ms) ? missing : humanDuration(nowMs - ms);
}

/** A text column shown always. */
export const column = (name: string, cell: Column["cell"], type: Column["type"] = "string"): Column => ({
  name,
  type,
  description: name,
  priority: 0,
  cell,
});

/** A text column shown with `-o wide`. */
export const wide = (name: string, cell: Column["cell"]): Column => ({ ...column(name, cell), priority: 1 });

export const nameColumn: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name must be unique within a namespace.",
  priority: 0,
  cell: (object) => object.metadata.name,
};

export const ageColumn: Column = {
  name: "Age",
  type: "string",
  description: "How long ago the object was created.",
  priority: 0,
  cell: (object: StoredObject, nowMs: number) => ageOf(object.metadata.creationTimestamp, nowMs),
};

/** A scalar or the word for nothing. */
export const orNone = (value: unknown, none = "<none>"): string => scalar(value) || none;
