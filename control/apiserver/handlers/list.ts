import { ApiError, expired } from "../../api-error.ts";
import { StoreError } from "../../store/store.ts";
import type { CachedObject } from "../cache/cached-object.ts";
import type { Engine, ListItem, Reply, ResourceRequest } from "../engine.ts";
import { type ListOptions, formatContinue, parseListOptions } from "../list-options.ts";
import { storeKey, storePrefix } from "../registry.ts";
import { served } from "./read.ts";

/** How long a list waits for the cache before it reads the store itself, milliseconds. */
const cacheWaitMs = 100;
/** How long a request for a future revision waits, as Kubernetes does. */
const futureWaitMs = 3_000;

/** GET of a collection. */
export async function listObjects(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const options = parseListOptions(request.query, request.definition, false, request.name);
  const { objects, revision } = await snapshot(engine, request, options, signal);
  const items = selectItems(engine, request, options, objects);
  const metadata = { resourceVersion: String(revision) };
  if (options.limit === 0 || items.length <= options.limit) return { kind: "list", items, metadata };
  const page = items.slice(0, options.limit);
  const last = page.at(-1);
  const prefix = storePrefix(request.definition, request.namespace);
  const start =
    last === undefined
      ? ""
      : `${storeKey(request.definition, last.object.metadata.namespace ?? "", last.object.metadata.name).slice(prefix.length)}\0`;
  return {
    kind: "list",
    items: page,
    metadata: {
      ...metadata,
      continue: formatContinue({ revision, start }),
      ...(options.selective ? {} : { remainingItemCount: items.length - page.length }),
    },
  };
}

/** The objects that the options choose. */
export function selectItems(
  engine: Engine,
  request: ResourceRequest,
  options: ListOptions,
  objects: readonly CachedObject[],
): readonly ListItem[] {
  const items: ListItem[] = [];
  for (const cached of objects) {
    const item = served(engine, request.definition, cached);
    if (!options.selective || options.select(item.object)) items.push(item);
  }
  return items;
}

interface Snapshot {
  readonly objects: readonly CachedObject[];
  readonly revision: bigint;
}

/** All objects of the collection at the revision that the options ask for. */
async function snapshot(
  engine: Engine,
  request: ResourceRequest,
  options: ListOptions,
  signal: AbortSignal,
): Promise<Snapshot> {
  const { resourceVersion: wanted, match, limit } = options;
  if (options.continue !== undefined) {
    const { revision, start } = options.continue;
    if (revision === -1n) return after(request, await fresh(engine, request, signal), start);
    return after(request, await exact(engine, request, revision, start, signal), start);
  }
  if (wanted === undefined) return await fresh(engine, request, signal);
  if (wanted === 0n) return fromCache(engine, request);
  const isExact = match === "Exact" || (match === "" && limit > 0);
  await reachRevision(engine, wanted, signal);
  return isExact ? await exact(engine, request, wanted, undefined, signal) : fromCache(engine, request);
}

/**
 * Waits for a revision that is yet to come.
 * @throws {ApiError} 504 when it does not come within three seconds.
 */
export async function reachRevision(engine: Engine, wanted: bigint, signal: AbortSignal): Promise<void> {
  if (await engine.cache.reach(wanted, wanted > engine.cache.revision ? futureWaitMs : 0, signal)) return;
  const current = engine.cache.revision;
  throw new ApiError(504, "Timeout", `Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

/** Not older than the moment the request came: the store says how far it is, and the cache catches up. */
async function fresh(engine: Engine, request: ResourceRequest, signal: AbortSignal): Promise<Snapshot> {
  const revision = await engine.ports.store.revision(signal);
  if (await engine.cache.reach(revision, cacheWaitMs, signal)) return fromCache(engine, request);
  const prefix = storePrefix(request.definition, request.namespace);
  const range = await engine.ports.store.range(prefix, {}, signal);
  return { objects: range.entries.map((entry) => engine.cache.parse(entry)), revision: range.revision };
}

function fromCache(engine: Engine, request: ResourceRequest): Snapshot {
  const kind = engine.cache.kind(request.definition.storagePrefix);
  return {
    objects: kind.list(storePrefix(request.definition, request.namespace)),
    revision: engine.cache.revision,
  };
}

async function exact(
  engine: Engine,
  request: ResourceRequest,
  revision: bigint,
  start: string | undefined,
  signal: AbortSignal,
): Promise<Snapshot> {
  if (revision === engine.cache.revision) return fromCache(engine, request);
  const prefix = storePrefix(request.definition, request.namespace);
  try {
    const range = await engine.ports.store.range(prefix, { revision }, signal);
    return { objects: range.entries.map((entry) => engine.cache.parse(entry)), revision };
  } catch (cause) {
    if (!(cause instanceof StoreError) || cause.code !== "compacted") throw cause;
    if (start === undefined) throw expired(`The resourceVersion for the provided list is too old.`);
    // The client may go on with what is there now; upstream offers the same token.
    throw new ApiError(
      410,
      "Expired",
      "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
      undefined,
      { metadata: { continue: formatContinue({ revision: -1n, start }) } },
    );
  }
}

function after(request: ResourceRequest, whole: Snapshot, start: string): Snapshot {
  const from = storePrefix(request.definition, request.namespace) + start;
  return { ...whole, objects: whole.objects.filter(({ key }) => key >= from) };
}
