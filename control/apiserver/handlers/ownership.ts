import { isDeepStrictEqual } from "node:util";
import { isStored } from "./incoming.ts";
import { clearsManaged, trackUpdate, type Writer } from "../content/patch/managed-fields.ts";
import type { ResourceDefinition, StoredObject } from "../../model.ts";
import { type Engine, type ResourceRequest, timestamp } from "../engine.ts";
import { groupVersionOf } from "../registry.ts";

/** Who writes: the `fieldManager` of the request, else the program's name in its User-Agent. */
export function writerOf(engine: Engine, request: ResourceRequest): Writer {
  const agent = (request.headers["user-agent"] ?? "").split("/")[0] ?? "";
  const manager = request.query.get("fieldManager") ?? "";
  return {
    manager: manager === "" ? (agent === "" ? "unknown" : agent) : manager,
    apiVersion: groupVersionOf(request.definition),
    time: timestamp(engine.ports.clock),
    subresource: request.subresource,
  };
}

/**
 * The changed object with `metadata.managedFields` as it is after this write.
 * @param given what the client sent there: tools that move from client-side to server-side apply rewrite it.
 * @returns `old` itself when nothing changed.
 */
export function owned(
  engine: Engine,
  request: ResourceRequest,
  definition: ResourceDefinition,
  given: StoredObject,
  next: StoredObject,
  old: StoredObject | undefined,
): StoredObject {
  if (clearsManaged(given)) return withEntries(next, undefined);
  const sent = given.metadata.managedFields ?? [];
  const rewritten =
    old !== undefined && sent.length > 0 && !isDeepStrictEqual(sent, old.metadata.managedFields);
  if (old !== undefined && !rewritten && isDeepStrictEqual(next, old)) return old;
  const before = rewritten ? withEntries(old, sent) : old;
  const tracked = trackUpdate(definition.model, before, next, writerOf(engine, request));
  return isStored(tracked) ? tracked : next;
}

/** The object with exactly these entries. */
export function withEntries(object: StoredObject, entries: readonly unknown[] | undefined): StoredObject {
  const { managedFields: _, ...metadata } = object.metadata;
  return {
    ...object,
    metadata: entries === undefined ? metadata : { ...metadata, managedFields: entries },
  };
}
