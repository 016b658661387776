import { ApiError } from "../api-error.ts";
import type { Attributes, User } from "../model.ts";
import type { Engine } from "./engine.ts";
import type { ServerRequest } from "./request.ts";

/** Who asks, impersonation included. @throws {ApiError} 401, 403. */
export async function authenticated(
  engine: Engine,
  request: ServerRequest,
  path: string,
  signal: AbortSignal,
): Promise<User> {
  const user = request.user ?? (await known(engine, request, path, signal));
  return await impersonated(engine, request, user, signal);
}

async function known(
  engine: Engine,
  request: ServerRequest,
  path: string,
  signal: AbortSignal,
): Promise<User> {
  const { certificate, headers } = request;
  const found = await engine.ports.authenticate(
    { certificate, authorization: headers["authorization"], path },
    signal,
  );
  if (found.state === "known") return found.user;
  engine.ports.log.debug("refused a request", { path, why: found.why });
  throw new ApiError(401, "Unauthorized", "Unauthorized");
}

/** The user that `Impersonate-*` headers name, when the real one may speak for it. @throws {ApiError} 403. */
async function impersonated(
  engine: Engine,
  request: ServerRequest,
  user: User,
  signal: AbortSignal,
): Promise<User> {
  const name = request.headers["impersonate-user"];
  if (name === undefined) return user;
  const groups = (request.headers["impersonate-group"] ?? "")
    .split(",")
    .map((group) => group.trim())
    .filter((group) => group !== "");
  const uid = request.headers["impersonate-uid"];
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  const ask = async (group: string, resource: string, namespace: string, what: string): Promise<void> =>
    await assertAuthorized(
      engine,
      {
        kind: "resource",
        user,
        verb: "impersonate",
        group,
        version: "v1",
        resource,
        subresource: "",
        namespace,
        name: what,
      },
      signal,
    );
  if (account === null) await ask("", "users", "", name);
  else await ask("", "serviceaccounts", account[1] ?? "", account[2] ?? "");
  for (const group of groups) await ask("", "groups", "", group);
  if (uid !== undefined) await ask("authentication.k8s.io", "uids", "", uid);
  const given =
    groups.length === 0 && account !== null
      ? ["system:serviceaccounts", `system:serviceaccounts:${account[1] ?? ""}`]
      : groups;
  const all =
    name === "system:anonymous" ? [...given, "system:unauthenticated"] : [...given, "system:authenticated"];
  return { name, groups: [...new Set(all)], ...(uid === undefined ? {} : { uid }) };
}

/** @throws {ApiError} 403 in Kubernetes' words. */
export async function assertAuthorized(
  engine: Engine,
  attributes: Attributes,
  signal: AbortSignal,
): Promise<void> {
  const decision = await engine.ports.authorize(attributes, signal);
  if (decision.allowed) return;
  const why = decision.why === "" ? "" : `: ${decision.why}`;
  const { user, verb } = attributes;
  if (attributes.kind === "path")
    throw new ApiError(
      403,
      "Forbidden",
      `forbidden: User "${user.name}" cannot ${verb} path "${attributes.path}"${why}`,
      {},
    );
  const { group, resource, subresource, namespace, name } = attributes;
  const what = subresource === "" ? resource : `${resource}/${subresource}`;
  const qualified = group === "" ? resource : `${resource}.${group}`;
  const where = namespace === "" ? "at the cluster scope" : `in the namespace "${namespace}"`;
  throw new ApiError(
    403,
    "Forbidden",
    `${qualified}${name === "" ? "" : ` "${name}"`} is forbidden: User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${where}${why}`,
    { ...(name === "" ? {} : { name }), ...(group === "" ? {} : { group }), kind: resource },
  );
}
