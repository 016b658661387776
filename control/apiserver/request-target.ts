import type { Attributes, User } from "../model.ts";

/** What a URL names. */
export type Target =
  | {
      readonly kind: "resource";
      readonly group: string;
      readonly version: string;
      readonly namespace: string;
      readonly resource: string;
      readonly name: string;
      readonly subresource: string;
      /** What follows the subresource, for proxies: "" or starting with a slash. */
      readonly rest: string;
      /** A path of the old form `/api/v1/watch/...`. */
      readonly watchPath: boolean;
    }
  | { readonly kind: "path"; readonly path: string };

/**
 * Reads a path as Kubernetes' servers do: `/api/v1/...` and `/apis/<group>/<version>/...` name resources.
 * @throws {URIError} for a bad percent escape.
 */
export function parseTarget(path: string): Target {
  const raw = path.split("/").slice(1);
  const core = raw[0] === "api";
  let parts = raw.slice(core ? 2 : 3);
  const [group, version] = core ? ["", raw[1] ?? ""] : [raw[1] ?? "", raw[2] ?? ""];
  if ((!core && raw[0] !== "apis") || parts.length === 0 || parts[0] === "") return { kind: "path", path };
  const watchPath = parts[0] === "watch" && parts.length > 1;
  if (watchPath) parts = parts.slice(1);
  let namespace = "";
  if (parts[0] === "namespaces" && parts.length > 1) {
    namespace = decodeURIComponent(parts[1] ?? "");
    // `namespaces/x/status` is a subresource of the Namespace; `namespaces/x/pods` is what is in it.
    if (parts.length > 2 && !["status", "finalize"].includes(parts[2] ?? "")) parts = parts.slice(2);
  }
  const [resource = "", name = "", subresource = "", ...rest] = parts;
  return {
    kind: "resource",
    group,
    version,
    namespace,
    resource,
    name: decodeURIComponent(name),
    subresource,
    rest: rest.length === 0 ? "" : `/${rest.join("/")}`,
    watchPath,
  };
}

/** The verb of RBAC that a request means. */
export function verbOf(method: string, target: Target, query: URLSearchParams): string {
  if (target.kind === "path") return method.toLowerCase();
  const collection = target.name === "";
  switch (method) {
    case "GET":
    case "HEAD":
      if (target.watchPath || (isTrue(query.get("watch")) && target.subresource === "")) return "watch";
      return collection ? "list" : "get";
    case "POST":
      return "create";
    case "PUT":
      return "update";
    case "PATCH":
      return "patch";
    case "DELETE":
      return collection ? "deletecollection" : "delete";
    default:
      return "";
  }
}

/**
 * What authorization is asked. A collection limited to one object by `metadata.name=` counts as that object:
 * that is how a node may watch the ConfigMaps and Secrets of its Pods, one by one.
 */
export function attributesOf(
  user: User,
  verb: string,
  target: Target,
  query: URLSearchParams = new URLSearchParams(),
): Attributes {
  if (target.kind === "path") return { kind: "path", user, verb, path: target.path };
  const { group, version, resource, subresource, namespace } = target;
  const selected = /(?:^|,)metadata\.name==?([^,=!]+)(?:,|$)/.exec(query.get("fieldSelector") ?? "")?.[1];
  const name =
    target.name === "" && ["list", "watch", "deletecollection"].includes(verb)
      ? (selected ?? "")
      : target.name;
  return { kind: "resource", user, verb, group, version, resource, subresource, namespace, name };
}

/** `true` and `1`, as query parameters of type boolean are read. */
export function isTrue(value: string | null): boolean {
  return value === "true" || value === "1" || value === "";
}
