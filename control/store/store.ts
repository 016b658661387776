/**
 * The store of the API server: an ordered key space with revisions, compare-and-swap and watch, with etcd's
 * meaning. `sqlite/` is the default, `etcd/` is for several API servers; one contract test runs on both.
 */
export interface Store {
  /** The revision of the last write. */
  revision(signal: AbortSignal): Promise<bigint>;
  /** One key's value, or undefined. */
  get(key: string, signal: AbortSignal): Promise<Entry | undefined>;
  /**
   * Keys that start with `prefix`, in order, as they were at `options.revision` (now unless given).
   * @throws {StoreError} `compacted` when that revision is no longer held, `future` when it is yet to come.
   */
  range(prefix: string, options: RangeOptions, signal: AbortSignal): Promise<Range>;
  /**
   * Writes when the key's last revision is `expected` (0n: the key must not exist).
   * Durable when the promise resolves.
   * @returns the new revision, or the entry that stood in the way.
   */
  put(key: string, value: Uint8Array, expected: bigint, signal: AbortSignal): Promise<PutResult>;
  /** Deletes when the key's last revision is `expected`. */
  delete(key: string, expected: bigint, signal: AbortSignal): Promise<PutResult>;
  /**
   * Changes under `prefix` strictly after `from`, in revision order, without a gap; history first, then live.
   * A reader that falls too far behind gets `StoreError` `slow` and must start anew.
   * @throws {StoreError} `compacted` when `from` is no longer held.
   */
  watch(prefix: string, from: bigint, signal: AbortSignal): AsyncIterable<Change>;
  /** Forgets history up to and including `revision`. */
  compact(revision: bigint, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface Entry {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
}

export interface RangeOptions {
  readonly revision?: bigint;
  /** First key to return, for paging; at or after `prefix`. */
  readonly start?: string;
  readonly limit?: number;
}

export interface Range {
  readonly entries: readonly Entry[];
  /** The store's revision this range shows. */
  readonly revision: bigint;
  /** True when `limit` cut it short. */
  readonly more: boolean;
  /** Keys under the prefix at or after `start`, all of them. */
  readonly count: number;
}

export type PutResult =
  | { readonly state: "written"; readonly revision: bigint }
  | { readonly state: "conflict"; readonly current: Entry | undefined };

export type Change =
  | { readonly type: "put"; readonly entry: Entry; readonly before: Entry | undefined }
  | { readonly type: "delete"; readonly key: string; readonly revision: bigint; readonly before: Entry }
  /** Nothing of ours happened up to this revision; for stores that others write to as well. */
  | { readonly type: "progress"; readonly revision: bigint };

export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly code: "compacted" | "future" | "slow" | "full" | "closed" | "unavailable";
  /** For `compacted`: the oldest revision that can be asked for; for `future`: the current one. */
  readonly revision: bigint | undefined;

  constructor(code: StoreError["code"], message: string, revision?: bigint, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.revision = revision;
  }
}
