import { isDeepStrictEqual } from "node:util";
import { badRequest, conflict, invalid, notFound } from "../../api-error.ts";
import type { FieldError, ResourceDefinition, StoredObject } from "../../model.ts";
import type { CachedObject } from "../cache/cached-object.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { admit } from "./admit.ts";
import { create } from "./create.ts";
import { assertValid, nameOf, parseWriteQuery, placed, readObject } from "./incoming.ts";
import { owned, withEntries } from "./ownership.ts";
import { current, served } from "./read.ts";
import { remove, save } from "./save.ts";
import { resizeErrors } from "./resize-errors.ts";
import { mergeSubresource } from "./subresource.ts";

/** How often a write without a resourceVersion is tried again when others were faster. */
const conflictTries = 10;

export const modified: string =
  "the object has been modified; please apply your changes to the latest version and try again";

/** PUT of an object, or of its status or another part of it. */
export async function updateObject(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition, name, namespace, subresource } = request;
  const { dryRun, level } = parseWriteQuery(request.query);
  const incoming = placed(definition, namespace, await readObject(engine, request, definition, level));
  const own = nameOf(incoming);
  if (own !== "" && own !== name)
    throw badRequest(`the name of the object (${own}) does not match the name on the URL (${name})`);
  if (own === "") throw badRequest("name must be provided");
  for (let tries = 1; ; tries += 1) {
    const before = await current(engine, definition, namespace, name, signal);
    if (before === undefined) {
      if (!definition.strategy.allowCreateOnUpdate || subresource !== "") throw notFound(definition, name);
      const { resourceVersion: _, uid: _uid, ...metadata } = incoming.metadata;
      const created = await create(engine, request, definition, { ...incoming, metadata }, dryRun, signal);
      return { kind: "object", status: 201, object: created };
    }
    const wanted = incoming.metadata.resourceVersion ?? "";
    if (wanted === "" && !definition.strategy.allowUnconditionalUpdate)
      throw invalid(definition, name, [
        {
          reason: "FieldValueInvalid",
          field: "metadata.resourceVersion",
          detail: "Invalid value: 0x0: must be specified for an update",
        },
      ]);
    if (wanted !== "" && wanted !== String(before.revision)) throw conflict(definition, name, modified);
    const object = await write(engine, request, before, incoming, dryRun, signal);
    if (object !== undefined) return { kind: "object", status: 200, object };
    if (wanted !== "" || tries >= conflictTries) throw conflict(definition, name, modified);
  }
}

/**
 * Writes `incoming` over `before`, or removes the object when that was all it waited for.
 * @param ownership "given": `incoming` says who owns what, as apply has found out.
 * @returns undefined when another write came in between.
 */
