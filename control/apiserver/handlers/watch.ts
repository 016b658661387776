import type { ResourceDefinition, StoredObject } from "../../model.ts";
import { StoreError } from "../../store/store.ts";
import type { CacheEvent, Delivery, KindCache } from "../cache/kind-cache.ts";
import { watchLine } from "../cache/kind-cache.ts";
import { expired } from "../../api-error.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { type ListOptions, parseListOptions } from "../list-options.ts";
import type { OutputFormat } from "../negotiate.ts";
import { groupVersionOf, storePrefix } from "../registry.ts";
import { partialMetadata } from "../render.ts";
import { reachRevision, selectItems } from "./list.ts";

const bookmarkEveryMs = 60_000;
/** A watch without `timeoutSeconds` ends after 30 to 60 minutes, so that clients spread over servers. */
const shortestWatchMs = 1_800_000;

type EventType = "ADDED" | "MODIFIED" | "DELETED";

/**
 * GET of a collection with `watch`: what changes, as lines of JSON. Starts after `resourceVersion`, or with the
 * present state when there is none.
 * @throws {ApiError} 410 when that revision is no longer known.
 */
export async function watchObjects(
  engine: Engine,
  request: ResourceRequest,
  format: OutputFormat,
  signal: AbortSignal,
): Promise<Reply> {
  const { definition, query } = request;
  const options = parseListOptions(query, definition, true, request.name);
  const { store } = engine.ports;
  const wanted = options.resourceVersion;
  // A fresh start must show every write that was acknowledged before the request.
  if (wanted === undefined) await engine.cache.reach(await store.revision(signal), 3_000, signal);
  else if (wanted > 0n) await reachRevision(engine, wanted, signal);
  const withState = options.sendInitialEvents ?? (wanted === undefined || wanted === 0n);
  const kind = engine.cache.kind(definition.storagePrefix);
  const from = withState ? engine.cache.revision : (wanted ?? engine.cache.revision);
  const state = withState
    ? selectItems(engine, request, options, kind.list(storePrefix(definition, request.namespace)))
    : [];
  const subscription = kind.subscribe(from);
  if (subscription === undefined)
    throw expired(`too old resource version: ${from} (${engine.cache.revision})`);
  // The generator cleans up after itself, but only once it was started.
  signal.addEventListener("abort", () => kind.unsubscribe(subscription.queue), { once: true });
  const lines = new Lines(engine, request, options, format);
  const body = stream(engine, kind, subscription, options, lines, {
    initial: state.map(({ object }) => lines.state(object)),
    endsInitial: options.sendInitialEvents === true,
    from,
    signal,
  });
  return { kind: "stream", contentType: "application/json", body };
}

interface Start {
  readonly initial: readonly Uint8Array[];
  readonly endsInitial: boolean;
  readonly from: bigint;
  readonly signal: AbortSignal;
}

async function* stream(
  engine: Engine,
  kind: KindCache,
  subscription: NonNullable<ReturnType<KindCache["subscribe"]>>,
  options: ListOptions,
  lines: Lines,
  start: Start,
): AsyncGenerator<Uint8Array, void, undefined> {
  const { clock } = engine.ports;
  const { queue } = subscription;
  const timeout = new AbortController();
  const signal = AbortSignal.any([start.signal, timeout.signal]);
  const lifeMs =
    options.timeoutSeconds > 0 ? options.timeoutSeconds * 1_000 : shortestWatchMs * (1 + Math.random());
  const cancelTimeout = clock.after(lifeMs, () => timeout.abort());
  let cancelBookmark = (): void => {};
  const bookmark = (): void => {
    queue.push({ kind: "bookmark", revision: engine.cache.revision });
    cancelBookmark = clock.after(bookmarkEveryMs, bookmark);
  };
  if (options.bookmarks) cancelBookmark = clock.after(bookmarkEveryMs, bookmark);
  try {
    const first = [...start.initial];
    if (start.endsInitial && options.bookmarks) first.push(lines.bookmark(start.from, true));
    for (const event of subscription.past) {
      const line = lines.event(event);
      if (line !== undefined) first.push(line);
    }
    // An empty chunk makes the transport send its headers: clients wait for them before the first event.
    yield Buffer.concat(first);
    for (let batch = await queue.take(signal); batch !== undefined; batch = await queue.take(signal)) {
      const chunk = linesOf(batch, lines);
      if (chunk.length > 0)
        yield chunk.length === 1 && chunk[0] !== undefined ? chunk[0] : Buffer.concat(chunk);
    }
    if (timeout.signal.aborted && options.bookmarks) yield lines.bookmark(engine.cache.revision, false);
  } catch (cause) {
    // The client lists again, as it does whenever a watch ends.
    if (!(cause instanceof StoreError)) throw cause;
  } finally {
    kind.unsubscribe(queue);
    cancelTimeout();
    cancelBookmark();
  }
}

