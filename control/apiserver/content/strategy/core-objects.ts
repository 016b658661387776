import type { FieldError, StoredObject } from "../../../model.ts";
import { type Json, record, records, sameMeaning, text } from "../json.ts";
import { forbidden, immutable, invalid, required, tooLong } from "./errors.ts";
import { each, fill, inSpec, member, within } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { configKeyFaults } from "./names.ts";
import { templateDefaults } from "./pod-defaults.ts";
import { faultsAt, oneOf } from "./pod-validation.ts";

/** ConfigMaps and Secrets: 1 MiB. */
const maxDataBytes = 1024 * 1024;

function validateData(
  object: StoredObject,
  fields: readonly string[],
  isBase64: (field: string) => boolean,
): readonly FieldError[] {
  const errors: FieldError[] = [];
  let bytes = 0;
  for (const field of fields) {
    for (const [key, value] of Object.entries(record(object[field]))) {
      errors.push(...faultsAt(`${field}[${key}]`, key, configKeyFaults(key)));
      bytes += Buffer.byteLength(text(value), isBase64(field) ? "base64" : "utf8");
    }
  }
  return bytes > maxDataBytes
    ? [...errors, tooLong(fields.length === 1 ? "data" : "", maxDataBytes)]
    : errors;
}

const frozenWhenImmutable =
  (...fields: readonly string[]) =>
  (next: StoredObject, before: StoredObject): readonly FieldError[] => {
    if (before["immutable"] !== true) return [];
    const changed = fields.filter((field) => !sameMeaning(next[field], before[field]));
    return [
      ...(next["immutable"] === true
        ? []
        : [forbidden("immutable", "field is immutable when `immutable` is set")]),
      ...changed.map((field) => forbidden(field, "field is immutable when `immutable` is set")),
    ];
  };

export const configMapRules: KindRules = {
  validate: (object) => [
    ...validateData(object, ["data", "binaryData"], (field) => field === "binaryData"),
    ...Object.keys(record(object["binaryData"])).flatMap((key) =>
      key in record(object["data"])
        ? [invalid(`data[${key}]`, key, `duplicate of key present in binaryData`)]
        : [],
    ),
  ],
  validateUpdate: frozenWhenImmutable("data", "binaryData"),
};

/** Keys a secret of a type cannot do without. */
const secretKeys: Readonly<Record<string, readonly string[]>> = {
  "kubernetes.io/tls": ["tls.crt", "tls.key"],
  "kubernetes.io/ssh-auth": ["ssh-privatekey"],
  "kubernetes.io/dockercfg": [".dockercfg"],
  "kubernetes.io/dockerconfigjson": [".dockerconfigjson"],
};

export const secretRules: KindRules = {
  // stringData is a way to write, never to read: it ends in data at once.
  defaults: (object) => {
    const { stringData, ...rest } = fill({ ...object }, { type: "Opaque" });
    const added = Object.entries(record(stringData)).map(
      ([key, value]) => [key, Buffer.from(text(value)).toString("base64")] as const,
    );
    return {
      ...rest,
      apiVersion: object.apiVersion,
      kind: object.kind,
      metadata: object.metadata,
      ...(added.length === 0 ? {} : { data: { ...record(object["data"]), ...Object.fromEntries(added) } }),
    };
  },
  validate: (object) => {
    const data = record(object["data"]);
    const account = object.metadata.annotations?.["kubernetes.io/service-account.name"] ?? "";
    return [
      ...validateData(object, ["data"], () => true),
      ...(secretKeys[text(object["type"])] ?? []).flatMap((key) =>
        key in data ? [] : [required(`data[${key}]`)],
      ),
      ...(object["type"] === "kubernetes.io/basic-auth" && !("username" in data) && !("password" in data)
        ? [required("data[username]"), required("data[password]")]
        : []),
      ...(object["type"] === "kubernetes.io/service-account-token" && account === ""
        ? [required("metadata.annotations[kubernetes.io/service-account.name]")]
        : []),
      ...validateDockerConfig(data[".dockerconfigjson"], object["type"] === "kubernetes.io/dockerconfigjson"),
    ];
  },
  validateUpdate: (next, before) => [
    ...(next["type"] === before["type"] ? [] : [immutable("type", next["type"])]),
    ...frozenWhenImmutable("data")(next, before),
  ],
};

function validateDockerConfig(value: unknown, matters: boolean): readonly FieldError[] {
  if (!matters || typeof value !== "string") return [];
  try {
    JSON.parse(Buffer.from(value, "base64").toString("utf8"));
    return [];
  } catch {
    return [
      invalid(
        "data[.dockerconfigjson]",
        "<secret contents redacted>",
        "invalid character in a JSON document",
      ),
    ];
  }
}

export const namespaceRules: KindRules = {
  defaults: (object) => {
    const labelled = {
      ...object.metadata,
      labels: { ...object.metadata.labels, "kubernetes.io/metadata.name": object.metadata.name },
    };
    const spec = record(object["spec"]);
    return {
      ...object,
      metadata: object.metadata.name ? labelled : object.metadata,
      // A namespace on its way out has emptied its finalizers by `/finalize`; they do not come back.
      spec:
        object.metadata.deletionTimestamp === undefined && spec["finalizers"] === undefined
          ? { ...spec, finalizers: ["kubernetes"] }
          : spec,
    };
  },
  initialStatus: () => ({ phase: "Active" }),
  prepareUpdate: (next, before) => ({
    ...next,
    spec: { ...record(next["spec"]), finalizers: record(before["spec"])["finalizers"] ?? [] },
  }),
};

