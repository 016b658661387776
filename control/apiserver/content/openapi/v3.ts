import { kubernetesVersion } from "#api/version.ts";
import { createHash } from "node:crypto";
import type { ResourceDefinition } from "../../../model.ts";
import type { Json } from "../json.ts";
import { definitionNames } from "./definition-names.ts";
import { definitions } from "./definitions.ts";
import { type Operation, operationsOf, patchTypes } from "./operations.ts";

/** Bump when the documents change without the resource table changing: clients cache them by hash. */
const format = "1.36/2";

const pathOf = (of: ResourceDefinition): string =>
  of.group === "" ? `api/${of.version}` : `apis/${of.group}/${of.version}`;

/** `/openapi/v3`: one document a group-version, each with the hash that clients cache it by. */
export function openApiV3Index(resources: readonly ResourceDefinition[]): Json {
  return {
    paths: Object.fromEntries(
      [...Map.groupBy(resources, pathOf)].map(([path, served]) => [
        path,
        { serverRelativeURL: `/openapi/v3/${path}?hash=${hashOf(served)}` },
      ]),
    ),
  };
}

function hashOf(served: readonly ResourceDefinition[]): string {
  const identity = served.map(({ group, version, plural, kind, verbs, subresources, model }) => [
    group,
    version,
    plural,
    kind,
    verbs,
    subresources,
    model,
  ]);
  return createHash("sha256")
    .update(JSON.stringify([format, identity]))
    .digest("hex")
    .toUpperCase();
}

/**
 * `/openapi/v3/<path>`: schemas and paths of one group-version.
 * @param path `api/v1` or `apis/apps/v1`
 * @returns undefined for a group-version nobody serves.
 */
export function openApiV3(resources: readonly ResourceDefinition[], path: string): Json | undefined {
  const served = resources.filter((each) => pathOf(each) === path);
  if (served.length === 0) return undefined;
  // Names come from the whole table, so that a type is called the same in every document.
  const all = definitionNames(resources);
  const reached = definitionNames(served);
  const names = new Map([...reached.keys()].map((model) => [model, all.get(model) ?? model]));
  return {
    openapi: "3.0.0",
    info: { title: "Kubernetes", version: kubernetesVersion },
    paths: pathItems(served.flatMap(operationsOf), names),
    components: { schemas: definitions(resources, names, 3) },
  };
}

function pathItems(operations: readonly Operation[], names: ReadonlyMap<string, string>): Json {
  return Object.fromEntries(
    [...Map.groupBy(operations, (each) => each.path)].map(([path, methods]) => [
      path,
      {
        ...Object.fromEntries(methods.map((each) => [each.method, operationItem(each, names)])),
        parameters: ["namespace", "name"]
          .filter((name) => path.includes(`{${name}}`))
          .map((name) => ({
            name,
            in: "path",
            required: true,
            schema: { type: "string", uniqueItems: true },
          })),
      },
    ]),
  );
}

function operationItem(of: Operation, names: ReadonlyMap<string, string>): Json {
  const schema = { $ref: `#/components/schemas/${names.get(of.model) ?? of.model}` };
  const patch = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
  const bodies =
    of.method === "patch"
      ? patchTypes.map((type) => [type, { schema: { type: "object", title: patch } }] as const)
      : of.method === "put" || of.method === "post"
        ? [["*/*", { schema }] as const]
        : [];
  return {
    operationId: of.id,
    parameters: of.queryParameters.map((name) => ({
      name,
      in: "query",
      schema: { type: "string", uniqueItems: true },
    })),
    ...(bodies.length === 0 ? {} : { requestBody: { content: Object.fromEntries(bodies), required: true } }),
    responses: { "200": { description: "OK", content: { "application/json": { schema } } } },
    "x-kubernetes-action": of.action,
    "x-kubernetes-group-version-kind": of.kind,
  };
}
