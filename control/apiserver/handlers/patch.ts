import { ApiError, badRequest, conflict, notFound } from "../../api-error.ts";
import type { ResourceDefinition, StoredObject } from "../../model.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { applyObject } from "./apply.ts";
import { checkObject, isRecord, parseWriteQuery, placed } from "./incoming.ts";
import { current, served } from "./read.ts";
import { modified, write } from "./update.ts";

/** How often a patch is made anew on a newer object. */
const conflictTries = 10;

const patchTypes = [
  "application/json-patch+json",
  "application/merge-patch+json",
  "application/strategic-merge-patch+json",
] as const;

/** PATCH of an object, or of its status or another part of it. */
export async function patchObject(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition, namespace, name } = request;
  if (patchType(request) === "application/apply-patch+yaml")
    return await applyObject(engine, request, signal);
  const { dryRun, level } = parseWriteQuery(request.query);
  const apply = await readPatch(engine, request, definition.model);
  for (let tries = 1; tries <= conflictTries; tries += 1) {
    const before = await current(engine, definition, namespace, name, signal);
    if (before === undefined) throw notFound(definition, name);
    const old = served(engine, definition, before).object;
    const patched = checkObject(engine, request, definition, apply(old), level);
    assertSamePlace(definition, request, patched, old);
    if ((patched.metadata.resourceVersion ?? "") !== (old.metadata.resourceVersion ?? ""))
      if ((patched.metadata.resourceVersion ?? "") !== "") throw conflict(definition, name, modified);
    const object = await write(
      engine,
      request,
      before,
      placed(definition, namespace, patched),
      dryRun,
      signal,
    );
    if (object !== undefined) return { kind: "object", status: 200, object };
    // The first round has warned already.
    request.warnings.length = 0;
  }
  throw conflict(definition, name, modified);
}

/** The patch as a function of the object. @throws {ApiError} 415, 400. */
export async function readPatch(
  engine: Engine,
  request: ResourceRequest,
  model: string,
): Promise<(old: unknown) => unknown> {
  const type = patchType(request);
  const { content } = engine.ports;
  if (!patchTypes.some((known) => known === type))
    throw new ApiError(
      415,
      "UnsupportedMediaType",
      `the body of the request was in an unknown format - accepted media types include: ${[...patchTypes, "application/apply-patch+yaml"].join(", ")}`,
    );
  const patch = content.parseBody("application/json", await request.body()).object;
  if (type === "application/json-patch+json") {
    if (!Array.isArray(patch)) throw badRequest("a JSON patch is a list of operations");
    return (old) => content.jsonPatch(old, patch);
  }
  if (!isRecord(patch)) throw badRequest("a merge patch is an object");
  return type === "application/merge-patch+json"
    ? (old) => content.mergePatch(old, patch)
    : (old) => content.strategicMergePatch(model, old, patch);
}

function patchType(request: ResourceRequest): string {
  return (request.headers["content-type"]?.split(";")[0] ?? "").trim().toLowerCase();
}

function assertSamePlace(
  definition: ResourceDefinition,
  request: ResourceRequest,
  patched: StoredObject,
  old: StoredObject,
): void {
  if (patched.metadata.name !== old.metadata.name)
    throw badRequest(
      `the name of the object (${patched.metadata.name}) does not match the name on the URL (${request.name})`,
    );
  if (definition.namespaced && (patched.metadata.namespace ?? request.namespace) !== request.namespace)
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
}
