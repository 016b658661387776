import type { FieldError, ResourceDefinition, StoredObject, Strategy } from "../../../model.ts";
import { sameMeaning } from "../json.ts";
import { validateMetadata, validateMetadataUpdate } from "./metadata.ts";

/** What the resource table knows of a kind. */
export interface KindTraits {
  readonly kind: string;
  readonly group: string;
  readonly namespaced: boolean;
  readonly nameRule: ResourceDefinition["nameRule"];
  readonly hasStatus: boolean;
}

/** What a kind adds to the generic strategy; each part is pure and may be left out. */
export interface KindRules {
  /** Kinds whose metadata.generation counts changes of the spec. */
  readonly generation?: true;
  /** What a change of raises the generation; the spec unless said. */
  readonly generationOf?: (object: StoredObject) => unknown;
  /** Nodes bring their status when they register. */
  readonly keepStatusOnCreate?: true;
  readonly defaults?: (object: StoredObject) => StoredObject;
  /** The status a new object starts with; empty unless said. */
  readonly initialStatus?: (object: StoredObject) => unknown;
  readonly prepareUpdate?: (next: StoredObject, before: StoredObject) => StoredObject;
  readonly validate?: (object: StoredObject) => readonly FieldError[];
  readonly validateUpdate?: (next: StoredObject, before: StoredObject) => readonly FieldError[];
  readonly gracePeriodSeconds?: (object: StoredObject) => number;
  readonly allowCreateOnUpdate?: true;
  readonly conditionalUpdateOnly?: true;
}

/** Splits spec from status where the kind has `/status`, counts generations, validates metadata. */
export function genericStrategy(traits: KindTraits, rules: KindRules): Strategy {
  const defaults = rules.defaults ?? ((object: StoredObject) => object);
  const validate = (object: StoredObject): readonly FieldError[] => [
    ...validateMetadata(object, traits),
    ...(rules.validate?.(object) ?? []),
  ];
  return {
    defaults,
    prepareCreate: (object) => {
      const fresh = rules.generation === undefined ? object : withGeneration(object, 1);
      if (rules.keepStatusOnCreate === true) return fresh;
      return traits.hasStatus ? withStatus(fresh, rules.initialStatus?.(fresh)) : fresh;
    },
    prepareUpdate: (next, before) => {
      const split = traits.hasStatus ? withStatus(next, before["status"]) : next;
      const prepared = rules.prepareUpdate?.(split, before) ?? split;
      return rules.generation === undefined
        ? prepared
        : countGeneration(prepared, before, rules.generationOf ?? ((object) => object["spec"]));
    },
    prepareStatusUpdate: (next, before) => {
      const { status: _old, ...kept } = before;
      return {
        ...kept,
        apiVersion: before.apiVersion,
        kind: before.kind,
        metadata: clientMetadata(next, before),
        ...(next["status"] === undefined ? {} : { status: next["status"] }),
      };
    },
    validateCreate: validate,
    validateUpdate: (next, before) => [
      ...validateMetadataUpdate(next, before),
      ...validateMetadata(next, traits),
      // What was stored stays valid: a status or label can change under an old spec that new rules refuse.
      ...(before["spec"] !== undefined && sameMeaning(next["spec"], before["spec"])
        ? []
        : (rules.validate?.(next) ?? [])),
      ...(rules.validateUpdate?.(next, before) ?? []),
    ],
    gracePeriodSeconds: rules.gracePeriodSeconds ?? (() => 0),
    allowCreateOnUpdate: rules.allowCreateOnUpdate ?? false,
    allowUnconditionalUpdate: rules.conditionalUpdateOnly === undefined,
  };
}

/** Labels, annotations and the like follow the client on `/status` too; identity and lifecycle do not. */
function clientMetadata(next: StoredObject, before: StoredObject): StoredObject["metadata"] {
  const {
    generation: _generation,
    deletionTimestamp: _at,
    deletionGracePeriodSeconds: _grace,
    ...metadata
  } = next.metadata;
  const { generation, deletionTimestamp, deletionGracePeriodSeconds, uid, creationTimestamp } =
    before.metadata;
  return {
    ...metadata,
    ...(generation === undefined ? {} : { generation }),
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(deletionGracePeriodSeconds === undefined ? {} : { deletionGracePeriodSeconds }),
    ...(uid === undefined ? {} : { uid }),
    ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
  };
}

const withGeneration = (object: StoredObject, generation: number): StoredObject => ({
  ...object,
  metadata: { ...object.metadata, generation },
});

function withStatus(object: StoredObject, status: unknown): StoredObject {
  const { status: _dropped, ...rest } = object;
  return status === undefined
    ? { ...rest, apiVersion: object.apiVersion, kind: object.kind, metadata: object.metadata }
    : { ...object, status };
}

function countGeneration(
  next: StoredObject,
  before: StoredObject,
  of: (object: StoredObject) => unknown,
): StoredObject {
  const generation = before.metadata.generation ?? 1;
  return withGeneration(next, sameMeaning(of(next), of(before)) ? generation : generation + 1);
}
