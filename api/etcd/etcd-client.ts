import { EtcdChannel, type EtcdOptions, type Method } from "./channel.ts";
import { EtcdError } from "./etcd-error.ts";
import { type WireMessage, wireLong } from "./messages.ts";
import type {
  DeleteRequest,
  DeleteResult,
  EtcdStatus,
  LeaseInfo,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
  WatchRequest,
} from "./model.ts";
import { EtcdWatch } from "./watch.ts";
import {
  deleteMessage,
  long,
  parseDelete,
  parsePut,
  parseRange,
  parseRevision,
  parseTxn,
  putMessage,
  rangeMessage,
  string,
  texts,
  txnMessage,
} from "./wire.ts";

/**
 * A thin client of etcd's v3 API (3.4 and later). Every call throws {@link EtcdError}.
 * A call moves to the next endpoint when one is away, but a write that may already have been done is not repeated.
 */
export class EtcdClient {
  readonly #channel: EtcdChannel;

  /** Does not connect yet. @throws {EtcdError} `invalid` for options that cannot work. */
  constructor(options: EtcdOptions) {
    this.#channel = new EtcdChannel(options);
  }

  async range(request: RangeRequest, signal: AbortSignal): Promise<RangeResult> {
    return parseRange(await this.#channel.unary(methods.range, rangeMessage(request), signal));
  }

  async put(request: PutRequest, signal: AbortSignal): Promise<PutResult> {
    return parsePut(await this.#channel.unary(methods.put, putMessage(request), signal));
  }

  async deleteRange(request: DeleteRequest, signal: AbortSignal): Promise<DeleteResult> {
    return parseDelete(await this.#channel.unary(methods.delete, deleteMessage(request), signal));
  }

  async txn(request: TxnRequest, signal: AbortSignal): Promise<TxnResult> {
    return parseTxn(await this.#channel.unary(methods.txn, txnMessage(request), signal));
  }

  /**
   * Changes in a range of keys, from one connection: the caller begins again after an error, from the revision it
   * has seen. The stream is read only as fast as it is iterated; etcd keeps what waits.
   * @throws {EtcdError} from the iteration: `compacted` (with `compactRevision`) when history is gone.
   */
  watch(request: WatchRequest, signal: AbortSignal): EtcdWatch {
    return new EtcdWatch(this.#channel, request, signal);
  }

  /** Forgets history before `revision`. `physical`: resolve only when the space was given back. */
  async compact(
    revision: bigint,
    options: { readonly physical?: boolean },
    signal: AbortSignal,
  ): Promise<void> {
    const message = { revision: wireLong(revision), physical: options.physical === true };
    await this.#channel.unary(methods.compact, message, signal);
  }

  /** Starts a lease of `ttlSeconds`. @returns its id and the time etcd really gave, in seconds. */
  async leaseGrant(
    ttlSeconds: number,
    signal: AbortSignal,
  ): Promise<{ readonly id: bigint; readonly ttlSeconds: number }> {
    const answer = await this.#channel.unary(methods.grant, { TTL: ttlSeconds }, signal);
    const error = string(answer["error"]);
    if (error !== "")
      throw new EtcdError("failed", `cannot start an etcd lease of ${ttlSeconds} s: ${error}`);
    return { id: long(answer["ID"]), ttlSeconds: Number(long(answer["TTL"])) };
  }

  /** Ends a lease and deletes its keys. @throws {EtcdError} `no-lease` when it has ended already. */
  async leaseRevoke(id: bigint, signal: AbortSignal): Promise<void> {
    await this.#channel.unary(methods.revoke, { ID: wireLong(id) }, signal);
  }

  /** Makes a lease's time start anew. @returns its seconds. @throws {EtcdError} `no-lease` when it has ended. */
  async leaseKeepAlive(id: bigint, signal: AbortSignal): Promise<{ readonly ttlSeconds: number }> {
    const { stream, endpoint } = await this.#channel.stream(methods.keepAlive, true, signal);
    const timeout = setTimeout(() => stream.cancel(), 10_000);
    const stop = (): void => stream.cancel();
    signal.addEventListener("abort", stop, { once: true });
    try {
      stream.write({ ID: wireLong(id) });
      stream.end();
      for await (const answer of stream as AsyncIterable<WireMessage>) {
        const ttlSeconds = Number(long(answer["TTL"]));
        if (ttlSeconds > 0) return { ttlSeconds };
        break;
      }
      throw new EtcdError(
        "no-lease",
        `cannot keep etcd lease "${id.toString(16)}" alive: it has ended; start a new one`,
      );
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      const error = this.#channel.error(methods.keepAlive, cause);
      if (error.code === "unavailable") this.#channel.failed(endpoint);
      throw error;
    } finally {
      clearTimeout(timeout);
      signal.removeEventListener("abort", stop);
      stream.on("error", () => {}); // cancelling an answered stream reports itself as an error
      stream.cancel();
    }
  }

  async leaseTimeToLive(
    id: bigint,
    options: { readonly keys?: boolean },
    signal: AbortSignal,
  ): Promise<LeaseInfo> {
    const message = { ID: wireLong(id), keys: options.keys === true };
    const answer = await this.#channel.unary(methods.timeToLive, message, signal);
    return {
      id: long(answer["ID"]),
      ttlSeconds: Number(long(answer["TTL"])),
      grantedSeconds: Number(long(answer["grantedTTL"])),
      keys: texts(answer["keys"]),
    };
  }

  /** Of the member that answers. */
  async status(signal: AbortSignal): Promise<EtcdStatus> {
    const answer = await this.#channel.unary(methods.status, {}, signal);
    return {
      version: string(answer["version"]),
      revision: parseRevision(answer),
      leader: long(answer["leader"]),
      dbSizeBytes: Number(long(answer["dbSize"])),
      dbSizeInUseBytes: Number(long(answer["dbSizeInUse"])),
    };
  }

  /** Closes every connection; calls that wait end with an error. */
  close(): void {
    this.#channel.close();
  }
}

function method(service: string, name: string, message: string, repeatable: boolean): Method {
  return {
    path: `/etcdserverpb.${service}/${name}`,
    request: `${message}Request`,
    response: message === "Compaction" ? "CompactionResponse" : `${message}Response`,
    repeatable,
  };
}

const methods = {
  range: method("KV", "Range", "Range", true),
  put: method("KV", "Put", "Put", false),
  delete: method("KV", "DeleteRange", "DeleteRange", false),
  txn: method("KV", "Txn", "Txn", false),
  compact: method("KV", "Compact", "Compaction", false),
  grant: method("Lease", "LeaseGrant", "LeaseGrant", true), // a grant that was lost just runs out
  revoke: method("Lease", "LeaseRevoke", "LeaseRevoke", false),
  keepAlive: method("Lease", "LeaseKeepAlive", "LeaseKeepAlive", true),
  timeToLive: method("Lease", "LeaseTimeToLive", "LeaseTimeToLive", true),
  status: method("Maintenance", "Status", "Status", true),
};
