import type { ResourceDefinition } from "../../../model.ts";
import type { Json } from "../json.ts";
import { isAtomic, keysOf } from "../patch/field-set.ts";
import { mergeRule } from "../patch/merge-keys.ts";
import { type FieldType, modelOf, type SchemaField } from "#api/schema.ts";
import { extraKinds, listModel } from "./definition-names.ts";

/** OpenAPI 2 and 3 differ in where schemas live and in how a reference takes a description. */
export type OpenApiVersion = 2 | 3;

/** Name -> schema of everything that the resources reach. */
export function definitions(
  resources: readonly ResourceDefinition[],
  names: ReadonlyMap<string, string>,
  version: OpenApiVersion,
): Readonly<Record<string, Json>> {
  const kinds = kindsOf(resources);
  return Object.fromEntries(
    [...names]
      .map(([model, name]) => [name, definition(model, names, kinds.get(model) ?? [], version)] as const)
      .toSorted(([left], [right]) => (left < right ? -1 : 1)),
  );
}

/** Model -> the group-version-kinds it is the body of. */
function kindsOf(resources: readonly ResourceDefinition[]): ReadonlyMap<string, readonly Json[]> {
  const all = [
    ...resources.flatMap((each) => {
      const { group, version, kind, model } = each;
      const list = listModel(each);
      return [
        { group, version, kind, model },
        ...(list === undefined ? [] : [{ group, version, kind: `${kind}List`, model: list }]),
      ];
    }),
    ...extraKinds,
  ];
  const kinds = new Map<string, Json[]>();
  for (const { group, version, kind, model } of all) {
    kinds.set(model, [...(kinds.get(model) ?? []), { group, kind, version }]);
  }
  return kinds;
}

function definition(
  model: string,
  names: ReadonlyMap<string, string>,
  kinds: readonly Json[],
  version: OpenApiVersion,
): Json {
  const found = modelOf(model);
  const fields = [...(found?.fields.values() ?? [])];
  const required = fields.filter((field) => field.required).map((field) => field.name);
  return {
    ...described(found?.description ?? ""),
    ...(required.length === 0 ? {} : { required }),
    type: "object",
    ...(fields.length === 0
      ? {}
      : {
          properties: Object.fromEntries(
            fields.map((field) => [field.name, property(model, field, names, version)]),
          ),
        }),
    ...(kinds.length === 0 ? {} : { "x-kubernetes-group-version-kind": kinds }),
  };
}

/** The generated descriptions may still carry the escapes of the source they come from. */
const described = (description: string): Json =>
  description === "" ? {} : { description: description.replaceAll(/\\(['"])/g, "$1") };

function property(
  model: string,
  field: SchemaField,
  names: ReadonlyMap<string, string>,
  version: OpenApiVersion,
): Json {
  const schema = schemaOf(field.type, names, version);
  const rule = mergeRule(model, field.name);
  const strategies = [
    ...(rule.key === undefined ? [] : ["merge"]),
    ...(rule.retainKeys === undefined ? [] : ["retainKeys"]),
    ...(rule.replace === undefined ? [] : ["replace"]),
  ];
  const keys = keysOf(model, field.name);
  const listType = keys === undefined ? "atomic" : keys.length === 0 ? "set" : "map";
  return {
    ...described(field.description),
    // In OpenAPI 3 nothing may stand beside a $ref, so it is wrapped.
    ...(version === 3 && "$ref" in schema ? { allOf: [schema] } : schema),
    ...(field.type.is === "list" ? { "x-kubernetes-list-type": listType } : {}),
    ...(field.type.is === "list" && listType === "map" ? { "x-kubernetes-list-map-keys": keys } : {}),
    ...(field.type.is !== "list" && isAtomic(model, field.name, field.type)
      ? { "x-kubernetes-map-type": "atomic" }
      : {}),
    ...(rule.key === undefined || rule.key === "" ? {} : { "x-kubernetes-patch-merge-key": rule.key }),
    ...(strategies.length === 0 ? {} : { "x-kubernetes-patch-strategy": strategies.join(",") }),
  };
}

function schemaOf(type: FieldType, names: ReadonlyMap<string, string>, version: OpenApiVersion): Json {
  switch (type.is) {
    case "model": {
      const name = names.get(type.model);
      if (name === undefined) return { type: "object" };
      return { $ref: `${version === 2 ? "#/definitions/" : "#/components/schemas/"}${name}` };
    }
    case "list":
      return { type: "array", items: schemaOf(type.of, names, version) };
    case "map":
      return { type: "object", additionalProperties: schemaOf(type.of, names, version) };
    case "number":
      return type.format === "double"
        ? { type: "number", format: "double" }
        : { type: "integer", format: type.format };
    case "boolean":
      return { type: "boolean" };
    case "bytes":
      return { type: "string", format: "byte" };
    case "time":
    case "micro-time":
      return { type: "string", format: "date-time" };
    case "int-or-string":
      return version === 2
        ? { type: "string", format: "int-or-string" }
        : { format: "int-or-string", oneOf: [{ type: "integer" }, { type: "string" }] };
    case "quantity":
      return version === 2 ? { type: "string" } : { oneOf: [{ type: "string" }, { type: "number" }] };
    case "any":
      return { type: "object" };
    default:
      return { type: "string" };
  }
}
