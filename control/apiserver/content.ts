import type { ResourceDefinition, StoredObject } from "../model.ts";
import { aggregatedDiscovery } from "./content/discovery/aggregated.ts";
import { apiGroup, apiGroupList, apiResourceList, apiVersions } from "./content/discovery/legacy.ts";
import { fromStorage, toStorage } from "./content/conversion.ts";
import { openApiV2, openApiV2Json } from "./content/openapi/v2.ts";
import { openApiV3, openApiV3Index } from "./content/openapi/v3.ts";
import { jsonPatch } from "./content/patch/json-patch.ts";
import { mergePatch } from "./content/patch/merge-patch.ts";
import { strategicMergePatch } from "./content/patch/strategic-merge-patch.ts";
import { renderTable, type TableOptions } from "./content/printers/render-table.ts";
import { type CheckedFields, checkFields } from "./content/schema/check-fields.ts";
import { parseBody, type ParsedBody } from "./content/schema/parse-body.ts";

/** What the engine knows about objects only through these pure functions; `content/` has them. */
export interface Content {
  /** JSON, YAML or protobuf. @throws {ApiError} 400, 415. */
  readonly parseBody: (contentType: string, bytes: Uint8Array) => ParsedBody;
  /** Unknown fields, wrong types. */
  readonly checkFields: (
    model: string,
    object: unknown,
    level: "ignore" | "warn" | "strict",
    duplicates: readonly string[],
  ) => CheckedFields;
  /** The patches. @throws {ApiError} for a patch that cannot be applied. */
  readonly jsonPatch: (document: unknown, patch: unknown) => unknown;
  readonly mergePatch: (document: unknown, patch: unknown) => unknown;
  readonly strategicMergePatch: (model: string, document: unknown, patch: unknown) => unknown;
  /** Served form to stored form and back, for kinds that share their storage. */
  readonly toStorage: (definition: ResourceDefinition, object: StoredObject) => StoredObject;
  readonly fromStorage: (definition: ResourceDefinition, object: StoredObject) => StoredObject;
  readonly renderTable: (
    definition: ResourceDefinition,
    objects: readonly StoredObject[],
    options: TableOptions,
  ) => unknown;
  /** The document at `/api`, `/apis`, `/api/v1`, `/apis/<group>`, `/apis/<group>/<version>`; undefined: no such path. */
  readonly legacyDiscovery: (
    resources: readonly ResourceDefinition[],
    path: string,
    serverAddress: string,
  ) => unknown;
  /** `APIGroupDiscoveryList` for `/api` or `/apis`. */
  readonly aggregatedDiscovery: (
    resources: readonly ResourceDefinition[],
    root: "api" | "apis",
    version: "v2" | "v2beta1",
  ) => unknown;
  /** gnostic `openapi_v2.Document`. */
  readonly openApiV2: (resources: readonly ResourceDefinition[]) => Uint8Array;
  readonly openApiV2Json: (resources: readonly ResourceDefinition[]) => unknown;
  readonly openApiV3Index: (resources: readonly ResourceDefinition[]) => unknown;
  /** @param path `api/v1`, `apis/apps/v1`. @returns undefined for a path that is not served. */
  readonly openApiV3: (resources: readonly ResourceDefinition[], path: string) => unknown;
}

/** Kubernetes' own kinds. */
export const kubernetesContent: Content = {
  parseBody,
  checkFields,
  jsonPatch,
  mergePatch,
  strategicMergePatch,
  toStorage,
  fromStorage,
  renderTable,
  legacyDiscovery,
  aggregatedDiscovery,
  openApiV2,
  openApiV2Json,
  openApiV3Index,
  openApiV3,
};

function legacyDiscovery(
  resources: readonly ResourceDefinition[],
  path: string,
  serverAddress: string,
): unknown {
  const [, root, first, second, ...rest] = path.split("/");
  if (rest.length > 0) return undefined;
  if (root === "api") {
    if (first === undefined) return apiVersions(serverAddress);
    return second === undefined ? apiResourceList(resources, "", first) : undefined;
  }
  if (root !== "apis") return undefined;
  if (first === undefined) return apiGroupList(resources);
  return second === undefined ? apiGroup(resources, first) : apiResourceList(resources, first, second);
}
