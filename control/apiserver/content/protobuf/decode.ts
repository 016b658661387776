import { ApiError, badRequest } from "../../../api-error.ts";
import type { FieldType } from "#api/schema.ts";
import { modelOf } from "#api/schema.ts";
import { isPointer } from "./pointers.ts";
import { numbersOf } from "./numbers.ts";
import { lastBytes, lastVarint, readFields, utf8, type WireField } from "./wire.ts";

const magic = Uint8Array.of(0x6b, 0x38, 0x73, 0x00);
const maxDepth = 100;

/**
 * Reads a `k8s\0` envelope (runtime.Unknown) into the JSON of the object it holds.
 * @throws ApiError 400 for what is malformed, 415 for kinds without a table.
 */
export function decodeProtobuf(bytes: Uint8Array): unknown {
  if (magic.some((byte, index) => bytes[index] !== byte)) {
    throw badRequest(
      "cannot read the protobuf body: it does not start with the k8s magic number; send application/json",
    );
  }
  const envelope = readFields(bytes.subarray(magic.length));
  const typeMeta = readFields(lastBytes(envelope, 1) ?? new Uint8Array());
  const apiVersion = utf8(lastBytes(typeMeta, 1));
  const kind = utf8(lastBytes(typeMeta, 2));
  const raw = lastBytes(envelope, 2) ?? new Uint8Array();
  if (utf8(lastBytes(envelope, 4)).includes("json")) return parseJson(raw);
  return { apiVersion, kind, ...decodeMessage(modelFor(apiVersion, kind), raw) };
}

/** @param model a name of `api/generated/schema.json` */
export function decodeMessage(model: string, message: Uint8Array): Readonly<Record<string, unknown>> {
  const numbers = numbersOf(model);
  if (numbers === undefined) {
    throw new ApiError(415, "UnsupportedMediaType", `no protobuf reader for ${model}; send application/json`);
  }
  return readModel(model, model, message, 0);
}

/** Kinds whose model is not called like them. */
function modelFor(apiVersion: string, kind: string): string {
  const special: Readonly<Record<string, string>> = {
    "v1 Event": "CoreV1Event",
    "v1 EventList": "CoreV1EventList",
    "events.k8s.io/v1 Event": "EventsV1Event",
    "events.k8s.io/v1 EventList": "EventsV1EventList",
    "authentication.k8s.io/v1 TokenRequest": "AuthenticationV1TokenRequest",
    "autoscaling/v2 HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "autoscaling/v2 HorizontalPodAutoscalerList": "V2HorizontalPodAutoscalerList",
  };
  const named = special[`${apiVersion} ${kind}`];
  if (named !== undefined) return named;
  // Other versions than v1 have other fields, though kinds are called the same.
  const isOptions = kind.endsWith("Options");
  if (!isOptions && !/(^|\/)v1$/.test(apiVersion)) {
    throw new ApiError(
      415,
      "UnsupportedMediaType",
      `no protobuf reader for ${apiVersion} ${kind}; send application/json`,
    );
  }
  return kind;
}

/** @param numbering the model whose numbers apply; an embedded one differs from the one that types. */
function readModel(
  model: string,
  numbering: string,
  message: Uint8Array,
  depth: number,
): Record<string, unknown> {
  if (depth > maxDepth) throw badRequest("cannot read the protobuf body: it is nested too deeply");
  const fields = modelOf(model)?.fields;
  const numbers = numbersOf(numbering);
  const result = new Map<string, unknown>();
  for (const [number, wire] of Map.groupBy(readFields(message), (each) => each.number)) {
    const entry = numbers?.get(number);
    if (entry === undefined) continue; // newer than the table
    if (entry.embedded) {
      for (const each of wire) {
        if (each.is !== "bytes") continue;
        for (const [name, value] of Object.entries(readModel(model, entry.name, each.bytes, depth + 1))) {
          result.set(name, value);
        }
      }
      continue;
    }
    const field = fields?.get(entry.name);
    if (field === undefined) continue;
    const value = readField(field.type, wire, depth);
    if (value === undefined || (isZero(value) && !isPointer(model, entry.name))) continue;
    result.set(entry.name, value);
  }
  return Object.fromEntries(result);
}

/** Go writes plain fields even when they are zero; its JSON leaves them out. */
const isZero = (value: unknown): boolean => value === "" || value === 0 || value === false;

function readField(type: FieldType, wire: readonly WireField[], depth: number): unknown {
  const last = wire.at(-1);
  switch (type.is) {
    case "list":
      return wire.flatMap((each) => readElements(type.of, each, depth));
    case "map":
      return Object.fromEntries(wire.map((each) => readEntry(type.of, each, depth)));
    default:
      return last === undefined ? undefined : readValue(type, last, depth);
  }
}

