import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Tags } from "yaml";
import { badRequest } from "../../../api-error.ts";
import type { ParsedBody } from "./parse-body.ts";

/**
 * Reads the first document of a YAML text as Kubernetes does: YAML 1.1 words and octals (`0644`, `yes`),
 * but no dates and no base-60 numbers, which Go's reader does not know.
 * @throws ApiError 400.
 */
export function parseYaml(source: string): ParsedBody {
  const lines = new LineCounter();
  const document = parseDocument(firstDocument(source), {
    version: "1.1",
    uniqueKeys: false,
    lineCounter: lines,
    customTags: plainTags,
    logLevel: "silent",
  });
  const [error] = document.errors;
  if (error !== undefined) {
    const line = lines.linePos(error.pos[0]).line;
    throw badRequest(
      `error converting YAML to JSON: yaml: line ${line}: ${error.message.split("\n")[0] ?? "malformed"}`,
      { cause: error },
    );
  }
  const repeated: string[] = [];
  noteRepeated(document.contents, lines, repeated, 0);
  let object: unknown;
  try {
    object = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    throw badRequest("error converting YAML to JSON: yaml: document contains excessive aliasing", { cause });
  }
  return {
    object,
    duplicates: repeated.length === 0 ? [] : [`yaml: unmarshal errors:\n${repeated.join("\n")}`],
  };
}

/** Later documents are not read: a request is about one object. */
function firstDocument(source: string): string {
  const next = source.replace(/^---.*\n/, "").search(/^---(\s|$)/m);
  if (next === -1) return source;
  const offset = source.length - source.replace(/^---.*\n/, "").length;
  return source.slice(0, next + offset);
}

const unwanted = /timestamp|binary|omap|pairs|:set$/;

function plainTags(tags: Tags): Tags {
  return tags.filter(
    (tag) =>
      typeof tag === "string" || !(unwanted.test(tag.tag) || ("format" in tag && tag.format === "TIME")),
  );
}

function noteRepeated(node: unknown, lines: LineCounter, found: string[], depth: number): void {
  if (depth > 200 || found.length >= 100) return;
  if (isSeq(node)) for (const each of node.items) noteRepeated(each, lines, found, depth + 1);
  if (!isMap(node)) return;
  const seen = new Set<string>();
  for (const { key, value } of node.items) {
    const name = isScalar(key) ? String(key.value) : undefined;
    if (name !== undefined && isScalar(key)) {
      const line = lines.linePos(key.range?.[0] ?? 0).line;
      if (seen.has(name)) found.push(`  line ${line}: key ${JSON.stringify(name)} already set in map`);
      seen.add(name);
    }
    noteRepeated(value, lines, found, depth + 1);
  }
}
