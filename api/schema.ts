import generated from "./generated/schema.json" with { type: "json" };

/** What stands at a place in an object. */
export type FieldType =
  | {
      readonly is:
        | "string"
        | "boolean"
        | "any"
        | "quantity"
        | "time"
        | "micro-time"
        | "int-or-string"
        | "bytes";
    }
  | { readonly is: "number"; readonly format: "int32" | "int64" | "double" }
  | { readonly is: "model"; readonly model: string }
  | { readonly is: "list"; readonly of: FieldType }
  | { readonly is: "map"; readonly of: FieldType };

export interface SchemaField {
  readonly name: string;
  readonly type: FieldType;
  readonly required: boolean;
  readonly description: string;
}

export interface SchemaModel {
  readonly name: string;
  readonly description: string;
  readonly fields: ReadonlyMap<string, SchemaField>;
}

interface GeneratedModel {
  readonly name: string;
  readonly description: string;
  readonly fields: readonly {
    readonly name: string;
    readonly type: string;
    readonly format: string;
    readonly required: boolean;
    readonly description: string;
  }[];
}

// One row per model; widened, because the compiler would otherwise carry 900 literal types around.
const source: Readonly<Record<string, GeneratedModel>> = generated.models;
const parsed = new Map<string, SchemaModel>();

/** A model by its name in the generated types (`Pod`, `V2HorizontalPodAutoscaler`), parsed when first asked for. */
export function modelOf(name: string): SchemaModel | undefined {
  const known = parsed.get(name);
  if (known !== undefined) return known;
  const found = Object.hasOwn(source, name) ? source[name] : undefined;
  if (found === undefined) return undefined;
  const model: SchemaModel = {
    name,
    description: found.description,
    fields: new Map(
      found.fields.map((field) => [
        field.name,
        {
          name: field.name,
          type: isQuantity(name, field.name) ? quantityAt(field.type) : parseType(field.type, field.format),
          required: field.required,
          description: field.description,
        },
      ]),
    ),
  };
  parsed.set(name, model);
  return model;
}

/** The model or list element or map value that lies under a field; undefined for scalars. */
export function modelUnder(type: FieldType): string | undefined {
  switch (type.is) {
    case "model":
      return type.model;
    case "list":
    case "map":
      return modelUnder(type.of);
    default:
      return undefined;
  }
}

function parseType(type: string, format: string): FieldType {
  const element = /^(?:Array|Set)<(.*)>$/.exec(type)?.[1];
  if (element !== undefined) return { is: "list", of: parseType(element, format) };
  const value = /^\{ \[key: string\]: (.*); \}$/.exec(type)?.[1];
  if (value !== undefined) return { is: "map", of: parseType(value, format) };
  switch (type) {
    case "string":
      return { is: format === "byte" ? "bytes" : "string" };
    case "boolean":
      return { is: "boolean" };
    case "number":
      return { is: "number", format: format === "int32" || format === "int64" ? format : "double" };
    case "Date":
      return { is: "time" };
    case "MicroTime":
    case "V1MicroTime":
      return { is: "micro-time" };
    case "IntOrString":
      return { is: "int-or-string" };
    case "Quantity":
      return { is: "quantity" };
    default:
      return Object.hasOwn(source, type) ? { is: "model", model: type } : { is: "any" };
  }
}

/** The generated types call quantities strings, but the wire takes numbers for them as well (`cpu: 1`). */
function quantityAt(type: string): FieldType {
  return type.startsWith("{") ? { is: "map", of: { is: "quantity" } } : { is: "quantity" };
}

const quantityFields: ReadonlySet<string> = new Set([
  ...["limits", "requests"].flatMap((field) => [
    `ResourceRequirements.${field}`,
    `VolumeResourceRequirements.${field}`,
  ]),
  "NodeStatus.capacity",
  "NodeStatus.allocatable",
  "ResourceQuotaSpec.hard",
  "ResourceQuotaStatus.hard",
  "ResourceQuotaStatus.used",
  ...["default", "defaultRequest", "max", "maxLimitRequestRatio", "min"].map(
    (field) => `LimitRangeItem.${field}`,
  ),
  "PersistentVolumeSpec.capacity",
  "PersistentVolumeClaimStatus.capacity",
  "PersistentVolumeClaimStatus.allocatedResources",
  "PodSpec.overhead",
  "PodStatus.allocatedResources",
  "Overhead.podFixed",
  "ContainerStatus.allocatedResources",
  "EmptyDirVolumeSource.sizeLimit",
  "ResourceFieldSelector.divisor",
  "V2MetricTarget.averageValue",
  "V2MetricTarget.value",
  "V2MetricValueStatus.averageValue",
  "V2MetricValueStatus.value",
  "V2HPAScalingRules.tolerance",
  "CSIStorageCapacity.capacity",
  "CSIStorageCapacity.maximumVolumeSize",
  "DeviceCapacity.value",
  "Counter.value",
  "CapacityRequirements.requests",
]);

const isQuantity = (model: string, field: string): boolean => quantityFields.has(`${model}.${field}`);
