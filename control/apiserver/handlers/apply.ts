import { badRequest, conflict, invalid, notFound } from "../../api-error.ts";
import { applyConfiguration } from "../content/patch/apply.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { isTrue } from "../request-target.ts";
import { create } from "./create.ts";
import { checkObject, isStored, nameOf, parseWriteQuery, placed } from "./incoming.ts";
import { writerOf } from "./ownership.ts";
import { current, served } from "./read.ts";
import { modified, write } from "./update.ts";

const conflictTries = 10;

/** PATCH with a configuration to apply: creates what is not there. @throws {ApiError} 409 for fields of others. */
export async function applyObject(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition, namespace, name, subresource } = request;
  const { dryRun, level } = parseWriteQuery(request.query);
  if ((request.query.get("fieldManager") ?? "") === "")
    throw invalid({ group: "meta.k8s.io", plural: "", kind: "PatchOptions" }, "", [
      {
        reason: "FieldValueRequired",
        field: "fieldManager",
        detail: "Required value: is required for apply patch",
      },
    ]);
  // YAML reads JSON as well, and clients send either under the one media type.
  const body = engine.ports.content.parseBody("application/yaml", await request.body());
  const sent = checkObject(engine, request, definition, body.object, level, body.duplicates);
  if (nameOf(sent) !== "" && nameOf(sent) !== name)
    throw badRequest(`the name of the object (${nameOf(sent)}) does not match the name on the URL (${name})`);
  const applied = placed(definition, namespace, { ...sent, metadata: { ...sent.metadata, name } });
  const force = request.query.has("force") && isTrue(request.query.get("force"));
  for (let tries = 1; tries <= conflictTries; tries += 1) {
    const before = await current(engine, definition, namespace, name, signal);
    const live = before === undefined ? undefined : served(engine, definition, before).object;
    if (live === undefined && subresource !== "") throw notFound(definition, name);
    const { uid = "", resourceVersion = "" } = applied.metadata;
    if (resourceVersion !== "" && resourceVersion !== live?.metadata.resourceVersion)
      throw conflict(definition, name, modified);
    if (uid !== "" && uid !== live?.metadata.uid)
      throw conflict(definition, name, `Precondition failed: UID in precondition: ${uid}`);
    const result = applyConfiguration({
      model: definition.model,
      live,
      applied,
      force,
      ...writerOf(engine, request),
    });
    if (live !== undefined && result === live) return { kind: "object", status: 200, object: live };
    if (!isStored(result)) throw badRequest("the applied configuration has no metadata");
    if (before === undefined) {
      const entries = result.metadata.managedFields ?? [];
      const object = await create(engine, request, definition, result, dryRun, signal, entries);
      return { kind: "object", status: 201, object };
    }
    const object = await write(engine, request, before, result, dryRun, signal, "given");
    if (object !== undefined) return { kind: "object", status: 200, object };
  }
  throw conflict(definition, name, modified);
}
