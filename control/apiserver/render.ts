import { stringify } from "yaml";
import type { ResourceDefinition, StoredObject } from "../model.ts";
import type { Engine, ListItem, Reply } from "./engine.ts";
import type { OutputFormat } from "./negotiate.ts";
import { groupVersionOf } from "./registry.ts";
import type { ServerResponse } from "./request.ts";

/** A reply in the form the client asked for. */
export function render(
  engine: Engine,
  definition: ResourceDefinition,
  reply: Reply,
  format: OutputFormat,
  query: URLSearchParams,
): ServerResponse {
  switch (reply.kind) {
    case "stream":
      return { status: 200, headers: { "content-type": reply.contentType }, body: reply.body };
    case "raw":
      return { status: reply.status, headers: reply.headers, body: reply.body };
    case "json":
      return encode(reply.status, reply.value, format);
    case "object": {
      const own = reply.object.kind === definition.kind;
      if (format.as === "table" && own)
        return encode(
          reply.status,
          table(engine, definition, [reply.object], query, versionOf(reply.object)),
          format,
        );
      if (format.as === "partial" && own) return encode(reply.status, partialMetadata(reply.object), format);
      if (reply.bytes !== undefined && format.encoding === "json")
        return { status: reply.status, headers: { "content-type": "application/json" }, body: reply.bytes };
      return encode(reply.status, reply.object, format);
    }
    case "list":
      return renderList(engine, definition, reply, format, query);
    default:
      return reply satisfies never;
  }
}

/** A table of one object has that object's revision. */
function versionOf(object: StoredObject): Readonly<Record<string, unknown>> {
  return { resourceVersion: object.metadata.resourceVersion };
}

/** Any value as JSON or YAML. */
export function encode(
  status: number,
  value: unknown,
  format: Pick<OutputFormat, "encoding">,
): ServerResponse {
  return format.encoding === "yaml"
    ? { status, headers: { "content-type": "application/yaml" }, body: Buffer.from(stringify(value)) }
    : { status, headers: { "content-type": "application/json" }, body: Buffer.from(JSON.stringify(value)) };
}

/** Only what identifies the object, for clients that watch many kinds. */
export function partialMetadata(object: StoredObject): StoredObject {
  return { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: object.metadata };
}

function renderList(
  engine: Engine,
  definition: ResourceDefinition,
  reply: Extract<Reply, { readonly kind: "list" }>,
  format: OutputFormat,
  query: URLSearchParams,
): ServerResponse {
  const { items, metadata } = reply;
  if (format.as === "table") {
    const objects = items.map(({ object }) => object);
    return encode(200, table(engine, definition, objects, query, { ...metadata }), format);
  }
  if (format.as === "partial") {
    const partial = items.map(({ object }) => partialMetadata(object));
    const list = {
      kind: "PartialObjectMetadataList",
      apiVersion: "meta.k8s.io/v1",
      metadata,
      items: partial,
    };
    return encode(200, list, format);
  }
  const head = { kind: `${definition.kind}List`, apiVersion: groupVersionOf(definition), metadata };
  if (format.encoding === "yaml")
    return encode(200, { ...head, items: items.map(({ object }) => object) }, format);
  return { status: 200, headers: { "content-type": "application/json" }, body: joinItems(head, items) };
}

/** The list's text around bytes that exist already: listing does not serialize an object twice. */
function joinItems(head: object, items: readonly ListItem[]): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from(`${JSON.stringify(head).slice(0, -1)},"items":[`)];
  const comma = Buffer.from(",");
  for (const [at, item] of items.entries()) {
    if (at > 0) parts.push(comma);
    parts.push(item.bytes ?? Buffer.from(JSON.stringify(item.object)));
  }
  parts.push(Buffer.from("]}\n"));
  return Buffer.concat(parts);
}

function table(
  engine: Engine,
  definition: ResourceDefinition,
  objects: readonly StoredObject[],
  query: URLSearchParams,
  metadata: Readonly<Record<string, unknown>>,
): unknown {
  const include = query.get("includeObject");
  return engine.ports.content.renderTable(definition, objects, {
    includeObject: include === "None" || include === "Object" ? include : "Metadata",
    nowMs: engine.ports.clock.now(),
    withColumns: true,
    listMetadata: metadata,
  });
}
