import { randomInt, randomUUID } from "node:crypto";
import { ApiError, alreadyExists, badRequest, invalid } from "../../api-error.ts";
import type { ResourceDefinition, StoredObject } from "../../model.ts";
import { type Engine, type Reply, type ResourceRequest, timestamp } from "../engine.ts";
import { admit } from "./admit.ts";
import { assertValid, nameOf, parseWriteQuery, placed, readObject } from "./incoming.ts";
import { owned, withEntries } from "./ownership.ts";
import { current } from "./read.ts";
import { save } from "./save.ts";

/** Without vowels and look-alikes, as generated names are made. */
const suffixLetters = "bcdfghjklmnpqrstvwxz2456789";
const suffixLength = 5;
const longestBase = 58;
/** How often a generated name is made anew when it is taken. */
const nameTries = 8;

/** POST to a collection. */
export async function createObject(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition } = request;
  const { dryRun, level } = parseWriteQuery(request.query);
  const object = await readObject(engine, request, definition, level);
  const created = await create(engine, request, definition, object, dryRun, signal);
  return { kind: "object", status: 201, object: created };
}

/**
 * Creates an object that came in: names it, fills it in, asks admission, checks it, and stores it.
 * @param entries `managedFields` when apply has made them; else the writer owns what it set.
 */
export async function create(
  engine: Engine,
  request: ResourceRequest,
  definition: ResourceDefinition,
  object: StoredObject,
  dryRun: boolean,
  signal: AbortSignal,
  entries?: readonly unknown[],
): Promise<StoredObject> {
  if ((object.metadata.resourceVersion ?? "") !== "")
    throw badRequest("resourceVersion should not be set on objects to be created");
  const generated = nameOf(object) === "";
  const base = object.metadata.generateName ?? "";
  if (generated && base === "")
    throw invalid(definition, "", [
      {
        reason: "FieldValueRequired",
        field: "metadata.name",
        detail: "Required value: name or generateName is required",
      },
    ]);
  for (let tries = 1; ; tries += 1) {
    const name = generated ? base.slice(0, longestBase) + suffix() : nameOf(object);
    const filled = await prepare(engine, request, definition, named(object, name), dryRun, signal);
    const ready =
      entries === undefined
        ? owned(engine, request, definition, filled, filled, undefined)
        : withEntries(filled, entries);
    if (dryRun) {
      const there = await current(engine, definition, ready.metadata.namespace ?? "", name, signal);
      if (there !== undefined) throw alreadyExists(definition, name);
      return ready;
    }
    const saved = await save(engine, definition, ready, 0n, signal);
    if (saved.state === "written") return saved.object;
    if (!generated || tries >= nameTries) throw taken(definition, name, generated);
  }
}

/** Everything up to the write. */
async function prepare(
  engine: Engine,
  request: ResourceRequest,
  definition: ResourceDefinition,
  object: StoredObject,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<StoredObject> {
  const { strategy } = definition;
  const here = placed(definition, request.namespace, object);
  const {
    deletionTimestamp: _deletion,
    deletionGracePeriodSeconds: _grace,
    selfLink: _selfLink,
    managedFields: _managed,
    ...kept
  } = here.metadata as StoredObject["metadata"] & { readonly selfLink?: string };
  const owned: StoredObject = {
    ...here,
    metadata: { ...kept, uid: randomUUID(), creationTimestamp: timestamp(engine.ports.clock) },
  };
  const filled = strategy.defaults(strategy.prepareCreate(owned));
  const admission = {
    operation: "CREATE",
    definition,
    subresource: "",
    namespace: request.namespace,
    name: object.metadata.name,
    object: filled,
    before: undefined,
    dryRun,
  } as const;
  const admitted = (await admit(engine, request, admission, signal)) ?? filled;
  const ready = strategy.defaults(admitted);
  assertValid(definition, ready, strategy.validateCreate(ready));
  return ready;
}

function named(object: StoredObject, name: string): StoredObject {
  return { ...object, metadata: { ...object.metadata, name } };
}

function suffix(): string {
  return Array.from({ length: suffixLength }, () => suffixLetters[randomInt(suffixLetters.length)]).join("");
}

function taken(definition: ResourceDefinition, name: string, generated: boolean): ApiError {
  if (!generated) return alreadyExists(definition, name);
  const error = alreadyExists(definition, name);
  return new ApiError(
    409,
    "AlreadyExists",
    `${error.message}, the server was not able to generate a unique name for the object`,
    { ...error.details, retryAfterSeconds: 1 },
  );
}
