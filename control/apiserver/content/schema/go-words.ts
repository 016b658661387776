import type { FieldType } from "#api/schema.ts";

/** The struct a model is in Go: `CoreV1Event` is `Event`, `V2MetricSpec` is `MetricSpec`. */
export const goTypeName = (model: string): string =>
  model.replace(/^(?:[A-Z][a-z]+)?V\d+(?:(?:alpha|beta)\d+)?(?=[A-Z])/, "");

/** `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32` */
export function wrongType(
  value: unknown,
  type: FieldType,
  place: { readonly struct: string; readonly goPath: string } | undefined,
): string {
  const target = place === undefined ? "Go value" : `Go struct field ${place.struct}.${place.goPath}`;
  return `json: cannot unmarshal ${jsonKind(value)} into ${target} of type ${goType(type)}`;
}

function jsonKind(value: unknown): string {
  if (Array.isArray(value)) return "array";
  switch (typeof value) {
    case "number":
      return Number.isInteger(value) && Math.abs(value) < 2 ** 31 ? "number" : `number ${value}`;
    case "string":
      return "string";
    case "boolean":
      return "bool";
    default:
      return "object";
  }
}

function goType(type: FieldType): string {
  switch (type.is) {
    case "model": {
      const version = /^(?:[A-Z][a-z]+)?V(\d+(?:(?:alpha|beta)\d+)?)(?=[A-Z])/.exec(type.model)?.[1] ?? "1";
      return `v${version}.${goTypeName(type.model)}`;
    }
    case "list":
      return `[]${goType(type.of)}`;
    case "map":
      return `map[string]${goType(type.of)}`;
    case "number":
      return type.format === "double" ? "float64" : type.format;
    case "boolean":
      return "bool";
    case "bytes":
      return "[]uint8";
    case "int-or-string":
      return "intstr.IntOrString";
    case "quantity":
      return "resource.Quantity";
    case "any":
      return "interface {}";
    default:
      return "string";
  }
}
