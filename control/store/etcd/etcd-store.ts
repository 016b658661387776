import type { EtcdClient } from "#api/etcd/etcd-client.ts";
import { EtcdError } from "#api/etcd/etcd-error.ts";
import type { KeyValue, WatchEvent } from "#api/etcd/model.ts";
import { prefixRange } from "#api/etcd/model.ts";
import type { Clock } from "#lib/clock.ts";
import {
  type Change,
  type Entry,
  type PutResult,
  type Range,
  type RangeOptions,
  type Store,
  StoreError,
} from "../store.ts";

/** Before every key: upstream's keys begin with a slash (`/registry/pods/...`), ours do not. */
const root = "/";

/**
 * The store in etcd v3, for several API servers. Reads are linearizable; the transactions are the ones that
 * Kubernetes' own API server sends, so everything that speaks etcd's subset for it works.
 */
export class EtcdStore implements Store {
  readonly #client: EtcdClient;
  readonly #stopCompaction: () => void;
  #compactTo = 0n;
  #closed = false;

  /**
   * @param client is closed with the store.
   * @param compactEveryMs history older than this is forgotten; 0 leaves it to somebody else.
   */
  constructor(client: EtcdClient, clock: Clock, compactEveryMs = 300_000) {
    this.#client = client;
    let cancel = (): void => {};
    const tick = (): void => {
      void this.#compactOld();
      cancel = clock.after(compactEveryMs, tick);
    };
    if (compactEveryMs > 0) cancel = clock.after(compactEveryMs, tick);
    this.#stopCompaction = () => cancel();
  }

  async revision(signal: AbortSignal): Promise<bigint> {
    const answer = await this.#ask(() =>
      this.#client.range({ key: `${root}registry`, countOnly: true }, signal),
    );
    return answer.revision;
  }

  async get(key: string, signal: AbortSignal): Promise<Entry | undefined> {
    const answer = await this.#ask(() => this.#client.range({ key: root + key }, signal));
    return answer.entries.map(entryOf)[0];
  }

  async range(prefix: string, options: RangeOptions, signal: AbortSignal): Promise<Range> {
    const whole = prefixRange(root + prefix);
    const first = options.start !== undefined && options.start > prefix ? root + options.start : whole.key;
    const revision = options.revision === undefined ? {} : { revision: options.revision };
    const limit = options.limit === undefined ? {} : { limit: options.limit };
    const answer = await this.#ask(() =>
      this.#client.range({ key: first, end: whole.end, ...revision, ...limit }, signal),
    );
    return {
      entries: answer.entries.map(entryOf),
      revision: options.revision ?? answer.revision,
      more: answer.more,
      count: answer.count,
    };
  }

  put(key: string, value: Uint8Array, expected: bigint, signal: AbortSignal): Promise<PutResult> {
    return this.#write(key, { type: "put", key: root + key, value }, expected, signal);
  }

  delete(key: string, expected: bigint, signal: AbortSignal): Promise<PutResult> {
    return this.#write(key, { type: "delete", key: root + key }, expected, signal);
  }

  /** With `prefix` "" the whole key space is watched, so that foreign writes still tell how far we are. */
  async *watch(prefix: string, from: bigint, signal: AbortSignal): AsyncGenerator<Change, void, undefined> {
    this.#assertOpen();
    const range = prefix === "" ? prefixRange("") : prefixRange(root + prefix);
    try {
      const watch = this.#client.watch({ ...range, startRevision: from + 1n, before: true }, signal);
      for await (const message of watch) {
        if (message.type === "progress") yield { type: "progress", revision: message.revision };
        if (message.type === "events") for (const event of message.events) yield changeOf(event);
      }
    } catch (cause) {
      throw storeError(cause);
    }
  }

  async compact(revision: bigint, signal: AbortSignal): Promise<void> {
    await this.#ask(() => this.#client.compact(revision, {}, signal));
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopCompaction();
    this.#client.close();
  }

  async #write(
    key: string,
    then: Parameters<EtcdClient["txn"]>[0]["then"][number],
    expected: bigint,
    signal: AbortSignal,
  ): Promise<PutResult> {
    const answer = await this.#ask(() =>
      this.#client.txn(
        {
          when: [{ key: root + key, op: "=", target: "mod", value: expected }],
          then: [then],
          otherwise: [{ type: "range", key: root + key }],
        },
        signal,
      ),
    );
    const [result] = answer.results;
    if (answer.succeeded) {
      // Deleting nothing is no write.
      if (result?.type === "delete" && result.deleted === 0) return { state: "conflict", current: undefined };
      return { state: "written", revision: answer.revision };
    }
    const current = result?.type === "range" ? result.entries.map(entryOf)[0] : undefined;
    return { state: "conflict", current };
  }

  /** Several API servers may do this at once: compacting twice to nearly the same revision does no harm. */
  async #compactOld(): Promise<void> {
    const signal = AbortSignal.timeout(10_000);
    try {
      const old = this.#compactTo;
      this.#compactTo = await this.revision(signal);
      if (old > 0n) await this.#client.compact(old, {}, signal);
    } catch {
      // etcd is away, or another server was faster; the next tick tries again.
    }
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    try {
      return await call();
    } catch (cause) {
      throw storeError(cause);
    }
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError("closed", "the store is closed");
  }
}

function entryOf(found: KeyValue): Entry {
  const { value, createRevision, modRevision } = found;
  return { key: found.key.slice(root.length), value, createRevision, modRevision };
}

function changeOf({ type, entry, before }: WatchEvent): Change {
  const revision = entry.modRevision;
  if (!entry.key.startsWith(root)) return { type: "progress", revision };
  if (type === "put")
    return { type, entry: entryOf(entry), before: before === undefined ? undefined : entryOf(before) };
  const key = entry.key.slice(root.length);
  return before === undefined
    ? { type: "progress", revision }
    : { type, key, revision, before: entryOf(before) };
}

function storeError(cause: unknown): unknown {
  if (!(cause instanceof EtcdError)) return cause;
  const options = { cause };
  switch (cause.code) {
    case "compacted":
      return new StoreError("compacted", cause.message, cause.compactRevision, options);
    case "future":
      return new StoreError("future", cause.message, undefined, options);
    case "no-space":
      return new StoreError("full", cause.message, undefined, options);
    default:
      return new StoreError("unavailable", cause.message, undefined, options);
  }
}
