import type { StoredObject } from "../../../model.ts";
import { type Json, list, record, sameMeaning, text } from "../json.ts";
import { forbidden, invalid, required } from "./errors.ts";
import { fill, inSpec } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { oneOf } from "./pod-validation.ts";

const modes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

const validateModes = (spec: Json) => [
  ...(list(spec["accessModes"]).length === 0
    ? [required("spec.accessModes", "at least 1 access mode is required")]
    : []),
  ...list(spec["accessModes"]).flatMap((mode) => oneOf("spec.accessModes", mode, modes)),
  ...oneOf("spec.volumeMode", spec["volumeMode"], ["Block", "Filesystem"]),
];

export const volumeRules: KindRules = {
  defaults: (object) =>
    inSpec(object, (spec) =>
      fill(spec, { persistentVolumeReclaimPolicy: "Retain", volumeMode: "Filesystem" }),
    ),
  initialStatus: () => ({ phase: "Pending" }),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [
      ...validateModes(spec),
      ...(Object.keys(record(spec["capacity"])).length === 0 ? [required("spec.capacity")] : []),
      ...oneOf("spec.persistentVolumeReclaimPolicy", spec["persistentVolumeReclaimPolicy"], [
        "Delete",
        "Recycle",
        "Retain",
      ]),
    ];
  },
};

/** What a claim may still change; the binder sets the volume's name once. */
function claimContract(object: StoredObject, before: StoredObject): Json {
  const {
    resources: _resources,
    volumeAttributesClassName: _class,
    volumeName,
    ...rest
  } = record(object["spec"]);
  const old = text(record(before["spec"])["volumeName"]);
  return old === "" ? rest : { ...rest, volumeName };
}

export const claimRules: KindRules = {
  defaults: (object) => inSpec(object, (spec) => fill(spec, { volumeMode: "Filesystem" })),
  initialStatus: () => ({ phase: "Pending" }),
  validate: (object) => {
    const spec = record(object["spec"]);
    const storage = record(record(spec["resources"])["requests"])["storage"];
    return [...validateModes(spec), ...(storage === undefined ? [required("spec.resources[storage]")] : [])];
  },
  validateUpdate: (next, before) =>
    sameMeaning(claimContract(next, before), claimContract(before, before))
      ? []
      : [
          forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
          ),
        ],
};

export const storageClassRules: KindRules = {
  defaults: (object) => ({
    ...object,
    ...fill(
      { reclaimPolicy: object["reclaimPolicy"], volumeBindingMode: object["volumeBindingMode"] },
      { reclaimPolicy: "Delete", volumeBindingMode: "Immediate" },
    ),
  }),
  validate: (object) => (text(object["provisioner"]) === "" ? [required("provisioner")] : []),
  validateUpdate: (next, before) => [
    ...["parameters", "reclaimPolicy", "volumeBindingMode"].flatMap((key) =>
      sameMeaning(next[key], before[key]) ? [] : [forbidden(key, "updates to " + key + " are forbidden.")],
    ),
    ...(next["provisioner"] === before["provisioner"]
      ? []
      : [forbidden("provisioner", "updates to provisioner are forbidden.")]),
  ],
};

export const csiDriverRules: KindRules = {
  defaults: (object) =>
    inSpec(object, (spec) =>
      fill(spec, {
        attachRequired: true,
        podInfoOnMount: false,
        storageCapacity: false,
        requiresRepublish: false,
        seLinuxMount: false,
        fsGroupPolicy: "ReadWriteOnceWithFSType",
        volumeLifecycleModes: ["Persistent"],
      }),
    ),
};

export const quotaRules: KindRules = {
  initialStatus: () => ({}),
};

export const disruptionBudgetRules: KindRules = {
  generation: true,
  conditionalUpdateOnly: true,
  initialStatus: () => ({ disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 }),
  validate: (object) => {
    const spec = record(object["spec"]);
    return spec["minAvailable"] !== undefined && spec["maxUnavailable"] !== undefined
      ? [invalid("spec", spec, "minAvailable and maxUnavailable cannot be both set")]
      : [];
  },
};
