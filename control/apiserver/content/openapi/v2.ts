import { kubernetesVersion } from "#api/version.ts";
import type { ResourceDefinition } from "../../../model.ts";
import type { Json } from "../json.ts";
import { definitionNames } from "./definition-names.ts";
import { definitions } from "./definitions.ts";
import { encodeDocument } from "./gnostic.ts";
import { type Operation, operationsOf, patchTypes } from "./operations.ts";

/** `/openapi/v2` as JSON: for curl and for clients that can read it. */
export function openApiV2Json(resources: readonly ResourceDefinition[]): Json {
  const names = definitionNames(resources);
  const operations = resources.flatMap(operationsOf);
  return {
    swagger: "2.0",
    info: { title: "Kubernetes", version: kubernetesVersion },
    paths: Object.fromEntries(
      [...Map.groupBy(operations, (each) => each.path)].map(([path, methods]) => [
        path,
        {
          ...Object.fromEntries(methods.map((each) => [each.method, operationItem(each, names)])),
          parameters: ["namespace", "name"]
            .filter((name) => path.includes(`{${name}}`))
            .map((name) => ({ name, in: "path", required: true, type: "string", uniqueItems: true })),
        },
      ]),
    ),
    definitions: definitions(resources, names, 2),
  };
}

/**
 * What the protobuf form is answered as. Clients ask for `...spec.v2@v1.0+protobuf`, but an "@" is not
 * allowed in a media type and Go's reader refuses it in an answer.
 */
export const openApiV2ContentType = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/** `/openapi/v2` as gnostic's protobuf, which kubectl before 1.29 insists on. */
export function openApiV2(resources: readonly ResourceDefinition[]): Uint8Array {
  return encodeDocument(openApiV2Json(resources));
}

function operationItem(of: Operation, names: ReadonlyMap<string, string>): Json {
  const schema = { $ref: `#/definitions/${names.get(of.model) ?? of.model}` };
  const hasBody = of.method !== "get" && of.method !== "delete";
  return {
    operationId: of.id,
    consumes: of.method === "patch" ? patchTypes : ["*/*"],
    produces: ["application/json", "application/yaml"],
    parameters: [
      ...(hasBody
        ? [
            {
              name: "body",
              in: "body",
              required: true,
              schema: of.method === "patch" ? { type: "object" } : schema,
            },
          ]
        : []),
      ...of.queryParameters.map((name) => ({ name, in: "query", type: "string", uniqueItems: true })),
    ],
    responses: { "200": { description: "OK", schema } },
    "x-kubernetes-action": of.action,
    "x-kubernetes-group-version-kind": of.kind,
  };
}
