import type { AuthenticationV1TokenRequest } from "#api/generated/kubernetes.ts";
import { badRequest, notAllowed, unknownPath } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { bindPod } from "./bind.ts";
import { isRecord, parseWriteQuery, readBody, readObject } from "./incoming.ts";

/** A kind that is not stored: reviews are answered, componentstatuses are computed. */
export async function virtualResource(
  engine: Engine,
  request: ResourceRequest,
  verb: string,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition, namespace, name, user } = request;
  if (definition.plural === "bindings" && verb === "create") return await bindPod(engine, request, signal);
  const key = definition.group === "" ? definition.plural : `${definition.plural}.${definition.group}`;
  const handler = engine.ports.virtual.get(key);
  if (handler === undefined) throw unknownPath();
  if (verb !== "create" && verb !== "get" && verb !== "list") throw notAllowed(request.method, key);
  const { level } = parseWriteQuery(request.query);
  const object = verb === "create" ? await readObject(engine, request, definition, level) : undefined;
  const value = await handler({ verb, definition, namespace, name, object, user }, signal);
  if (verb === "list" && isList(value)) {
    // As a list of the kind, so that it has a table form like every other.
    const items = value.items.map((item) => ({ object: item, bytes: undefined }));
    return { kind: "list", items, metadata: { resourceVersion: "" } };
  }
  if (verb === "get" && isRecord(value))
    return { kind: "object", status: 200, object: value as StoredObject };
  return { kind: "json", status: verb === "create" ? 201 : 200, value };
}

function isList(value: unknown): value is { readonly items: readonly StoredObject[] } {
  return isRecord(value) && Array.isArray(value["items"]);
}

/** POST to serviceaccounts/`name`/token. */
export async function requestToken(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { object: value } = await readBody(engine, request);
  if (!isRecord(value) || (value["kind"] ?? "TokenRequest") !== "TokenRequest")
    throw badRequest("the object provided is unrecognized (must be of type TokenRequest)");
  const wanted = { spec: { audiences: [] }, ...value } as AuthenticationV1TokenRequest;
  const issued = await engine.ports.issueToken(request.namespace, request.name, wanted, signal);
  return { kind: "json", status: 201, value: issued };
}
