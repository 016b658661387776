import { type WireMessage, wireLong } from "./messages.ts";
import type {
  Compare,
  DeleteRequest,
  DeleteResult,
  KeyRange,
  KeyValue,
  Operation,
  OperationResult,
  PutRequest,
  PutResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
  WatchEvent,
  WatchRequest,
} from "./model.ts";

/** Between our words and the wire's. Only this file knows the wire's names. */

const compareResults = { "=": 0, ">": 1, "<": 2, "!=": 3 } as const;
const compareTargets = { version: 0, create: 1, mod: 2, value: 3, lease: 4 } as const;
const compareFields = {
  version: "version",
  create: "create_revision",
  mod: "mod_revision",
  lease: "lease",
} as const;
const sortTargets = { key: 0, version: 1, create: 2, mod: 3, value: 4 } as const;

export function rangeMessage(request: RangeRequest): WireMessage {
  return {
    ...rangeFields(request),
    ...(request.limit === undefined ? {} : { limit: request.limit }),
    ...(request.revision === undefined ? {} : { revision: wireLong(request.revision) }),
    ...(request.keysOnly === true ? { keys_only: true } : {}),
    ...(request.countOnly === true ? { count_only: true } : {}),
    ...(request.serializable === true ? { serializable: true } : {}),
    ...(request.sort === undefined
      ? {}
      : { sort_target: sortTargets[request.sort.by], sort_order: request.sort.descending === true ? 2 : 1 }),
  };
}

export function putMessage(request: PutRequest): WireMessage {
  return {
    key: bytes(request.key),
    value: bytes(request.value),
    ...(request.lease === undefined ? {} : { lease: wireLong(request.lease) }),
    ...(request.before === true ? { prev_kv: true } : {}),
  };
}

export function deleteMessage(request: DeleteRequest): WireMessage {
  return { ...rangeFields(request), ...(request.before === true ? { prev_kv: true } : {}) };
}

export function txnMessage(request: TxnRequest): WireMessage {
  return {
    compare: request.when.map(compareMessage),
    success: request.then.map(operationMessage),
    failure: (request.otherwise ?? []).map(operationMessage),
  };
}

export function watchMessage(request: WatchRequest): WireMessage {
  return {
    create_request: {
      ...rangeFields(request),
      ...(request.startRevision === undefined ? {} : { start_revision: wireLong(request.startRevision) }),
      ...(request.before === true ? { prev_kv: true } : {}),
      ...(request.progressNotify === true ? { progress_notify: true } : {}),
      fragment: true,
    },
  };
}

export function parseRange(message: WireMessage): RangeResult {
  return {
    entries: list(message["kvs"]).map(parseKeyValue),
    more: message["more"] === true,
    count: Number(long(message["count"])),
    revision: parseRevision(message),
  };
}

export function parsePut(message: WireMessage): PutResult {
  return { revision: parseRevision(message), before: parseOptional(message["prev_kv"]) };
}

export function parseDelete(message: WireMessage): DeleteResult {
  return {
    revision: parseRevision(message),
    deleted: Number(long(message["deleted"])),
    before: list(message["prev_kvs"]).map(parseKeyValue),
  };
}

export function parseTxn(message: WireMessage): TxnResult {
  return {
    succeeded: message["succeeded"] === true,
    revision: parseRevision(message),
    results: list(message["responses"]).map(parseOperationResult),
  };
}

export function parseEvents(message: WireMessage): WatchEvent[] {
  return list(message["events"]).map((event) => ({
    type: event["type"] === 1 ? "delete" : "put",
    entry: parseKeyValue(child(event["kv"])),
    before: parseOptional(event["prev_kv"]),
  }));
}

/** The revision in an answer's header. */
export function parseRevision(message: WireMessage): bigint {
  return long(child(message["header"])["revision"]);
}

/** A 64-bit field; 0n when it is absent. */
export function long(value: unknown): bigint {
  return typeof value === "bigint" ? value : typeof value === "number" ? BigInt(value) : 0n;
}

/** A text field; "" when it is absent. */
export function string(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** A field of repeated bytes, as text. */
export function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.map((item: unknown) => text(item)) : [];
}

function compareMessage(compare: Compare): WireMessage {
  return {
    key: bytes(compare.key),
    result: compareResults[compare.op],
    target: compareTargets[compare.target],
    ...(compare.target === "value"
      ? { value: bytes(compare.value) }
      : { [compareFields[compare.target]]: wireLong(compare.value) }),
  };
}

function operationMessage(operation: Operation): WireMessage {
  switch (operation.type) {
    case "range":
      return { request_range: rangeMessage(operation) };
    case "put":
      return { request_put: putMessage(operation) };
    case "delete":
      return { request_delete_range: deleteMessage(operation) };
    default:
      return operation satisfies never;
  }
}

function parseOperationResult(message: WireMessage): OperationResult {
  if (isMessage(message["response_range"]))
    return { type: "range", ...parseRange(message["response_range"]) };
  if (isMessage(message["response_put"])) return { type: "put", ...parsePut(message["response_put"]) };
  return { type: "delete", ...parseDelete(child(message["response_delete_range"])) };
}

function parseOptional(value: unknown): KeyValue | undefined {
  return isMessage(value) ? parseKeyValue(value) : undefined;
}

function parseKeyValue(message: WireMessage): KeyValue {
  const value = message["value"];
  return {
    key: text(message["key"]),
    value: value instanceof Uint8Array ? value : new Uint8Array(),
    createRevision: long(message["create_revision"]),
    modRevision: long(message["mod_revision"]),
    version: long(message["version"]),
    lease: long(message["lease"]),
  };
}

function rangeFields(range: KeyRange): WireMessage {
  return { key: bytes(range.key), ...(range.end === undefined ? {} : { range_end: bytes(range.end) }) };
}

function bytes(value: string | Uint8Array): Uint8Array {
  return typeof value === "string" ? Buffer.from(value, "utf8") : value;
}

function text(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString("utf8") : "";
}

function child(value: unknown): WireMessage {
  return isMessage(value) ? value : {};
}

function list(value: unknown): WireMessage[] {
  return Array.isArray(value) ? value.filter(isMessage) : [];
}

function isMessage(value: unknown): value is WireMessage {
  return typeof value === "object" && value !== null && !(value instanceof Uint8Array);
}
