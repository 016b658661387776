import { type FieldType, modelOf } from "#api/schema.ts";

/** Deeper than any Pod; a manifest made to nest goes no further. */
const maxDepth = 100;
const label = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;
const quantity = /^[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?\d+))?$/;
const time = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/;

/**
 * What is wrong with a parsed manifest as a Pod: the first field of a wrong type, or a name that would become part
 * of a path and may not. Fields that no Pod has are left alone, and nulls are absence.
 * @returns undefined when every field is what its type says; else the field and why, `spec.volumes[0].name ...`.
 */
export function wrongInPod(manifest: object): string | undefined {
  return wrongModel("Pod", manifest, "", 0) ?? wrongNames(manifest);
}

function wrongModel(model: string, value: unknown, path: string, depth: number): string | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return `${path} is no object`;
  if (depth > maxDepth) return `${path} is nested too deeply`;
  const fields = modelOf(model)?.fields;
  for (const [name, one] of Object.entries(value)) {
    const type = fields?.get(name)?.type;
    if (type === undefined || one === null) continue;
    const wrong = wrongValue(type, one, path === "" ? name : `${path}.${name}`, depth + 1);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function wrongValue(type: FieldType, value: unknown, path: string, depth: number): string | undefined {
  switch (type.is) {
    case "any":
      return undefined;
    case "model":
      return wrongModel(type.model, value, path, depth);
    case "list": {
      if (!Array.isArray(value)) return `${path} is no list`;
      return first(value, (one, index) => wrongValue(type.of, one, `${path}[${index}]`, depth + 1));
    }
    case "map": {
      if (typeof value !== "object" || value === null || Array.isArray(value)) return `${path} is no map`;
      return first(Object.entries(value), ([key, one]) =>
        wrongValue(type.of, one, `${path}.${key.slice(0, 63)}`, depth + 1),
      );
    }
    case "boolean":
      return typeof value === "boolean" ? undefined : `${path} is neither true nor false`;
    case "number":
      return isNumber(value, type.format) ? undefined : `${path} is no number of its size (${type.format})`;
    case "int-or-string":
      return typeof value === "string" || isNumber(value, "int32")
        ? undefined
        : `${path} is neither a number nor text`;
    case "quantity":
      return (typeof value === "string" || typeof value === "number") && quantity.test(String(value))
        ? undefined
        : `${path} is no quantity`;
    case "time":
    case "micro-time":
      return typeof value === "string" && time.test(value) ? undefined : `${path} is no time (RFC 3339)`;
    case "bytes":
    case "string":
      return typeof value === "string" ? undefined : `${path} is no text`;
    default:
      return type satisfies never;
  }
}

function isNumber(value: unknown, format: "int32" | "int64" | "double"): boolean {
  if (typeof value !== "number" || !Number.isFinite(value)) return false;
  if (format === "double") return true;
  return format === "int64" ? Number.isSafeInteger(value) : value === (value | 0);
}

/** Names that become directories and files, here and in the runtime. */
function wrongNames(manifest: object): string | undefined {
  const { metadata, spec } = manifest as {
    readonly metadata?: { readonly namespace?: string; readonly uid?: string };
    readonly spec?: Readonly<Record<string, unknown>>;
  };
  const { namespace = "", uid = "" } = metadata ?? {};
  if (namespace !== "" && !label.test(namespace)) return `metadata.namespace ${quoted(namespace)} is no name`;
  if (uid !== "" && !/^[-\w]{1,63}$/.test(uid)) return `metadata.uid ${quoted(uid)} is no name`;
  const containers = new Set<string>();
  for (const list of ["initContainers", "containers", "volumes"]) {
    const known = list === "volumes" ? new Set<string>() : containers;
    const wrong = first(itemsOf(spec?.[list]), ({ name = "" }, index) => {
      const path = `spec.${list}[${index}].name`;
      if (!label.test(name)) return `${path} ${quoted(name)} is no name`;
      if (known.has(name)) return `${path} ${quoted(name)} is there twice`;
      known.add(name);
      return undefined;
    });
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

/** Their types were seen to be right. */
function itemsOf(list: unknown): readonly { readonly name?: string }[] {
  return Array.isArray(list) ? (list as readonly { readonly name?: string }[]) : [];
}

function first<T>(
  items: readonly T[],
  find: (item: T, index: number) => string | undefined,
): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = find(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}

function quoted(name: string): string {
  return JSON.stringify(name.slice(0, 100));
}