/** One element, or many where numbers are packed. */
function readElements(type: FieldType, wire: WireField, depth: number): readonly unknown[] {
  if (wire.is === "bytes" && (type.is === "number" || type.is === "boolean")) {
    // Packed: varints without tags. Giving each a tag makes them fields again.
    return readPacked(wire.bytes).map((value) => (type.is === "boolean" ? value !== 0 : value));
  }
  const value = readValue(type, wire, depth);
  return [value === undefined ? "" : value];
}

function readPacked(bytes: Uint8Array): readonly number[] {
  const values: number[] = [];
  let value = 0n;
  let shift = 0n;
  for (const byte of bytes) {
    value |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
    if (byte >= 0x80) continue;
    values.push(Number(BigInt.asIntN(64, value)));
    value = 0n;
    shift = 0n;
  }
  return values;
}

function readEntry(type: FieldType, wire: WireField, depth: number): [string, unknown] {
  const entry = readFields(wire.is === "bytes" ? wire.bytes : new Uint8Array());
  const value = entry.findLast((each) => each.number === 2) ?? {
    number: 2,
    is: "bytes",
    bytes: new Uint8Array(),
  };
  const key = utf8(lastBytes(entry, 1));
  // Lists as map values are messages that hold the list as their field 1.
  if (type.is === "list") {
    const held = readFields(value.is === "bytes" ? value.bytes : new Uint8Array());
    return [key, held.flatMap((each) => readElements(type.of, each, depth))];
  }
  return [key, readValue(type, value, depth) ?? (type.is === "quantity" ? "0" : "")];
}

/** @returns undefined for what stands for nothing: a zero time, an empty quantity. */
function readValue(type: FieldType, wire: WireField, depth: number): unknown {
  if (wire.is === "varint") {
    if (type.is === "boolean") return wire.value !== 0n;
    return type.is === "number" ? Number(BigInt.asIntN(64, wire.value)) : undefined;
  }
  if (wire.is === "fixed") {
    const view = new DataView(wire.bytes.buffer, wire.bytes.byteOffset, wire.bytes.byteLength);
    return wire.bytes.length === 8 ? view.getFloat64(0, true) : view.getFloat32(0, true);
  }
  switch (type.is) {
    case "string":
      return utf8(wire.bytes);
    case "bytes":
      return Buffer.from(wire.bytes).toString("base64");
    case "quantity":
      return utf8(lastBytes(readFields(wire.bytes), 1)) || undefined;
    case "time":
      return readTime(wire.bytes, false);
    case "micro-time":
      return readTime(wire.bytes, true);
    case "int-or-string":
      return readIntOrString(wire.bytes);
    case "any":
      return readRaw(wire.bytes);
    case "model":
      return readModel(type.model, type.model, wire.bytes, depth + 1);
    default:
      return undefined;
  }
}

/** meta/v1 Time: seconds and nanoseconds; a zero time is an empty message. */
function readTime(message: Uint8Array, micro: boolean): string | undefined {
  const fields = readFields(message);
  const seconds = lastVarint(fields, 1);
  if (seconds === undefined) return undefined;
  const ms = Number(BigInt.asIntN(64, seconds)) * 1000;
  if (Math.abs(ms) > 8.64e15) return undefined;
  const base = new Date(ms).toISOString().slice(0, 19);
  if (!micro) return `${base}Z`;
  const nanos = Number(BigInt.asIntN(32, lastVarint(fields, 2) ?? 0n));
  return `${base}.${String(Math.trunc(nanos / 1000)).padStart(6, "0")}Z`;
}

function readIntOrString(message: Uint8Array): number | string {
  const fields = readFields(message);
  if ((lastVarint(fields, 1) ?? 0n) === 1n) return utf8(lastBytes(fields, 3));
  return Number(BigInt.asIntN(32, lastVarint(fields, 2) ?? 0n));
}

/** RawExtension, FieldsV1 and JSON: the JSON text in field 1. */
function readRaw(message: Uint8Array): unknown {
  const raw = lastBytes(readFields(message), 1);
  if (raw === undefined || raw.length === 0) return undefined;
  return magic.every((byte, index) => raw[index] === byte) ? decodeProtobuf(raw) : parseJson(raw);
}

function parseJson(raw: Uint8Array): unknown {
  try {
    return JSON.parse(utf8(raw));
  } catch (cause) {
    throw badRequest("cannot read the protobuf body: the JSON in it is malformed", { cause });
  }
}
