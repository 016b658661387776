import { ApiError } from "../api-error.ts";

/** The form of an answer. */
export interface OutputFormat {
  readonly encoding: "json" | "yaml";
  readonly as: "object" | "table" | "partial";
}

interface MediaRange {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  readonly quality: number;
}

/**
 * Chooses the first acceptable form of an `Accept` header. Protobuf is never chosen: every client that asks for
 * it also takes JSON.
 * @param tables false where there is no table to give; a client that takes nothing else gets 406.
 * @throws {ApiError} 406.
 */
export function negotiate(accept: string | undefined, tables: boolean): OutputFormat {
  if (accept === undefined || accept.trim() === "") return { encoding: "json", as: "object" };
  for (const range of parseAccept(accept)) {
    const as = formOf(range.parameters, tables);
    if (as === undefined) continue;
    switch (range.type) {
      case "application/json":
      case "application/*":
      case "*/*":
        return { encoding: "json", as };
      case "application/yaml":
      case "application/x-yaml":
      case "text/yaml":
        return { encoding: "yaml", as };
      default:
    }
  }
  throw new ApiError(
    406,
    "NotAcceptable",
    "only the following media types are accepted: application/json, application/yaml",
  );
}

/** The ranges of an `Accept` header, the wanted first (RFC 9110 §12.5.1). */
export function parseAccept(accept: string): readonly MediaRange[] {
  return accept
    .split(",")
    .map((part) => {
      const [type = "", ...pairs] = part.split(";").map((piece) => piece.trim());
      const parameters = new Map(
        pairs.map((pair) => {
          const equals = pair.indexOf("=");
          return [pair.slice(0, equals).toLowerCase(), pair.slice(equals + 1).replace(/^"|"$/g, "")] as const;
        }),
      );
      const quality = Number(parameters.get("q") ?? "1");
      return { type: type.toLowerCase(), parameters, quality: Number.isNaN(quality) ? 1 : quality };
    })
    .filter(({ type, quality }) => type !== "" && quality > 0)
    .sort((a, b) => b.quality - a.quality);
}

function formOf(parameters: ReadonlyMap<string, string>, tables: boolean): OutputFormat["as"] | undefined {
  const as = parameters.get("as");
  if (as === undefined) return "object";
  if ((parameters.get("g") ?? "meta.k8s.io") !== "meta.k8s.io" || (parameters.get("v") ?? "v1") !== "v1")
    return undefined;
  if (as === "Table") return tables ? "table" : undefined;
  return as === "PartialObjectMetadata" || as === "PartialObjectMetadataList" ? "partial" : undefined;
}
