import type { Column, StoredObject } from "../../../model.ts";
import { at, list, records, scalar, strings, text } from "../json.ts";
import { humanDuration } from "./human-duration.ts";

/** The age of a moment, or what Kubernetes shows when there is none. */
export function ageOf(time: unknown, nowMs: number, missing = "<unknown>"): string {
  const ms = typeof time === "string" ? Date.parse(time) : Number.NaN;
  return Number.isNaN(ms) ? missing : humanDuration(nowMs - ms);
}

/** A column shown always. */
export const column = (name: string, cell: Column["cell"], type: Column["type"] = "string"): Column => ({
  name,
  type,
  description: `${name} of the object.`,
  priority: 0,
  cell,
});

/** A column shown with `-o wide`. */
export const wide = (name: string, cell: Column["cell"]): Column => ({ ...column(name, cell), priority: 1 });

export const nameColumn: Column = {
  name: "Name",
  type: "string",
  format: "name",
  description: "Name must be unique within a namespace.",
  priority: 0,
  cell: (object) => object.metadata.name,
};

export const ageColumn: Column = column("Age", (object, nowMs) =>
  ageOf(object.metadata.creationTimestamp, nowMs),
);

/** The number at a path, 0 when absent. */
export const countAt =
  (path: string) =>
  (object: StoredObject): number =>
    Number(at(object, path) ?? 0);

/** The scalar at a path, or the word for nothing. */
export const textAt =
  (path: string, none = "<none>") =>
  (object: StoredObject): string =>
    scalar(at(object, path)) || none;

/** `a=b,c=d` in order of keys, or `<none>`. */
export function formatLabels(labels: unknown): string {
  const pairs = Object.entries(strings(labels)).map(([key, value]) => `${key}=${value}`);
  return pairs.toSorted().join(",") || "<none>";
}

/** A LabelSelector as kubectl shows it: `app=web,tier in (a,b)`. */
export function formatLabelSelector(selector: unknown): string {
  const equalities = Object.entries(strings(at(selector, "matchLabels")))
    .map(([key, value]) => `${key}=${value}`)
    .toSorted();
  const expressions = records(at(selector, "matchExpressions")).map((each) => {
    const key = text(each["key"]);
    const values = `(${list(each["values"]).map(text).toSorted().join(",")})`;
    switch (each["operator"]) {
      case "In":
        return `${key} in ${values}`;
      case "NotIn":
        return `${key} notin ${values}`;
      case "DoesNotExist":
        return `!${key}`;
      default:
        return key;
    }
  });
  return [...equalities, ...expressions].join(",") || "<none>";
}

/** Names and images of a pod template's containers, each joined by commas. */
export function containerColumns(templatePath: string): readonly Column[] {
  const joined = (key: string) => (object: StoredObject) =>
    records(at(object, `${templatePath}.containers`))
      .map((container) => text(container[key]))
      .join(",") || "<none>";
  return [wide("Containers", joined("name")), wide("Images", joined("image"))];
}

/** `status` of a condition, or "". */
export const conditionStatus = (object: StoredObject, type: string): string =>
  text(records(at(object, "status.conditions")).find((each) => each["type"] === type)?.["status"]);
