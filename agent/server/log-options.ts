import { HttpError } from "./http-error.ts";

/** What a reader of a container's log asks for. */
export interface LogOptions {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** Wall time; lines before it are left out. */
  readonly sinceMs: number | undefined;
  /** Whole lines, however many entries of the file each is cut into. */
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  readonly stream: "All" | "Stdout" | "Stderr";
}

/** What an int64 holds; more is no number for kubelet. */
const maxInt64 = 2n ** 63n - 1n;
const rfc3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const atMostOneTime = "at most one of `sinceTime` or `sinceSeconds` may be specified";
const tailOfOneStream = "`tailLines` and specific `stream` are mutually exclusive for now";

/**
 * Reads the query of `/containerLogs`: PodLogOptions as kubelet decodes and validates them, and its old `tail`.
 * `insecureSkipTLSVerifyBackend` and `container` are the API server's and mean nothing here.
 * @throws {HttpError} 400 for what cannot be read, 422 for values that are out of range; both name the field.
 * @see KEP-3288 for `stream`.
 */
export function parseLogOptions(query: URLSearchParams, nowMs: number): LogOptions {
  const sinceSeconds = integerOf(query, "sinceSeconds");
  const sinceTime = timeOf(query, "sinceTime");
  const tail = query.get("tail") ?? "";
  const tailLines =
    tail === "" ? integerOf(query, "tailLines") : tail === "all" ? undefined : integerOf(query, "tail");
  const limitBytes = integerOf(query, "limitBytes");
  const stream = query.get("stream") ?? "All";
  if (tailLines !== undefined && tailLines < 0)
    throw invalid("tailLines", tailLines, "must be greater than or equal to 0");
  if (limitBytes !== undefined && limitBytes < 1)
    throw invalid("limitBytes", limitBytes, "must be greater than 0");
  if (sinceSeconds !== undefined && sinceTime !== undefined)
    throw new HttpError(422, `sinceTime: Forbidden: ${atMostOneTime}`);
  if (sinceSeconds !== undefined && sinceSeconds < 1)
    throw invalid("sinceSeconds", sinceSeconds, "must be greater than 0");
  if (stream !== "All" && stream !== "Stdout" && stream !== "Stderr") {
    const supported = 'supported values: "All", "Stderr", "Stdout"';
    throw new HttpError(422, `stream: Unsupported value: ${quote(stream)}: ${supported}`);
  }
  if (tailLines !== undefined && stream !== "All")
    throw new HttpError(422, `tailLines: Forbidden: ${tailOfOneStream}`);
  return {
    follow: booleanOf(query, "follow"),
    previous: booleanOf(query, "previous"),
    timestamps: booleanOf(query, "timestamps"),
    sinceMs: sinceSeconds === undefined ? sinceTime : nowMs - sinceSeconds * 1_000,
    tailLines,
    limitBytes,
    stream,
  };
}

/** Only absence, `false` and `0` are false: `?follow` follows. */
function booleanOf(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value !== "0" && value.toLowerCase() !== "false";
}

/** A whole number as Go's ParseInt reads it; those beyond 2^53 are only ever limits and may be rounded. */
function integerOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null) return undefined;
  if (!/^[+-]?\d{1,30}$/.test(text)) throw unreadable(name, text, "want a whole number");
  const value = BigInt(text.replace(/^\+/, ""));
  if (value > maxInt64 || value < -maxInt64 - 1n) throw unreadable(name, text, "want a number of 64 bits");
  return Number(value);
}

/** RFC 3339; clients of old say `null` or nothing for no time. */
function timeOf(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === "" || text === "null") return undefined;
  const ms = rfc3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw unreadable(name, text, "want RFC 3339, as 2006-01-02T15:04:05Z");
  return ms;
}

function unreadable(name: string, text: string, why: string): HttpError {
  return new HttpError(400, `Unable to decode query: ${name}: cannot read ${quote(text)}: ${why}`);
}

function invalid(name: string, value: number, why: string): HttpError {
  return new HttpError(422, `${name}: Invalid value: ${value}: ${why}`);
}

/** Somebody's text, short enough and free of control characters. */
function quote(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}...` : text);
}
