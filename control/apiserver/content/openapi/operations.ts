import type { ResourceDefinition, Verb } from "../../../model.ts";
import { subresourceKind } from "../discovery/subresource-kinds.ts";
import type { Json } from "../json.ts";

/** One HTTP operation of the API, in words that both versions of OpenAPI are made of. */
export interface Operation {
  readonly path: string;
  readonly method: "get" | "put" | "post" | "patch" | "delete";
  readonly id: string;
  /** `x-kubernetes-action` */
  readonly action: "get" | "list" | "put" | "post" | "patch" | "delete" | "deletecollection";
  readonly kind: Json;
  /** The model of the body and of the answer. */
  readonly model: string;
  readonly queryParameters: readonly string[];
}

/** Media types a PATCH takes. */
export const patchTypes: readonly string[] = [
  "application/apply-patch+yaml",
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
];

const writing = ["dryRun", "fieldManager", "fieldValidation", "pretty"];
const listing = [
  "allowWatchBookmarks",
  "continue",
  "fieldSelector",
  "labelSelector",
  "limit",
  "resourceVersion",
  "resourceVersionMatch",
  "sendInitialEvents",
  "timeoutSeconds",
  "watch",
  "pretty",
];
const deleting = ["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy", "pretty"];

interface Route {
  readonly verb: Verb;
  readonly method: Operation["method"];
  readonly action: Operation["action"];
  readonly query: readonly string[];
}

const ofCollection: readonly Route[] = [
  { verb: "list", method: "get", action: "list", query: listing },
  { verb: "create", method: "post", action: "post", query: writing },
  { verb: "deletecollection", method: "delete", action: "deletecollection", query: deleting },
];
const ofItem: readonly Route[] = [
  { verb: "get", method: "get", action: "get", query: ["pretty"] },
  { verb: "update", method: "put", action: "put", query: writing },
  { verb: "patch", method: "patch", action: "patch", query: [...writing, "force"] },
  { verb: "delete", method: "delete", action: "delete", query: deleting },
];

/** The models of subresources that do not speak their parent's. */
const foreignModels: Readonly<Record<string, string>> = {
  Scale: "Scale",
  Eviction: "Eviction",
  TokenRequest: "AuthenticationV1TokenRequest",
  Binding: "Binding",
};

/** Every operation on a resource: its collections, its items, and the subresources that speak in objects. */
export function operationsOf(of: ResourceDefinition): readonly Operation[] {
  const root = of.group === "" ? `/api/${of.version}` : `/apis/${of.group}/${of.version}`;
  const collection = of.namespaced ? `${root}/namespaces/{namespace}/${of.plural}` : `${root}/${of.plural}`;
  const kind = { group: of.group, kind: of.kind, version: of.version };
  const make = (path: string, route: Route, suffix: string, speaks: Json, model: string): Operation => ({
    path,
    method: route.method,
    id: `${route.action}${words(of.group || "core")}${words(of.version)}${suffix}${of.kind}`,
    action: route.action,
    kind: speaks,
    model,
    queryParameters: route.query,
  });
  const served = (routes: readonly Route[]) => routes.filter((route) => of.verbs.includes(route.verb));
  const scope = of.namespaced ? "Namespaced" : "";
  return [
    ...served(ofCollection).map((route) => make(collection, route, scope, kind, of.model)),
    ...(of.namespaced
      ? served(ofCollection.slice(0, 1)).map((route) =>
          make(`${root}/${of.plural}`, route, "ForAllNamespaces", kind, of.model),
        )
      : []),
    ...served(ofItem).map((route) => make(`${collection}/{name}`, route, scope, kind, of.model)),
    ...of.subresources.flatMap((name) => {
      const speaks = subresourceKind(of, name);
      const model = speaks.kind === of.kind ? of.model : foreignModels[speaks.kind];
      if (model === undefined) return []; // streams and proxies have no schema
      const routes = [...ofItem, ...ofCollection.slice(1, 2)].filter((route) =>
        speaks.verbs.includes(route.verb),
      );
      const { group, version, kind: inner } = speaks;
      return routes.map((route) =>
        make(
          `${collection}/{name}/${name}`,
          route,
          `${scope}${words(name)}`,
          { group, kind: inner, version },
          model,
        ),
      );
    }),
  ];
}

const words = (name: string): string =>
  name
    .split(".")
    .slice(0, 1)
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join("");
