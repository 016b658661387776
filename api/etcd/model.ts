/** etcd's v3 words. Keys are UTF-8 text; revisions, versions and lease ids are 64-bit, hence bigint. */

/** One key and its value at one revision. */
export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  /** Writes since it was created; 1 for the first. */
  readonly version: bigint;
  /** The lease the key lives by; 0n for none. */
  readonly lease: bigint;
}

/** Keys from `key` up to but not including `end`; without `end`, `key` alone. See {@link prefixRange}. */
export interface KeyRange {
  readonly key: string | Uint8Array;
  readonly end?: string | Uint8Array;
}

export interface RangeRequest extends KeyRange {
  /** As it was at this revision; now unless given. */
  readonly revision?: bigint;
  /** 0 or absent: no limit. */
  readonly limit?: number;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  /** May be answered by a member that lags behind. */
  readonly serializable?: boolean;
  readonly sort?: {
    readonly by: "key" | "version" | "create" | "mod" | "value";
    readonly descending?: boolean;
  };
}

export interface RangeResult {
  readonly entries: readonly KeyValue[];
  /** True when `limit` cut it short. */
  readonly more: boolean;
  /** Keys in the range, all of them. */
  readonly count: number;
  /** etcd's revision when it answered. */
  readonly revision: bigint;
}

export interface PutRequest {
  readonly key: string | Uint8Array;
  readonly value: string | Uint8Array;
  /** The key is deleted when this lease ends; 0n or absent for none. */
  readonly lease?: bigint;
  /** Return what stood there before. */
  readonly before?: boolean;
}

export interface PutResult {
  readonly revision: bigint;
  readonly before: KeyValue | undefined;
}

export interface DeleteRequest extends KeyRange {
  /** Return what was deleted. */
  readonly before?: boolean;
}

export interface DeleteResult {
  readonly revision: bigint;
  readonly deleted: number;
  readonly before: readonly KeyValue[];
}

/** A condition of a transaction. A key that does not exist has version, create and mod revision 0n. */
export type Compare = { readonly key: string | Uint8Array; readonly op: "=" | ">" | "<" | "!=" } & (
  | { readonly target: "version" | "create" | "mod" | "lease"; readonly value: bigint }
  | { readonly target: "value"; readonly value: string | Uint8Array }
);

export type Operation =
  | ({ readonly type: "range" } & RangeRequest)
  | ({ readonly type: "put" } & PutRequest)
  | ({ readonly type: "delete" } & DeleteRequest);

export type OperationResult =
  | ({ readonly type: "range" } & RangeResult)
  | ({ readonly type: "put" } & PutResult)
  | ({ readonly type: "delete" } & DeleteResult);

/** When every condition holds, `then` is done, else `otherwise`: atomically, in one revision. */
export interface TxnRequest {
  readonly when: readonly Compare[];
  readonly then: readonly Operation[];
  readonly otherwise?: readonly Operation[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  readonly revision: bigint;
  /** One for each operation that was done, in order. */
  readonly results: readonly OperationResult[];
}

export interface WatchRequest extends KeyRange {
  /** First revision to report; the next one unless given. */
  readonly startRevision?: bigint;
  /** Events carry what stood there before. */
  readonly before?: boolean;
  /** etcd says its revision now and then while nothing changes. */
  readonly progressNotify?: boolean;
  /** End the watch when the member loses its leader; true unless given. */
  readonly requireLeader?: boolean;
}

/** What a watch tells: first `created`, then whole revisions of events, with `progress` where asked for. */
export type WatchMessage =
  | { readonly type: "created"; readonly revision: bigint }
  | { readonly type: "events"; readonly revision: bigint; readonly events: readonly WatchEvent[] }
  /** Everything up to `revision` was told. */
  | { readonly type: "progress"; readonly revision: bigint };

export interface WatchEvent {
  readonly type: "put" | "delete";
  /** For a delete: the key, and the revision of the deletion as `modRevision`. */
  readonly entry: KeyValue;
  readonly before: KeyValue | undefined;
}

export interface LeaseInfo {
  readonly id: bigint;
  /** Seconds left; -1 when the lease does not exist. */
  readonly ttlSeconds: number;
  readonly grantedSeconds: number;
  readonly keys: readonly string[];
}

export interface EtcdStatus {
  readonly version: string;
  readonly revision: bigint;
  readonly leader: bigint;
  readonly dbSizeBytes: number;
  readonly dbSizeInUseBytes: number;
}

/** Every key that starts with `prefix`; "" is every key. */
export function prefixRange(prefix: string): Required<KeyRange> {
  const bytes = new TextEncoder().encode(prefix);
  for (let last = bytes.length - 1; last >= 0; last -= 1) {
    const byte = bytes[last] ?? 0xff;
    if (byte === 0xff) continue;
    const end = bytes.slice(0, last + 1);
    end[last] = byte + 1;
    return { key: prefix, end };
  }
  // etcd reads "\0" as "to the end of the key space"; an empty key cannot be asked for.
  return { key: prefix === "" ? "\0" : prefix, end: "\0" };
}
