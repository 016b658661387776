/** Verbs of a SubjectAccessReview. */
export type Verb = "get" | "create" | "update" | "patch" | "delete" | "";

/** What a request needs: any one of the subresources of `nodes`, with every one of the verbs. */
export interface Access {
  readonly verbs: readonly Verb[];
  /** Tried in order; the first that is allowed wins. */
  readonly subresources: readonly string[];
}

const verbs: Readonly<Record<string, Verb>> = {
  GET: "get",
  HEAD: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};
const own: readonly (readonly [string, readonly string[]])[] = [
  ["/stats", ["stats"]],
  ["/metrics", ["metrics"]],
  ["/logs", ["log"]],
  ["/checkpoint", ["checkpoint"]],
  ["/statusz", ["statusz"]],
  ["/flagz", ["configz"]],
  ["/pods", ["pods", "proxy"]],
  ["/runningpods", ["pods", "proxy"]],
  ["/healthz", ["healthz", "proxy"]],
  ["/configz", ["configz", "proxy"]],
];
const runsSomething = ["/exec", "/attach", "/portForward", "/run"];

/**
 * What a request needs to be allowed.
 * A WebSocket exec is a GET, so `nodes/proxy get` would let a reader run commands (kubernetes#136550): here such
 * requests need `create` whatever their method is.
 */
export function accessFor(method: string, path: string): Access {
  const isBelow = (prefix: string): boolean => path === prefix || path.startsWith(`${prefix}/`);
  const subresources = own.find(([prefix]) => isBelow(prefix))?.[1] ?? ["proxy"];
  const verb = verbs[method] ?? "";
  const more: readonly Verb[] = verb !== "create" && runsSomething.some(isBelow) ? ["create"] : [];
  return { verbs: [verb, ...more], subresources };
}
