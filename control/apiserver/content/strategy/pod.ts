import type { FieldError, StoredObject } from "../../../model.ts";
import { at, equal, type Json, list, number, record, sameMeaning, text } from "../json.ts";
import { forbidden, invalid } from "./errors.ts";
import { each, inSpec } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { podDefaults, qosClass } from "./pod-defaults.ts";
import { validatePodSpec } from "./pod-validation.ts";

const defaultGraceSeconds = 30;

/** A pod's spec is its contract with the node: all but a few fields stay as they were created. */
export const podRules: KindRules = {
  generation: true,
  defaults: (pod) => inSpec(pod, podDefaults),
  initialStatus: (pod) => ({ phase: "Pending", qosClass: qosClass(record(pod["spec"])) }),
  validate: (pod) => validatePodSpec(record(pod["spec"]), "spec"),
  validateUpdate: validatePodUpdate,
  gracePeriodSeconds: (pod) => {
    // Nobody runs it, or it has ended: nothing is there to be waited for.
    const idle = text(at(pod, "spec.nodeName")) === "";
    const ended = ["Succeeded", "Failed"].includes(text(at(pod, "status.phase")));
    if (idle || ended) return 0;
    const seconds = number(at(pod, "spec.terminationGracePeriodSeconds"), defaultGraceSeconds);
    return seconds < 0 ? 1 : seconds;
  },
};

function validatePodUpdate(next: StoredObject, before: StoredObject): readonly FieldError[] {
  const [spec, old] = [record(next["spec"]), record(before["spec"])];
  const errors: FieldError[] = [];
  const kept = list(old["tolerations"]).every((toleration) =>
    list(spec["tolerations"]).some((each) => sameToleration(each, toleration)),
  );
  if (!kept)
    errors.push(
      forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"),
    );
  const addedGate = list(spec["schedulingGates"]).some(
    (gate) => !list(old["schedulingGates"]).some((each) => equal(each, gate)),
  );
  if (addedGate) {
    errors.push(
      forbidden("spec.schedulingGates", "only deletion is allowed, but found new scheduling gates"),
    );
  }
  const [deadline, oldDeadline] = [spec["activeDeadlineSeconds"], old["activeDeadlineSeconds"]];
  if (typeof oldDeadline === "number" && (typeof deadline !== "number" || deadline > oldDeadline)) {
    errors.push(
      typeof deadline === "number"
        ? invalid("spec.activeDeadlineSeconds", deadline, "must be less than or equal to previous value")
        : invalid(
            "spec.activeDeadlineSeconds",
            deadline ?? null,
            "must not update from a positive integer to nil value",
          ),
    );
  }
  if (!sameMeaning(withoutMutable(spec, old), withoutMutable(old, old))) {
    errors.push(
      forbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
      ),
    );
  }
  return errors;
}

function sameToleration(left: unknown, right: unknown): boolean {
  const { tolerationSeconds: _left, ...rest } = record(left);
  const { tolerationSeconds: _right, ...other } = record(right);
  return sameMeaning(rest, other);
}

function withoutMutable(spec: Json, old: Json): Json {
  const { activeDeadlineSeconds: _a, tolerations: _t, schedulingGates: _g, ...rest } = spec;
  const noImage = ({ image: _image, ...container }: Json): Json => container;
  const bare = each(each(rest, "containers", noImage), "initContainers", noImage);
  const negative = number(old["terminationGracePeriodSeconds"]) < 0;
  if (!negative || spec["terminationGracePeriodSeconds"] !== 1) return bare;
  return { ...bare, terminationGracePeriodSeconds: old["terminationGracePeriodSeconds"] };
}