export const nodeRules: KindRules = {
  keepStatusOnCreate: true,
  validateUpdate: (next, before) => {
    const [id, old] = [text(record(next["spec"])["providerID"]), text(record(before["spec"])["providerID"])];
    const [cidr, oldCidr] = [text(record(next["spec"])["podCIDR"]), text(record(before["spec"])["podCIDR"])];
    return [
      ...(old !== "" && id !== old
        ? [forbidden("spec.providerID", 'node updates may not change providerID except from "" to valid')]
        : []),
      ...(oldCidr !== "" && cidr !== oldCidr
        ? [forbidden("spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')]
        : []),
    ];
  },
  validate: (object) =>
    records(record(object["spec"])["taints"]).flatMap((taint, index) => [
      ...(text(taint["key"]) === "" ? [required(`spec.taints[${index}].key`)] : []),
      ...(text(taint["effect"]) === ""
        ? [required(`spec.taints[${index}].effect`)]
        : oneOf(`spec.taints[${index}].effect`, taint["effect"], [
            "NoExecute",
            "NoSchedule",
            "PreferNoSchedule",
          ])),
    ]),
};

export const podTemplateRules: KindRules = {
  generation: true,
  defaults: (object) => member(object, "template", (holder) => within(holder, "template", templateDefaults)),
};

export const eventRules: KindRules = {
  allowCreateOnUpdate: true,
  validate: (object) => {
    const about = record(object["involvedObject"] ?? object["regarding"]);
    const namespace = text(about["namespace"]);
    const expected =
      namespace === "" ? ["default", "kube-system", object.metadata.namespace ?? ""] : [namespace];
    return expected.includes(object.metadata.namespace ?? "")
      ? []
      : [invalid("involvedObject.namespace", namespace, "does not match event.namespace")];
  },
};

/** A new-style event is validated by its own names before it is stored. */
export const newEventRules: KindRules = {
  ...eventRules,
  validate: (object) => [
    ...(text(object["reportingController"]) === "" ? [required("reportingController")] : []),
    ...(text(object["reason"]) === "" ? [required("reason")] : []),
    ...(eventRules.validate?.(object) ?? []),
  ],
};

export const leaseRules: KindRules = {
  allowCreateOnUpdate: true,
  conditionalUpdateOnly: true,
  validate: (object) => {
    const seconds = record(object["spec"])["leaseDurationSeconds"];
    return typeof seconds === "number" && seconds <= 0
      ? [invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")]
      : [];
  },
};

export const limitRangeRules: KindRules = {
  allowCreateOnUpdate: true,
  defaults: (object) =>
    inSpec(object, (spec) =>
      each(spec, "limits", (limit) => {
        if (limit["type"] !== "Container") return limit;
        const limits = { ...record(limit["max"]), ...record(limit["default"]) };
        const requests = { ...record(limit["min"]), ...limits, ...record(limit["defaultRequest"]) };
        const some = (values: Json): Json | undefined =>
          Object.keys(values).length === 0 ? undefined : values;
        return {
          ...limit,
          ...(some(limits) === undefined ? {} : { default: limits }),
          ...(some(requests) === undefined ? {} : { defaultRequest: requests }),
        };
      }),
    ),
};

export const csrRules: KindRules = {
  defaults: (object) => inSpec(object, (spec) => fill(spec, {})),
  validate: (object) => {
    const spec = record(object["spec"]);
    return ["request", "signerName"].flatMap((key) =>
      text(spec[key]) === "" ? [required(`spec.${key}`)] : [],
    );
  },
  prepareUpdate: (next, before) => ({ ...next, spec: before["spec"] }),
};

export const priorityClassRules: KindRules = {
  generation: true,
  defaults: (object) => ({
    ...object,
    ...fill({ preemptionPolicy: object["preemptionPolicy"] }, { preemptionPolicy: "PreemptLowerPriority" }),
  }),
  validateUpdate: (next, before) => [
    ...(next["value"] === before["value"] ? [] : [forbidden("value", "may not be changed in an update.")]),
    ...(next["preemptionPolicy"] === before["preemptionPolicy"]
      ? []
      : [forbidden("preemptionPolicy", "may not be changed in an update.")]),
  ],
  validate: (object) => {
    const value = object["value"];
    return typeof value === "number" && value > 1_000_000_000 && !object.metadata.name.startsWith("system-")
      ? [forbidden("value", "maximum allowed value of a user defined priority is 1000000000")]
      : [];
  },
};

export const runtimeClassRules: KindRules = {
  validate: (object) => (text(object["handler"]) === "" ? [required("handler")] : []),
  validateUpdate: (next, before) =>
    next["handler"] === before["handler"] ? [] : [immutable("handler", next["handler"])],
};

export const autoscalerRules: KindRules = {
  defaults: (object) => inSpec(object, (spec) => fill(spec, { minReplicas: 1 })),
  validate: (object) => {
    const spec = record(object["spec"]);
    const [most, least] = [spec["maxReplicas"], spec["minReplicas"]];
    if (typeof most !== "number" || most < 1)
      return [invalid("spec.maxReplicas", most ?? 0, "must be greater than 0")];
    return typeof least === "number" && least > most
      ? [invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")]
      : [];
  },
};
