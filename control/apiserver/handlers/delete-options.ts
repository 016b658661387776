import { badRequest, invalid } from "../../api-error.ts";
import type { Engine, ResourceRequest } from "../engine.ts";
import { isRecord, parseWriteQuery, readBody } from "./incoming.ts";

/** How an object is to be deleted. */
export interface DeleteOptions {
  /** Undefined: what the kind gives. */
  readonly gracePeriodSeconds: number | undefined;
  readonly propagation: "Background" | "Foreground" | "Orphan";
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
  readonly dryRun: boolean;
}

/** From the body where there is one, else from the query. @throws {ApiError} 400, 422. */
export async function readDeleteOptions(engine: Engine, request: ResourceRequest): Promise<DeleteOptions> {
  const { object } = await readBody(engine, request);
  return parseDeleteOptions(object, request.query);
}

/** @param body a `DeleteOptions` object or undefined. */
export function parseDeleteOptions(body: unknown, query: URLSearchParams): DeleteOptions {
  const fields: Readonly<Record<string, unknown>> = isRecord(body) ? body : fromQuery(query);
  const kind = fields["kind"] ?? "DeleteOptions";
  if (kind !== "DeleteOptions")
    throw badRequest(
      `the object provided is unrecognized (must be of type DeleteOptions): got ${JSON.stringify(kind)}`,
    );
  const grace = fields["gracePeriodSeconds"] ?? undefined;
  if (grace !== undefined && !Number.isSafeInteger(grace))
    throw badRequest("DeleteOptions.gracePeriodSeconds must be an integer");
  const preconditions = isRecord(fields["preconditions"]) ? fields["preconditions"] : {};
  const text = (value: unknown): string | undefined =>
    typeof value === "string" && value !== "" ? value : undefined;
  const dryRun = Array.isArray(fields["dryRun"]) && fields["dryRun"].includes("All");
  return {
    gracePeriodSeconds: typeof grace === "number" ? (grace < 0 ? 1 : grace) : undefined,
    propagation: propagationOf(fields),
    uid: text(preconditions["uid"]),
    resourceVersion: text(preconditions["resourceVersion"]),
    dryRun: dryRun || parseWriteQuery(query).dryRun,
  };
}

function propagationOf(fields: Readonly<Record<string, unknown>>): DeleteOptions["propagation"] {
  const optionsKind = { group: "meta.k8s.io", plural: "", kind: "DeleteOptions" };
  const policy = fields["propagationPolicy"] ?? undefined;
  const orphan = fields["orphanDependents"] ?? undefined;
  if (policy !== undefined && orphan !== undefined)
    throw invalid(optionsKind, "", [
      {
        reason: "FieldValueInvalid",
        field: "propagationPolicy",
        detail: `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
      },
    ]);
  if (orphan === true) return "Orphan";
  if (policy === undefined) return "Background";
  if (policy === "Background" || policy === "Foreground" || policy === "Orphan") return policy;
  throw invalid(optionsKind, "", [
    {
      reason: "FieldValueNotSupported",
      field: "propagationPolicy",
      detail: `Unsupported value: ${JSON.stringify(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"`,
    },
  ]);
}

function fromQuery(query: URLSearchParams): Readonly<Record<string, unknown>> {
  const grace = query.get("gracePeriodSeconds");
  const policy = query.get("propagationPolicy");
  const orphan = query.get("orphanDependents");
  return {
    ...(grace === null || grace === "" ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(policy === null || policy === "" ? {} : { propagationPolicy: policy }),
    ...(orphan === null || orphan === "" ? {} : { orphanDependents: orphan === "true" }),
  };
}
