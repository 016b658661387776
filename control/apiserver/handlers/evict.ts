import type { LabelSelector } from "#api/generated/kubernetes.ts";
import { matches, requirementsOf } from "#api/selectors.ts";
import { ApiError, badRequest, conflict } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import { type Engine, type Reply, type ResourceRequest, timestamp } from "../engine.ts";
import { storePrefix } from "../registry.ts";
import { deleteOne } from "./delete.ts";
import { parseDeleteOptions } from "./delete-options.ts";
import { isRecord, readBody } from "./incoming.ts";
import { existing } from "./read.ts";
import { save } from "./save.ts";

/** POST to pods/`name`/eviction: a delete that asks the PodDisruptionBudgets first. @throws {ApiError} 429. */
export async function evictPod(
  engine: Engine,
  request: ResourceRequest,
  signal: AbortSignal,
): Promise<Reply> {
  const { namespace, name } = request;
  const { object: eviction } = await readBody(engine, request);
  if (!isRecord(eviction) || (eviction["kind"] ?? "Eviction") !== "Eviction")
    throw badRequest("the object provided is unrecognized (must be of type Eviction)");
  const named = isRecord(eviction["metadata"]) ? eviction["metadata"]["name"] : undefined;
  if (typeof named === "string" && named !== "" && named !== name)
    throw badRequest("name in URL does not match name in Eviction object");
  const options = parseDeleteOptions(eviction["deleteOptions"], request.query);
  const pod = (await existing(engine, request.definition, namespace, name, signal)).object;
  const needsBudget = !isOver(pod) && pod.metadata.deletionTimestamp === undefined;
  if (needsBudget) await spendBudget(engine, pod, options.dryRun, signal);
  await deleteOne(engine, request, namespace, name, options, signal);
  const value = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
  return { kind: "json", status: 201, value };
}

/** A pod that has ended, or never began, needs no budget. */
function isOver(pod: StoredObject): boolean {
  const phase = isRecord(pod["status"]) ? pod["status"]["phase"] : undefined;
  return phase === "Succeeded" || phase === "Failed" || phase === "Pending";
}

async function spendBudget(
  engine: Engine,
  pod: StoredObject,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<void> {
  const budgets = engine.registry.named("policy", "poddisruptionbudgets");
  if (budgets === undefined) return;
  const prefix = storePrefix(budgets, pod.metadata.namespace ?? "");
  const chosen = engine.cache
    .kind(budgets.storagePrefix)
    .list(prefix)
    .filter(({ object }) => selects(object, pod));
  const [only, second] = chosen;
  if (only === undefined) return;
  if (second !== undefined)
    throw new ApiError(
      500,
      "InternalError",
      "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    );
  const budget = await existing(
    engine,
    budgets,
    pod.metadata.namespace ?? "",
    only.object.metadata.name,
    signal,
  );
  const status = isRecord(budget.object["status"]) ? budget.object["status"] : {};
  const allowed = Number(status["disruptionsAllowed"] ?? 0);
  if (allowed <= 0) throw refused(budget.object.metadata.name, status);
  if (dryRun) return;
  const disrupted = isRecord(status["disruptedPods"]) ? status["disruptedPods"] : {};
  const next: StoredObject = {
    ...budget.object,
    status: {
      ...status,
      disruptionsAllowed: allowed - 1,
      disruptedPods: { ...disrupted, [pod.metadata.name]: timestamp(engine.ports.clock) },
    },
  };
  const saved = await save(engine, budgets, next, budget.revision, signal);
  // Somebody else was evicting under the same budget: the client asks again.
  if (saved.state === "conflict")
    throw conflict(budgets, next.metadata.name, "the budget was changed; try again");
}

function selects(budget: StoredObject, pod: StoredObject): boolean {
  const spec = isRecord(budget["spec"]) ? budget["spec"] : {};
  const selector = spec["selector"];
  if (!isRecord(selector)) return false;
  return matches(requirementsOf(selector satisfies LabelSelector), pod.metadata.labels);
}

function refused(name: string, status: Readonly<Record<string, unknown>>): ApiError {
  const wanted = Number(status["desiredHealthy"] ?? 0);
  const healthy = Number(status["currentHealthy"] ?? 0);
  const why = `The disruption budget ${name} needs ${wanted} healthy pods and has ${healthy} currently`;
  return new ApiError(
    429,
    "TooManyRequests",
    "Cannot evict pod as it would violate the pod's disruption budget.",
    { causes: [{ reason: "DisruptionBudget", message: why }], retryAfterSeconds: 10 },
  );
}
