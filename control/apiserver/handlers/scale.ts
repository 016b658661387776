import { formatSelector, requirementsOf } from "#api/selectors.ts";
import { badRequest, conflict, invalid, notAllowed, notFound } from "../../api-error.ts";
import type { ResourceDefinition, StoredObject } from "../../model.ts";
import type { Engine, Reply, ResourceRequest } from "../engine.ts";
import { isRecord, parseWriteQuery, readBody } from "./incoming.ts";
import { readPatch } from "./patch.ts";
import { current, existing, served } from "./read.ts";
import { modified, write } from "./update.ts";

const conflictTries = 10;
const scaleKind = { group: "autoscaling", plural: "scales", kind: "Scale" };

/** GET, PUT and PATCH of `/scale`: the number of replicas without the rest. */
export async function scale(engine: Engine, request: ResourceRequest, signal: AbortSignal): Promise<Reply> {
  const { definition, namespace, name, method } = request;
  if (method === "GET") {
    const found = served(engine, definition, await existing(engine, definition, namespace, name, signal));
    return { kind: "object", status: 200, object: scaleOf(definition, found.object) };
  }
  if (method !== "PUT" && method !== "PATCH") throw notAllowed(method, `${definition.plural}/scale`);
  const { dryRun } = parseWriteQuery(request.query);
  const change =
    method === "PUT" ? await readScale(engine, request) : await readPatch(engine, request, "Scale");
  for (let tries = 1; tries <= conflictTries; tries += 1) {
    const before = await current(engine, definition, namespace, name, signal);
    if (before === undefined) throw notFound(definition, name);
    const old = served(engine, definition, before).object;
    const wanted = change(scaleOf(definition, old));
    const version = field(field(wanted, "metadata"), "resourceVersion") ?? "";
    if (version !== "" && version !== old.metadata.resourceVersion)
      throw conflict(definition, name, modified);
    const replicas = field(field(wanted, "spec"), "replicas") ?? 0;
    if (typeof replicas !== "number" || !Number.isInteger(replicas) || replicas < 0)
      throw invalid(scaleKind, name, [
        {
          reason: "FieldValueInvalid",
          field: "spec.replicas",
          detail: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
        },
      ]);
    const { resourceVersion: _, ...metadata } = old.metadata;
    const next = { ...old, metadata, spec: { ...record(old["spec"]), replicas } };
    const written = await write(engine, { ...request, subresource: "" }, before, next, dryRun, signal);
    if (written !== undefined) return { kind: "object", status: 200, object: scaleOf(definition, written) };
  }
  throw conflict(definition, name, modified);
}

/** The `autoscaling/v1` Scale of a workload. */
export function scaleOf(definition: ResourceDefinition, object: StoredObject): StoredObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const metadata = { name, namespace, uid, resourceVersion, creationTimestamp };
  const given = Object.fromEntries(Object.entries(metadata).filter(([, value]) => value !== undefined));
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { ...given, name },
    spec: { replicas: field(object["spec"], "replicas") ?? 0 },
    status: {
      replicas: field(object["status"], "replicas") ?? 0,
      selector: selectorText(definition, field(object["spec"], "selector")),
    },
  };
}

function selectorText(definition: ResourceDefinition, selector: unknown): string {
  if (!isRecord(selector)) return "";
  // A ReplicationController's selector is the labels themselves.
  const object = definition.kind === "ReplicationController" ? { matchLabels: selector } : selector;
  try {
    return formatSelector(requirementsOf(object));
  } catch {
    return "";
  }
}

async function readScale(engine: Engine, request: ResourceRequest): Promise<() => unknown> {
  const { object: value } = await readBody(engine, request);
  if (!isRecord(value) || (value["kind"] ?? "Scale") !== "Scale")
    throw badRequest("the object provided is unrecognized (must be of type Scale)");
  const name = field(value["metadata"], "name") ?? "";
  if (name !== "" && name !== request.name)
    throw badRequest(
      `the name of the object (${typeof name === "string" ? name : JSON.stringify(name)}) does not match the name on the URL (${request.name})`,
    );
  return () => value;
}

const record = (value: unknown): Readonly<Record<string, unknown>> => (isRecord(value) ? value : {});
const field = (value: unknown, name: string): unknown => (isRecord(value) ? value[name] : undefined);
