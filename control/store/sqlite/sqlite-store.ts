import { DatabaseSync } from "node:sqlite";
import type { Clock } from "#lib/clock.ts";
import { ChangeQueue } from "../change-queue.ts";
import {
  type Change,
  type Entry,
  type PutResult,
  type Range,
  type RangeOptions,
  type Store,
  StoreError,
} from "../store.ts";
import { schema } from "./schema.ts";
import { type Statements, prepare } from "./statements.ts";

/** Sizes of the store; the defaults suit a cluster of a few hundred nodes. */
export interface SqliteLimits {
  /** Rows of history that are kept at most. */
  readonly logRows: number;
  /** History older than this is forgotten, milliseconds. */
  readonly logAgeMs: number;
  /** Changes that may wait for one reader of a watch. */
  readonly watchBuffer: number;
  /** Pages of 4 KiB the file may have; 0 leaves it to the disk. Tests fill a small one. */
  readonly maxPages: number;
}

const defaults: SqliteLimits = { logRows: 100_000, logAgeMs: 300_000, watchBuffer: 10_000, maxPages: 0 };

/** Rows that one transaction of the compaction removes: small, so that no write ever waits long for it. */
const compactionBatch = 1_000;

interface PendingWrite {
  readonly key: string;
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined;
  readonly expected: bigint;
  readonly resolve: (result: PutResult) => void;
  readonly reject: (cause: unknown) => void;
}

/**
 * The store in one SQLite file, durable before it acknowledges.
 *
 * Group commit: the writes of one turn of the event loop share one transaction, hence one fsync; their promises
 * resolve after it. WAL with `synchronous=FULL` survives a power cut. The file is locked for this process: a
 * second server on the same file fails at start instead of corrupting it.
 */
export class SqliteStore implements Store {
  readonly #database: DatabaseSync;
  readonly #sql: Statements;
  readonly #limits: SqliteLimits;
  readonly #readers = new Map<ChangeQueue<Change>, string>();
  #pending: PendingWrite[] = [];
  #revision: bigint;
  #compacted: bigint;
  #oldAtLastTick: bigint;
  #stopTimer: () => void = () => {};
  #closed = false;

  /**
   * @param file path, or `:memory:`.
   * @throws when the file is damaged or another process has it open.
   */
  constructor(file: string, clock: Clock, limits: Partial<SqliteLimits> = {}) {
    this.#limits = { ...defaults, ...limits };
    this.#database = new DatabaseSync(file);
    try {
      this.#database.exec(
        "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;" +
          "PRAGMA busy_timeout=2000; PRAGMA journal_size_limit=67108864; PRAGMA wal_autocheckpoint=1000;",
      );
      if (this.#limits.maxPages > 0) this.#database.exec(`PRAGMA max_page_count=${this.#limits.maxPages}`);
      const check = this.#database.prepare("PRAGMA quick_check(1)").get()?.["quick_check"];
      if (check !== "ok") throw new Error(`the file is damaged (${String(check)}); restore a backup`);
      this.#database.exec(schema);
    } catch (cause) {
      this.#database.close();
      throw new Error(`cannot open the store "${file}"`, { cause });
    }
    this.#sql = prepare(this.#database);
    this.#revision = this.#sql.meta("revision");
    this.#compacted = this.#sql.meta("compacted");
    this.#oldAtLastTick = this.#revision;
    const tick = (): void => {
      this.#compactTo(this.#oldAtLastTick);
      this.#oldAtLastTick = this.#revision;
      this.#stopTimer = clock.after(this.#limits.logAgeMs, tick);
    };
    this.#stopTimer = clock.after(this.#limits.logAgeMs, tick);
  }

  async revision(_signal: AbortSignal): Promise<bigint> {
    return this.#revision;
  }

  async get(key: string, _signal: AbortSignal): Promise<Entry | undefined> {
    this.#assertOpen();
    return this.#sql.get(key);
  }

