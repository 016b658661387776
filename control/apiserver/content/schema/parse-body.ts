import { ApiError, badRequest } from "../../../api-error.ts";
import { decodeProtobuf } from "../protobuf/decode.ts";
import { duplicateJsonKeys } from "./duplicate-keys.ts";
import { parseYaml } from "./parse-yaml.ts";

export interface ParsedBody {
  readonly object: unknown;
  /** Keys given twice, as findings: `duplicate field "spec.replicas"`. */
  readonly duplicates: readonly string[];
}

const accepted = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/**
 * Reads a request body.
 * @param contentType with or without parameters; "" means JSON, as upstream takes it.
 * @throws ApiError 400 for what cannot be parsed, 415 for other media types.
 */
export function parseBody(contentType: string, bytes: Uint8Array): ParsedBody {
  const mediaType = (contentType.split(";")[0] ?? "").trim().toLowerCase();
  switch (mediaType) {
    case "":
    case "application/json":
      return parseJson(decodeText(bytes));
    case "application/yaml":
    case "application/x-yaml":
    case "text/yaml":
      return parseYaml(decodeText(bytes));
    case "application/vnd.kubernetes.protobuf":
      return { object: decodeProtobuf(bytes), duplicates: [] };
    default:
      throw new ApiError(
        415,
        "UnsupportedMediaType",
        `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`,
      );
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw badRequest("couldn't get version/kind; json parse error: invalid UTF-8 in the body", { cause });
  }
}

function parseJson(source: string): ParsedBody {
  let object: unknown;
  try {
    object = JSON.parse(source);
  } catch (cause) {
    throw badRequest(`couldn't get version/kind; json parse error: ${goSyntaxError(cause, source)}`, {
      cause,
    });
  }
  return {
    object,
    duplicates: duplicateJsonKeys(source).map((path) => `duplicate field ${JSON.stringify(path)}`),
  };
}

/** V8's syntax error in the words of Go's decoder. */
function goSyntaxError(cause: unknown, source: string): string {
  const message = cause instanceof Error ? cause.message : "";
  if (/Unexpected end|Unterminated string/.test(message)) return "unexpected end of JSON input";
  const position = / at position (\d+)/.exec(message)?.[1];
  const token = /Unexpected token '(.)'/s.exec(message)?.[1] ?? source[Number(position)];
  if (token === undefined) return position === undefined ? message : "unexpected end of JSON input";
  const where = message.includes("property name") ? "object key string" : "value";
  return `invalid character '${token}' looking for beginning of ${where}`;
}
