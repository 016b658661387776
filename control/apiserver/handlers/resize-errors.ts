import type { FieldError, StoredObject } from "../../model.ts";
import { forbidden, invalid } from "../content/strategy/errors.ts";
import { each } from "../content/strategy/fill.ts";
import { type Json, list, record, sameMeaning } from "../content/json.ts";
import { qosClass } from "../content/strategy/pod-defaults.ts";

/**
 * What is wrong with a write to `pods/resize` (KEP-1287, KEP-5419): only amounts of CPU and memory may change, none may
 * be taken away, and the Pod keeps its QoS class.
 */
export function resizeErrors(next: StoredObject, old: StoredObject): readonly FieldError[] {
  const [spec, before] = [record(next["spec"]), record(old["spec"])];
  const errors: FieldError[] = [];
  if (qosClass(spec) !== qosClass(before))
    errors.push(invalid("spec", qosClass(spec), "Pod QOS Class may not change as a result of resizing"));
  if (!sameMeaning(withoutAmounts(spec), withoutAmounts(before)))
    errors.push(forbidden("spec", "only cpu and memory resources are mutable"));
  errors.push(...removed("spec.resources", record(spec["resources"]), record(before["resources"])));
  for (const kind of ["containers", "initContainers"]) {
    const olds = list(before[kind]).map(record);
    for (const [place, container] of list(spec[kind]).map(record).entries()) {
      const was = record(olds[place]?.["resources"]);
      errors.push(...removed(`spec.${kind}[${place}].resources`, record(container["resources"]), was));
    }
  }
  return errors;
}

/** Amounts that were there and are not any more. */
function removed(field: string, now: Json, before: Json): readonly FieldError[] {
  return ["limits", "requests"].flatMap((list) =>
    Object.keys(record(before[list])).some((name) => record(now[list])[name] === undefined)
      ? [forbidden(`${field}.${list}`, `resource ${list} cannot be removed`)]
      : [],
  );
}

/** The spec without what a resize may change. */
function withoutAmounts(spec: Json): Json {
  const bare = (owner: Json): Json => {
    const resources = record(owner["resources"]);
    return {
      ...owner,
      resizePolicy: undefined,
      resources: {
        ...resources,
        limits: others(resources["limits"]),
        requests: others(resources["requests"]),
      },
    };
  };
  return each(each(bare(spec), "containers", bare), "initContainers", (container) =>
    container["restartPolicy"] === "Always" ? bare(container) : container,
  );
}

function others(amounts: unknown): Json {
  const { cpu: _cpu, memory: _memory, ...rest } = record(amounts);
  return rest;
}