export async function write(
  engine: Engine,
  request: ResourceRequest,
  before: CachedObject,
  incoming: StoredObject,
  dryRun: boolean,
  signal: AbortSignal,
  ownership: "track" | "given" = "track",
): Promise<StoredObject | undefined> {
  const { definition, subresource } = request;
  const old = served(engine, definition, before).object;
  const uid = incoming.metadata.uid ?? "";
  if (uid !== "" && uid !== old.metadata.uid)
    throw conflict(
      definition,
      old.metadata.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid ?? ""}`,
    );
  const prepared = prepare(engine, request, incoming, old);
  const admitted = await admit(
    engine,
    request,
    {
      operation: "UPDATE",
      definition,
      subresource,
      namespace: request.namespace,
      name: request.name,
      object: prepared,
      before: old,
      dryRun,
    },
    signal,
  );
  const changed = definition.strategy.defaults(admitted ?? prepared);
  const next =
    ownership === "given"
      ? withEntries(changed, incoming.metadata.managedFields)
      : owned(engine, request, definition, incoming, changed, old);
  assertFinalizers(definition, next, old);
  assertValid(definition, next, errorsOf(definition, subresource, next, old));
  if (isDeepStrictEqual(next, old)) return old;
  if (dryRun) return next;
  if (isFinished(definition, next)) {
    const removed = await remove(engine, definition, next, before.revision, signal);
    return removed.state === "written" ? next : undefined;
  }
  const saved = await save(engine, definition, next, before.revision, signal);
  return saved.state === "written" ? saved.object : undefined;
}

/** What is wrong with the change. These two change what the main resource may not: the whole is looked at instead. */
function errorsOf(
  definition: ResourceDefinition,
  subresource: ResourceRequest["subresource"],
  next: StoredObject,
  old: StoredObject,
): readonly FieldError[] {
  if (subresource === "resize")
    return [...definition.strategy.validateCreate(next), ...resizeErrors(next, old)];
  return subresource === "ephemeralcontainers"
    ? definition.strategy.validateCreate(next)
    : definition.strategy.validateUpdate(next, old);
}

/** The new object with everything that is not the client's to change taken from the old one. */
function prepare(
  engine: Engine,
  request: ResourceRequest,
  incoming: StoredObject,
  old: StoredObject,
): StoredObject {
  const { definition, subresource } = request;
  const { strategy } = definition;
  const filled = strategy.defaults(withServerMetadata(incoming, old));
  if (subresource === "") return withServerMetadata(strategy.prepareUpdate(filled, old), old, true);
  const merged = mergeSubresource(engine, definition, subresource, filled, old);
  return withServerMetadata(merged, old, true);
}

/** @param keepGeneration the generation that the strategy has just decided stays. */
function withServerMetadata(next: StoredObject, old: StoredObject, keepGeneration = false): StoredObject {
  const {
    uid: _uid,
    creationTimestamp: _created,
    deletionTimestamp: _deleted,
    deletionGracePeriodSeconds: _grace,
    generation,
    resourceVersion: _version,
    managedFields: _managed,
    selfLink: _selfLink,
    ...own
  } = next.metadata as StoredObject["metadata"] & { readonly selfLink?: string };
  const {
    uid,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    resourceVersion,
    managedFields,
  } = old.metadata;
  const decided = keepGeneration ? (generation ?? old.metadata.generation) : old.metadata.generation;
  const given = {
    uid,
    creationTimestamp,
    deletionTimestamp,
    deletionGracePeriodSeconds,
    resourceVersion,
    managedFields,
  };
  const owned = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  return {
    ...next,
    metadata: { ...own, ...owned, ...(decided === undefined ? {} : { generation: decided }) },
  };
}

/** Who is being deleted may lose finalizers, not gain any. */
function assertFinalizers(definition: ResourceDefinition, next: StoredObject, old: StoredObject): void {
  if (old.metadata.deletionTimestamp === undefined) return;
  const had = new Set(old.metadata.finalizers);
  const added = (next.metadata.finalizers ?? []).filter((finalizer) => !had.has(finalizer));
  if (added.length === 0) return;
  throw invalid(definition, old.metadata.name, [
    {
      reason: "FieldValueForbidden",
      field: "metadata.finalizers",
      detail: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((name) => JSON.stringify(name)).join(", ")}}`,
    },
  ]);
}

/** True when nothing holds a deleted object any more: no finalizer, no grace, and no content of a namespace. */
export function isFinished(definition: ResourceDefinition, object: StoredObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers } = object.metadata;
  if (deletionTimestamp === undefined || (finalizers?.length ?? 0) > 0) return false;
  if ((deletionGracePeriodSeconds ?? 0) > 0) return false;
  return (
    definition.plural !== "namespaces" || definition.group !== "" || namespaceFinalizers(object).length === 0
  );
}

/** `spec.finalizers` of a Namespace: kept until the namespace controller has emptied it. */
export function namespaceFinalizers(object: StoredObject): readonly unknown[] {
  const spec = object["spec"];
  if (typeof spec !== "object" || spec === null || !("finalizers" in spec)) return [];
  return Array.isArray(spec.finalizers) ? spec.finalizers : [];
}
