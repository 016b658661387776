import { conflict } from "../../api-error.ts";
import type { ResourceDefinition, StoredObject } from "../../model.ts";
import type { CachedObject } from "../cache/cached-object.ts";
import { type Engine, type Reply, type ResourceRequest, timestamp } from "../engine.ts";
import { parseListOptions } from "../list-options.ts";
import { groupVersionOf, storePrefix } from "../registry.ts";
import { admit } from "./admit.ts";
import { type DeleteOptions, readDeleteOptions } from "./delete-options.ts";
import { isRecord } from "./incoming.ts";
import { current, existing, served } from "./read.ts";
import { remove, save } from "./save.ts";
import { isFinished, modified, namespaceFinalizers } from "./update.ts";

const conflictTries = 10;

/** How a delete ended. */
export interface Deleted {
  readonly object: StoredObject;
  /** False while finalizers or grace hold the object. */
  readonly gone: boolean;
}

/** DELETE of one object. */
export async function deleteObject(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const options = await readDeleteOptions(engine, request);
  const deleted = await deleteOne(engine, request, request.namespace, request.name, options, signal);
  if (!deleted.gone || request.definition.plural === "pods")
    return { kind: "object", status: 200, object: deleted.object };
  return { kind: "json", status: 200, value: success(request.definition, deleted.object) };
}

/** DELETE of a collection: each object that the selectors choose, by the same rules. */
export async function deleteCollection(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const options = await readDeleteOptions(engine, request);
  const { definition, namespace } = request;
  const list = parseListOptions(request.query, definition, false, "");
  await engine.cache.reach(await engine.ports.store.revision(signal), 3_000, signal);
  const all = engine.cache.kind(definition.storagePrefix).list(storePrefix(definition, namespace));
  const chosen = all.map((cached) => served(engine, definition, cached).object).filter(list.select);
  const items: StoredObject[] = [];
  for (const object of chosen) {
    const { name, namespace: own = "" } = object.metadata;
    if ((await current(engine, definition, own, name, signal)) === undefined) continue;
    items.push((await deleteOne(engine, request, own, name, options, signal)).object);
  }
  return {
    kind: "json",
    status: 200,
    value: {
      kind: `${definition.kind}List`,
      apiVersion: groupVersionOf(definition),
      metadata: { resourceVersion: String(engine.cache.revision) },
      items,
    },
  };
}

/** Deletes, or marks as deleted what has finalizers or a grace period. @throws {ApiError} 404, 409. */
export async function deleteOne(
  engine: Engine,
  request: ResourceRequest,
  namespace: string,
  name: string,
  options: DeleteOptions,
  signal: AbortSignal,
): Promise<Deleted> {
  const { definition } = request;
  for (let tries = 1; tries <= conflictTries; tries += 1) {
    const before = await existing(engine, definition, namespace, name, signal);
    const old = served(engine, definition, before).object;
    assertPreconditions(definition, before, old, options);
    await admit(
      engine,
      request,
      {
        operation: "DELETE",
        definition,
        subresource: "",
        namespace,
        name,
        object: undefined,
        before: old,
        dryRun: options.dryRun,
      },
      signal,
    );
    const next = marked(engine, definition, old, options);
    if (isFinished(definition, next)) {
      if (options.dryRun) return { object: old, gone: true };
      const removed = await remove(engine, definition, old, before.revision, signal);
      if (removed.state === "written") return { object: next, gone: true };
    } else {
      if (next === old || options.dryRun) return { object: next, gone: false };
      const saved = await save(engine, definition, next, before.revision, signal);
      if (saved.state === "written") return { object: saved.object, gone: false };
    }
  }
  throw conflict(definition, name, modified);
}

/** `Status` Success with what was deleted. */
export function success(definition: ResourceDefinition, object: StoredObject): unknown {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: {
      name: object.metadata.name,
      ...(definition.group === "" ? {} : { group: definition.group }),
      kind: definition.plural,
      ...(object.metadata.uid === undefined ? {} : { uid: object.metadata.uid }),
    },
  };
}

/** The object as it is while it is being deleted; the same object when nothing changes. */
function marked(
  engine: Engine,
  definition: ResourceDefinition,
  old: StoredObject,
  options: DeleteOptions,
): StoredObject {
  const usual = definition.strategy.gracePeriodSeconds(old);
  const grace = usual === 0 ? 0 : (options.gracePeriodSeconds ?? usual);
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [], generation } = old.metadata;
  // A second delete may only shorten the grace.
  if (deletionTimestamp !== undefined && grace >= deletionGracePeriodSeconds) return old;
  const kept = deletionTimestamp === undefined ? withPropagation(finalizers, options) : finalizers;
  const marked: StoredObject = {
    ...old,
    metadata: {
      ...old.metadata,
      deletionTimestamp: timestamp(engine.ports.clock, grace),
      deletionGracePeriodSeconds: grace,
      ...(generation === undefined ? {} : { generation: generation + 1 }),
      ...(kept.length === 0 ? {} : { finalizers: kept }),
    },
  };
  const namespace = definition.plural === "namespaces" && definition.group === "";
  if (!namespace || namespaceFinalizers(old).length === 0) return marked;
  const status = isRecord(old["status"]) ? old["status"] : {};
  return { ...marked, status: { ...status, phase: "Terminating" } };
}

function withPropagation(finalizers: readonly string[], options: DeleteOptions): readonly string[] {
  const rest = finalizers.filter((name) => name !== "foregroundDeletion" && name !== "orphan");
  if (options.propagation === "Foreground") return [...rest, "foregroundDeletion"];
  if (options.propagation === "Orphan") return [...rest, "orphan"];
  return rest;
}

function assertPreconditions(
  definition: ResourceDefinition,
  before: CachedObject,
  old: StoredObject,
  options: DeleteOptions,
): void {
  if (options.uid !== undefined && options.uid !== old.metadata.uid)
    throw conflict(
      definition,
      old.metadata.name,
      `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${old.metadata.uid ?? ""}`,
    );
  if (options.resourceVersion !== undefined && options.resourceVersion !== String(before.revision))
    throw conflict(
      definition,
      old.metadata.name,
      `Precondition failed: ResourceVersion in precondition: ${options.resourceVersion}, ResourceVersion in object meta: ${before.revision}`,
    );
}
