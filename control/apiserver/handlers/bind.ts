import { badRequest, conflict, invalid } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import { type Engine, type Reply, type ResourceRequest, timestamp } from "../engine.ts";
import { admit } from "./admit.ts";
import { isRecord, parseWriteQuery, readBody } from "./incoming.ts";
import { existing } from "./read.ts";
import { save } from "./save.ts";
import { modified } from "./update.ts";

const conflictTries = 10;

/** POST to pods/`name`/binding or to `bindings`: the scheduler's decision. */
export async function bindPod(engine: Engine, request: ResourceRequest, signal: AbortSignal): Promise<Reply> {
  const pods = engine.registry.require("", "pods");
  const { namespace } = request;
  const { dryRun } = parseWriteQuery(request.query);
  const { object: binding } = await readBody(engine, request);
  if (!isRecord(binding) || (binding["kind"] ?? "Binding") !== "Binding")
    throw badRequest("the object provided is unrecognized (must be of type Binding)");
  const metadata = isRecord(binding["metadata"]) ? binding["metadata"] : {};
  const target = isRecord(binding["target"]) ? binding["target"] : {};
  const name = request.name === "" ? text(metadata["name"]) : request.name;
  const node = text(target["name"]);
  if (node === "")
    throw invalid({ group: "", plural: "pods/binding", kind: "Binding" }, name, [
      { reason: "FieldValueRequired", field: "target.name", detail: "Required value" },
    ]);
  const named = { group: "", plural: "pods/binding", kind: "Binding" };
  for (let tries = 1; tries <= conflictTries; tries += 1) {
    const before = await existing(engine, pods, namespace, name, signal);
    const old = before.object;
    const uid = text(metadata["uid"]);
    if (uid !== "" && uid !== old.metadata.uid)
      throw conflict(
        named,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid ?? ""}`,
      );
    if (old.metadata.deletionTimestamp !== undefined)
      throw conflict(named, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    const spec = isRecord(old["spec"]) ? old["spec"] : {};
    if (text(spec["nodeName"]) !== "")
      throw conflict(named, name, `pod ${name} is already assigned to node "${text(spec["nodeName"])}"`);
    if (Array.isArray(spec["schedulingGates"]) && spec["schedulingGates"].length > 0)
      throw conflict(named, name, `pod ${name} has non-empty .spec.schedulingGates`);
    const next: StoredObject = {
      ...old,
      metadata: { ...old.metadata, ...annotations(old, metadata["annotations"]) },
      spec: { ...spec, nodeName: node },
      status: scheduled(old["status"], timestamp(engine.ports.clock)),
    };
    await admit(
      engine,
      request,
      {
        operation: "CREATE",
        definition: pods,
        subresource: "binding",
        namespace,
        name,
        object: next,
        before: old,
        dryRun,
      },
      signal,
    );
    const saved = dryRun ? { state: "written" } : await save(engine, pods, next, before.revision, signal);
    if (saved.state === "written") {
      const value = { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
      return { kind: "json", status: 201, value };
    }
  }
  throw conflict(named, name, modified);
}

function annotations(old: StoredObject, given: unknown): Pick<StoredObject["metadata"], "annotations"> {
  if (!isRecord(given)) return {};
  const texts = Object.entries(given).map(([key, value]) => [key, text(value)] as const);
  return { annotations: { ...old.metadata.annotations, ...Object.fromEntries(texts) } };
}

/** The status with its condition PodScheduled true since `now`. */
function scheduled(status: unknown, now: string): Readonly<Record<string, unknown>> {
  const fields = isRecord(status) ? status : {};
  const conditions = Array.isArray(fields["conditions"]) ? fields["conditions"] : [];
  const others = conditions.filter(
    (condition) => !isRecord(condition) || condition["type"] !== "PodScheduled",
  );
  const condition = { type: "PodScheduled", status: "True", lastTransitionTime: now };
  return { ...fields, conditions: [...others, condition] };
}

const text = (value: unknown): string => (typeof value === "string" ? value : "");
