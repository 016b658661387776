import { HttpError } from "./http-error.ts";

/** What a reader of a container's log asks for. */
export interface LogOptions {
  readonly follow: boolean;
  readonly previous: boolean;
  readonly timestamps: boolean;
  /** Wall time; lines before it are left out. */
  readonly sinceMs: number | undefined;
  readonly tailLines: number | undefined;
  readonly limitBytes: number | undefined;
  readonly stream: "All" | "Stdout" | "Stderr";
}

/**
 * Reads the query of `/containerLogs`, PodLogOptions' names.
 * @throws {HttpError} 400 for what cannot be read, 422 for values that are out of range.
 */
export function parseLogOptions(query: URLSearchParams, nowMs: number): LogOptions {
  const sinceSeconds = numberOf(query, "sinceSeconds", 1);
  const sinceTime = query.get("sinceTime");
  if (sinceSeconds !== undefined && sinceTime !== null)
    throw new HttpError(422, "at most one of sinceTime or sinceSeconds may be specified");
  const sinceTimeMs = sinceTime === null ? undefined : Date.parse(sinceTime);
  if (Number.isNaN(sinceTimeMs))
    throw new HttpError(400, `cannot read sinceTime "${sinceTime}": want RFC 3339`);
  const stream = query.get("stream") ?? "All";
  if (stream !== "All" && stream !== "Stdout" && stream !== "Stderr")
    throw new HttpError(422, `stream "${stream}" is not supported: want All, Stdout or Stderr`);
  const tailLines = numberOf(query, "tailLines", 0);
  if (tailLines !== undefined && stream !== "All")
    throw new HttpError(422, "tailLines cannot be used with one stream alone");
  return {
    follow: boolOf(query, "follow"),
    previous: boolOf(query, "previous"),
    timestamps: boolOf(query, "timestamps"),
    sinceMs: sinceSeconds === undefined ? sinceTimeMs : nowMs - sinceSeconds * 1_000,
    tailLines,
    limitBytes: numberOf(query, "limitBytes", 1),
    stream,
  };
}

function boolOf(query: URLSearchParams, name: string): boolean {
  const value = query.get(name) ?? "";
  return value !== "" && value !== "0" && value.toLowerCase() !== "false";
}

function numberOf(query: URLSearchParams, name: string, least: number): number | undefined {
  const text = query.get(name);
  if (text === null || text === "") return undefined;
  const value = Number(text);
  if (!Number.isInteger(value)) throw new HttpError(400, `cannot read ${name} "${text}": want a number`);
  if (value < least) throw new HttpError(422, `${name} must be at least ${least}`);
  return value;
}
