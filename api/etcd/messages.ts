import protobuf from "protobufjs/light.js";

/**
 * The messages of etcd's v3 API that we send or read, with the fields we use: wire name, type, number.
 * `messages.test.ts` proves every one against the descriptor inside the `etcd` program.
 */
export const messageTable: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  KeyValue: {
    key: "bytes 1",
    create_revision: "int64 2",
    mod_revision: "int64 3",
    version: "int64 4",
    value: "bytes 5",
    lease: "int64 6",
  },
  Event: { type: "enum 1", kv: "KeyValue 2", prev_kv: "KeyValue 3" },
  ResponseHeader: {
    cluster_id: "uint64 1",
    member_id: "uint64 2",
    revision: "int64 3",
    raft_term: "uint64 4",
  },
  RangeRequest: {
    key: "bytes 1",
    range_end: "bytes 2",
    limit: "int64 3",
    revision: "int64 4",
    sort_order: "enum 5",
    sort_target: "enum 6",
    serializable: "bool 7",
    keys_only: "bool 8",
    count_only: "bool 9",
    min_mod_revision: "int64 10",
  },
  RangeResponse: { header: "ResponseHeader 1", kvs: "repeated KeyValue 2", more: "bool 3", count: "int64 4" },
  PutRequest: {
    key: "bytes 1",
    value: "bytes 2",
    lease: "int64 3",
    prev_kv: "bool 4",
    ignore_value: "bool 5",
    ignore_lease: "bool 6",
  },
  PutResponse: { header: "ResponseHeader 1", prev_kv: "KeyValue 2" },
  DeleteRangeRequest: { key: "bytes 1", range_end: "bytes 2", prev_kv: "bool 3" },
  DeleteRangeResponse: { header: "ResponseHeader 1", deleted: "int64 2", prev_kvs: "repeated KeyValue 3" },
  RequestOp: {
    request_range: "RangeRequest 1",
    request_put: "PutRequest 2",
    request_delete_range: "DeleteRangeRequest 3",
  },
  ResponseOp: {
    response_range: "RangeResponse 1",
    response_put: "PutResponse 2",
    response_delete_range: "DeleteRangeResponse 3",
  },
  Compare: {
    result: "enum 1",
    target: "enum 2",
    key: "bytes 3",
    version: "int64 4",
    create_revision: "int64 5",
    mod_revision: "int64 6",
    value: "bytes 7",
    lease: "int64 8",
    range_end: "bytes 64",
  },
  TxnRequest: {
    compare: "repeated Compare 1",
    success: "repeated RequestOp 2",
    failure: "repeated RequestOp 3",
  },
  TxnResponse: { header: "ResponseHeader 1", succeeded: "bool 2", responses: "repeated ResponseOp 3" },
  CompactionRequest: { revision: "int64 1", physical: "bool 2" },
  CompactionResponse: { header: "ResponseHeader 1" },
  WatchRequest: {
    create_request: "WatchCreateRequest 1",
    cancel_request: "WatchCancelRequest 2",
    progress_request: "WatchProgressRequest 3",
  },
  WatchCreateRequest: {
    key: "bytes 1",
    range_end: "bytes 2",
    start_revision: "int64 3",
    progress_notify: "bool 4",
    prev_kv: "bool 6",
    watch_id: "int64 7",
    fragment: "bool 8",
  },
  WatchCancelRequest: { watch_id: "int64 1" },
  WatchProgressRequest: {},
  WatchResponse: {
    header: "ResponseHeader 1",
    watch_id: "int64 2",
    created: "bool 3",
    canceled: "bool 4",
    compact_revision: "int64 5",
    cancel_reason: "string 6",
    fragment: "bool 7",
    events: "repeated Event 11",
  },
  LeaseGrantRequest: { TTL: "int64 1", ID: "int64 2" },
  LeaseGrantResponse: { header: "ResponseHeader 1", ID: "int64 2", TTL: "int64 3", error: "string 4" },
  LeaseRevokeRequest: { ID: "int64 1" },
  LeaseRevokeResponse: { header: "ResponseHeader 1" },
  LeaseKeepAliveRequest: { ID: "int64 1" },
  LeaseKeepAliveResponse: { header: "ResponseHeader 1", ID: "int64 2", TTL: "int64 3" },
  LeaseTimeToLiveRequest: { ID: "int64 1", keys: "bool 2" },
  LeaseTimeToLiveResponse: {
    header: "ResponseHeader 1",
    ID: "int64 2",
    TTL: "int64 3",
    grantedTTL: "int64 4",
    keys: "repeated bytes 5",
  },
  StatusRequest: {},
  StatusResponse: {
    header: "ResponseHeader 1",
    version: "string 2",
    dbSize: "int64 3",
    leader: "uint64 4",
    dbSizeInUse: "int64 9",
  },
  AuthenticateRequest: { name: "string 1", password: "string 2" },
  AuthenticateResponse: { header: "ResponseHeader 1", token: "string 2" },
};

/** A message as the wire has it: wire names, absent fields at their defaults, 64-bit integers as bigint. */
export type WireMessage = Readonly<Record<string, unknown>>;

/** How a 64-bit integer is given to the encoder. */
export interface WireLong {
  readonly low: number;
  readonly high: number;
  readonly unsigned: boolean;
}

/** A bigint for a field of type int64. */
export function wireLong(value: bigint): WireLong {
  return {
    low: Number(BigInt.asIntN(32, value)),
    high: Number(BigInt.asIntN(32, value >> 32n)),
    unsigned: false,
  };
}

const root = protobuf.Root.fromJSON({
  nested: Object.fromEntries(
    Object.entries(messageTable).map(([name, fields]) => [
      name,
      {
        fields: Object.fromEntries(Object.entries(fields).map(([field, text]) => [field, parseField(text)])),
      },
    ]),
  ),
});

/** The bytes of a message. Fields that are undefined are left out. */
export function encodeMessage(name: string, message: WireMessage): Buffer {
  return Buffer.from(root.lookupType(name).encode(message).finish());
}

/** Reads a message; unknown fields are skipped, so a newer etcd is understood. */
export function decodeMessage(name: string, bytes: Uint8Array): WireMessage {
  const type = root.lookupType(name);
  return type.toObject(type.decode(bytes), { longs: BigInt, defaults: true, arrays: true });
}

function parseField(text: string): { id: number; type: string; rule?: string } {
  const words = text.split(" ");
  const repeated = words[0] === "repeated";
  const [type = "", id = ""] = repeated ? words.slice(1) : words;
  // An enum travels as an int32; its names would be of no use here.
  const field = { id: Number(id), type: type === "enum" ? "int32" : type };
  return repeated ? { ...field, rule: "repeated" } : field;
}