function linesOf(batch: readonly Delivery[], lines: Lines): Uint8Array[] {
  const chunk: Uint8Array[] = [];
  for (const delivery of batch) {
    const line =
      delivery.kind === "event" ? lines.event(delivery.event) : lines.bookmark(delivery.revision, false);
    if (line !== undefined) chunk.push(line);
  }
  return chunk;
}

/** Events as this watcher sees them: through its selector and in its form. */
class Lines {
  readonly #engine: Engine;
  readonly #definition: ResourceDefinition;
  readonly #options: ListOptions;
  readonly #format: OutputFormat;
  readonly #prefix: string;
  readonly #includeObject: "None" | "Metadata" | "Object";
  #columnsSent = false;

  constructor(engine: Engine, request: ResourceRequest, options: ListOptions, format: OutputFormat) {
    this.#engine = engine;
    this.#definition = request.definition;
    this.#options = options;
    this.#format = format;
    this.#prefix = storePrefix(request.definition, request.namespace);
    const include = request.query.get("includeObject");
    this.#includeObject = include === "None" || include === "Object" ? include : "Metadata";
  }

  /** An object that was there when the watch began. */
  state(object: StoredObject): Uint8Array {
    return this.#render("ADDED", object);
  }

  /** Undefined when this watcher does not see the event. */
  event(event: CacheEvent): Uint8Array | undefined {
    const key = event.now?.key ?? event.before?.key ?? "";
    if (!key.startsWith(this.#prefix)) return undefined;
    const type = this.#typeOf(event);
    if (type === undefined) return undefined;
    const object = (type === "DELETED" ? event.gone : event.now)?.object;
    if (object === undefined) return undefined;
    const own = this.#served(object);
    // The shared line: made once for all watchers that see the object as it is stored.
    return this.#format.as === "object" && own === object ? event.line(type) : this.#render(type, own);
  }

  bookmark(revision: bigint, endsInitial: boolean): Uint8Array {
    const metadata = {
      resourceVersion: String(revision),
      ...(endsInitial ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    };
    const { kind } = this.#definition;
    const object = { kind, apiVersion: groupVersionOf(this.#definition), metadata };
    return watchLine("BOOKMARK", Buffer.from(JSON.stringify(object)));
  }

  /** An object that leaves the selector is deleted for this watcher, and one that enters is added. */
  #typeOf(event: CacheEvent): EventType | undefined {
    const visible = (object: StoredObject | undefined): boolean =>
      object !== undefined && (!this.#options.selective || this.#options.select(this.#served(object)));
    const before = visible(event.before?.object);
    const now = visible(event.now?.object);
    if (now) return before ? "MODIFIED" : "ADDED";
    return before ? "DELETED" : undefined;
  }

  #served(object: StoredObject): StoredObject {
    return this.#engine.ports.content.fromStorage(this.#definition, object);
  }

  #render(type: EventType, object: StoredObject): Uint8Array {
    const value =
      this.#format.as === "table"
        ? this.#table(object)
        : this.#format.as === "partial"
          ? partialMetadata(object)
          : object;
    return watchLine(type, Buffer.from(JSON.stringify(value)));
  }

  #table(object: StoredObject): unknown {
    const columns = !this.#columnsSent;
    this.#columnsSent = true;
    return this.#engine.ports.content.renderTable(this.#definition, [object], {
      includeObject: this.#includeObject,
      nowMs: this.#engine.ports.clock.now(),
      withColumns: columns,
    });
  }
}