  async range(prefix: string, options: RangeOptions, _signal: AbortSignal): Promise<Range> {
    this.#assertOpen();
    const revision = options.revision ?? this.#revision;
    if (revision > this.#revision)
      throw new StoreError("future", `revision ${revision} is yet to come`, this.#revision);
    if (revision < this.#compacted) throw this.#compactedError(revision);
    const from = options.start === undefined || options.start < prefix ? prefix : options.start;
    const to = `${prefix}\u{10ffff}`;
    const limit = options.limit ?? 0;
    const past = revision < this.#revision;
    const found = past
      ? this.#sql.rangeAt(from, to, revision, limit === 0 ? -1 : limit + 1)
      : this.#sql.range(from, to, limit === 0 ? -1 : limit + 1);
    const more = limit > 0 && found.length > limit;
    const entries = more ? found.slice(0, limit) : found;
    const count = !more
      ? entries.length
      : past
        ? this.#sql.countAt(from, to, revision)
        : this.#sql.count(from, to);
    return { entries, revision, more, count };
  }

  put(key: string, value: Uint8Array, expected: bigint, _signal: AbortSignal): Promise<PutResult> {
    return this.#write(key, value, expected);
  }

  delete(key: string, expected: bigint, _signal: AbortSignal): Promise<PutResult> {
    return this.#write(key, undefined, expected);
  }

  async *watch(prefix: string, from: bigint, signal: AbortSignal): AsyncGenerator<Change, void, undefined> {
    this.#assertOpen();
    if (from < this.#compacted) throw this.#compactedError(from);
    const queue = new ChangeQueue<Change>(this.#limits.watchBuffer);
    this.#readers.set(queue, prefix);
    // Registered first: what is committed while history is being read waits in the queue.
    const live = this.#revision;
    try {
      let at = from;
      while (at < live && !signal.aborted) {
        if (at < this.#compacted) throw this.#compactedError(at);
        const page = this.#sql.history(at, live, 500);
        for (const change of page) {
          at = revisionOf(change);
          if (keyOf(change).startsWith(prefix)) yield change;
        }
        if (page.length === 0) break;
      }
      for (
        let changes = await queue.take(signal);
        changes !== undefined;
        changes = await queue.take(signal)
      ) {
        for (const change of changes) if (revisionOf(change) > from) yield change;
      }
    } finally {
      this.#readers.delete(queue);
    }
  }

  async compact(revision: bigint, _signal: AbortSignal): Promise<void> {
    this.#assertOpen();
    this.#compactTo(revision);
  }

  /** Writes that wait are still committed. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#stopTimer();
    for (const reader of this.#readers.keys()) reader.fail(new StoreError("closed", "the store is closed"));
    this.#database.close();
  }

  #write(key: string, value: Uint8Array | undefined, expected: bigint): Promise<PutResult> {
    this.#assertOpen();
    const { promise, resolve, reject } = Promise.withResolvers<PutResult>();
    if (this.#pending.length === 0) setImmediate(() => this.#flush());
    this.#pending.push({ key, value, expected, resolve, reject });
    return promise;
  }

  /** One transaction for all that waits: everybody learns the result after the commit, or the failure. */
  #flush(): void {
    const batch = this.#pending;
    this.#pending = [];
    if (batch.length === 0) return;
    const before = this.#revision;
    const changes: Change[] = [];
    const results: PutResult[] = [];
    try {
      this.#database.exec("BEGIN IMMEDIATE");
      for (const write of batch) results.push(this.#apply(write, changes));
      if (changes.length > 0) this.#sql.setMeta("revision", this.#revision);
      this.#database.exec("COMMIT");
    } catch (cause) {
      this.#revision = before;
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      const failure = storeFailure(cause);
      for (const write of batch) write.reject(failure);
      return;
    }
    for (const [at, write] of batch.entries()) {
      const result = results[at];
      if (result !== undefined) write.resolve(result);
    }
    for (const [reader, prefix] of this.#readers) {
      for (const change of changes) if (keyOf(change).startsWith(prefix)) reader.push(change);
    }
    if (this.#revision - this.#compacted > BigInt(this.#limits.logRows + compactionBatch))
      this.#compactTo(this.#revision - BigInt(this.#limits.logRows));
  }

  #apply(write: PendingWrite, changes: Change[]): PutResult {
    const { key, value, expected } = write;
    const before = this.#sql.get(key);
    if ((before?.modRevision ?? 0n) !== expected) return { state: "conflict", current: before };
    if (value === undefined && before === undefined) return { state: "conflict", current: undefined };
    const revision = this.#revision + 1n;
    const createRevision = before?.createRevision ?? revision;
    this.#sql.log(revision, key, value === undefined, createRevision, before);
    this.#revision = revision;
    if (value === undefined) {
      this.#sql.remove(key);
      if (before !== undefined) changes.push({ type: "delete", key, revision, before });
    } else {
      const entry: Entry = { key, value, createRevision, modRevision: revision };
      this.#sql.put(entry);
      changes.push({ type: "put", entry, before });
    }
    return { state: "written", revision };
  }

  #compactTo(revision: bigint): void {
    const target = revision > this.#revision ? this.#revision : revision;
    // The log's oldest row is the limit of what must be walked, so that idle revisions cost nothing.
    let at = this.#compacted;
    while (at < target && !this.#closed) {
      const next = at + BigInt(compactionBatch) < target ? at + BigInt(compactionBatch) : target;
      try {
        this.#database.exec("BEGIN IMMEDIATE");
        this.#sql.forget(next);
        this.#sql.setMeta("compacted", next);
        this.#database.exec("COMMIT");
      } catch {
        // A full disk stops compaction as it stops writes; the next tick tries again.
        if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
        return;
      }
      at = next;
      this.#compacted = next;
    }
  }

  #compactedError(revision: bigint): StoreError {
    return new StoreError(
      "compacted",
      `revision ${revision} is no longer held; the oldest is ${this.#compacted}`,
      this.#compacted,
    );
  }

  #assertOpen(): void {
    if (this.#closed) throw new StoreError("closed", "the store is closed");
  }
}

function keyOf(change: Change): string {
  if (change.type === "progress") return "";
  return change.type === "put" ? change.entry.key : change.key;
}

function revisionOf(change: Change): bigint {
  return change.type === "put" ? change.entry.modRevision : change.revision;
}

/** SQLITE_FULL is 13, SQLITE_IOERR 10 with its subcodes in the upper bytes. */
function storeFailure(cause: unknown): StoreError {
  const code = typeof cause === "object" && cause !== null && "errcode" in cause ? Number(cause.errcode) : 0;
  const text = cause instanceof Error ? cause.message : String(cause);
  return (code & 0xff) === 13
    ? new StoreError("full", `cannot write to the store: ${text}; free some space`, undefined, { cause })
    : new StoreError("unavailable", `cannot write to the store: ${text}`, undefined, { cause });
}
