import type { ResourceDefinition, StoredObject } from "../../../model.ts";
import type { Json } from "../json.ts";

export interface TableOptions {
  /** How much of each object goes along with its row. */
  readonly includeObject: "None" | "Metadata" | "Object";
  readonly nowMs: number;
  /** False for the later events of a watch. */
  readonly withColumns: boolean;
  /** resourceVersion, continue, remainingItemCount. */
  readonly listMetadata?: Json;
}

/** meta.k8s.io/v1 Table: what kubectl prints. */
export interface Table {
  readonly kind: "Table";
  readonly apiVersion: "meta.k8s.io/v1";
  readonly metadata: Json;
  readonly columnDefinitions: readonly Json[];
  readonly rows: readonly {
    readonly cells: readonly (string | number | boolean)[];
    readonly object?: unknown;
  }[];
}

/** @param objects as they are served, in the order of the rows. */
export function renderTable(
  definition: ResourceDefinition,
  objects: readonly StoredObject[],
  options: TableOptions,
): Table {
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata: options.listMetadata ?? {},
    columnDefinitions: options.withColumns
      ? definition.columns.map(({ name, type, format, description, priority }) => ({
          name,
          type,
          format: format ?? "",
          description,
          priority,
        }))
      : [],
    rows: objects.map((object) => ({
      cells: definition.columns.map((column) => column.cell(object, options.nowMs)),
      ...shown(object, options.includeObject),
    })),
  };
}

function shown(object: StoredObject, include: TableOptions["includeObject"]): { readonly object?: unknown } {
  switch (include) {
    case "None":
      return {};
    case "Object":
      return { object };
    case "Metadata":
      return {
        object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata },
      };
    default:
      return include satisfies never;
  }
}
