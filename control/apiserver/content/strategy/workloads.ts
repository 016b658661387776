import type { FieldError, StoredObject } from "../../../model.ts";
import { hasLabels, matches, requirementsOf } from "#api/selectors.ts";
import { isJson, type Json, list, record, sameMeaning, strings, text } from "../json.ts";
import { forbidden, immutable, invalid, notSupported, required } from "./errors.ts";
import { fill, inSpec, isUnset, within } from "./fill.ts";
import type { KindRules } from "./generic.ts";
import { validateLabels } from "./metadata.ts";
import { templateDefaults } from "./pod-defaults.ts";
import { notNegative, oneOf, validatePodSpec } from "./pod-validation.ts";

const maxInt32 = 2_147_483_647;

/** Selector, template and counts, which all that runs pods has. */
function validateTemplated(spec: Json, restartPolicies: readonly string[]): readonly FieldError[] {
  const template = record(spec["template"]);
  const podSpec = record(template["spec"]);
  const restartPolicy = text(podSpec["restartPolicy"]);
  return [
    ...notNegative("spec.replicas", spec["replicas"]),
    ...notNegative("spec.minReadySeconds", spec["minReadySeconds"]),
    ...notNegative("spec.revisionHistoryLimit", spec["revisionHistoryLimit"]),
    ...validateLabels(record(template["metadata"])["labels"], "spec.template.metadata.labels"),
    ...validatePodSpec(podSpec, "spec.template.spec"),
    ...(restartPolicies.includes(restartPolicy)
      ? []
      : [notSupported("spec.template.spec.restartPolicy", restartPolicy, restartPolicies)]),
  ];
}

/** A LabelSelector must be there, mean something and choose the template's own pods. */
function validateSelector(spec: Json): readonly FieldError[] {
  const selector = spec["selector"];
  if (!isJson(selector)) return [required("spec.selector")];
  const labels = strings(record(record(spec["template"])["metadata"])["labels"]);
  const expressions = list(selector["matchExpressions"]).filter(isJson);
  if (Object.keys(record(selector["matchLabels"])).length === 0 && expressions.length === 0) {
    return [invalid("spec.selector", selector, "empty selector is invalid for deployment")];
  }
  const errors = [
    ...validateLabels(selector["matchLabels"], "spec.selector.matchLabels"),
    ...expressions.flatMap((each, index) =>
      ["DoesNotExist", "Exists", "In", "NotIn"].includes(text(each["operator"]))
        ? []
        : [
            invalid(
              `spec.selector.matchExpressions[${index}].operator`,
              text(each["operator"]),
              "not a valid selector operator",
            ),
          ],
    ),
  ];
  if (errors.length > 0) return errors;
  const requirements = requirementsOf({
    matchLabels: strings(selector["matchLabels"]),
    matchExpressions: expressions.map((each) => ({
      key: text(each["key"]),
      operator: text(each["operator"]),
      values: list(each["values"]).map(text),
    })),
  });
  return matches(requirements, labels)
    ? []
    : [invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")];
}

const fixedSelector = (next: StoredObject, before: StoredObject): readonly FieldError[] => {
  const [selector, old] = [record(next["spec"])["selector"], record(before["spec"])["selector"]];
  return sameMeaning(selector, old) ? [] : [immutable("spec.selector", selector)];
};

const templated = (spec: Json): Json => within(spec, "template", templateDefaults);
const always = ["Always"];

export const deploymentRules: KindRules = {
  generation: true,
  defaults: (object) =>
    inSpec(object, (spec) => {
      const filled = fill(templated(spec), {
        replicas: 1,
        strategy: {},
        revisionHistoryLimit: 10,
        progressDeadlineSeconds: 600,
      });
      return within(filled, "strategy", (strategy) => {
        const typed = fill(strategy, { type: "RollingUpdate" });
        if (typed["type"] !== "RollingUpdate") return typed;
        return {
          ...typed,
          rollingUpdate: fill(record(typed["rollingUpdate"]), { maxUnavailable: "25%", maxSurge: "25%" }),
        };
      });
    }),
  initialStatus: () => ({}),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [
      ...validateSelector(spec),
      ...validateTemplated(spec, always),
      ...validateStrategy(record(spec["strategy"])),
    ];
  },
  validateUpdate: fixedSelector,
};

function validateStrategy(strategy: Json): readonly FieldError[] {
  const rolling = strategy["rollingUpdate"];
  if (strategy["type"] === "Recreate" && rolling !== undefined) {
    return [
      forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"),
    ];
  }
  const { maxSurge, maxUnavailable } = record(rolling);
  const zero = (value: unknown): boolean => value === 0 || value === "0" || value === "0%";
  return [
    ...oneOf("spec.strategy.type", strategy["type"], ["Recreate", "RollingUpdate"]),
    ...["maxSurge", "maxUnavailable"].flatMap((key) =>
      validateShare(record(rolling)[key], `spec.strategy.rollingUpdate.${key}`),
    ),
    ...(zero(maxSurge) && zero(maxUnavailable)
      ? [
          invalid(
            "spec.strategy.rollingUpdate.maxUnavailable",
            maxUnavailable,
            "may not be 0 when `maxSurge` is 0",
          ),
        ]
      : []),
  ];
}

/** A count or a percentage. */
function validateShare(value: unknown, field: string): readonly FieldError[] {
  if (typeof value === "string" && !/^\d+%$/.test(value)) {
    return [
      invalid(
        field,
        value,
        "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
      ),
    ];
  }
  return notNegative(field, value);
}

export const replicaSetRules: KindRules = {
  generation: true,
  defaults: (object) => inSpec(object, (spec) => fill(templated(spec), { replicas: 1 })),
  initialStatus: () => ({ replicas: 0 }),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [...validateSelector(spec), ...validateTemplated(spec, always)];
  },
  validateUpdate: fixedSelector,
};

export const replicationControllerRules: KindRules = {
  generation: true,
  defaults: (object) => {
    const labels = strings(record(record(record(object["spec"])["template"])["metadata"])["labels"]);
    const selecting = inSpec(object, (spec) =>
      fill(templated(spec), {
        replicas: 1,
        ...(Object.keys(labels).length > 0 && Object.keys(record(spec["selector"])).length === 0
          ? { selector: labels }
          : {}),
      }),
    );
    const own = Object.keys(object.metadata.labels ?? {}).length > 0 || Object.keys(labels).length === 0;
    return own ? selecting : { ...selecting, metadata: { ...selecting.metadata, labels } };
  },
  initialStatus: () => ({ replicas: 0 }),
  validate: (object) => {
    const spec = record(object["spec"]);
    const labels = strings(record(record(spec["template"])["metadata"])["labels"]);
    const selector = strings(spec["selector"]);
    const errors = validateTemplated(spec, always);
    if (Object.keys(selector).length === 0) return [required("spec.selector"), ...errors];
    return hasLabels(selector, labels)
      ? errors
      : [
          invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"),
          ...errors,
        ];
  },
};

const statefulSetMutable = [
  "replicas",
  "ordinals",
  "template",
  "updateStrategy",
  "revisionHistoryLimit",
  "persistentVolumeClaimRetentionPolicy",
  "minReadySeconds",
];

export const statefulSetRules: KindRules = {
  generation: true,
  defaults: (object) =>
    inSpec(object, (spec) => {
      const filled = fill(templated(spec), {
        replicas: 1,
        podManagementPolicy: "OrderedReady",
        revisionHistoryLimit: 10,
        updateStrategy: {},
        persistentVolumeClaimRetentionPolicy: { whenDeleted: "Retain", whenScaled: "Retain" },
      });
      return within(filled, "updateStrategy", (strategy) => {
        const typed = fill(strategy, { type: "RollingUpdate" });
        if (typed["type"] !== "RollingUpdate") return typed;
        return { ...typed, rollingUpdate: fill(record(typed["rollingUpdate"]), { partition: 0 }) };
      });
    }),
  initialStatus: () => ({ replicas: 0, availableReplicas: 0 }),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [
      ...validateSelector(spec),
      ...validateTemplated(spec, always),
      ...oneOf("spec.podManagementPolicy", spec["podManagementPolicy"], ["OrderedReady", "Parallel"]),
      ...oneOf("spec.updateStrategy.type", record(spec["updateStrategy"])["type"], [
        "OnDelete",
        "RollingUpdate",
      ]),
    ];
  },
  validateUpdate: (next, before) => {
    const frozen = (object: StoredObject): Json =>
      Object.fromEntries(
        Object.entries(record(object["spec"])).filter(([key]) => !statefulSetMutable.includes(key)),
      );
    if (sameMeaning(frozen(next), frozen(before))) return [];
    return [
      forbidden(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
      ),
    ];
  },
};

export const daemonSetRules: KindRules = {
  generation: true,
  defaults: (object) =>
    inSpec(object, (spec) => {
      const filled = fill(templated(spec), { revisionHistoryLimit: 10, updateStrategy: {} });
      return within(filled, "updateStrategy", (strategy) => {
        const typed = fill(strategy, { type: "RollingUpdate" });
        if (typed["type"] !== "RollingUpdate") return typed;
        return {
          ...typed,
          rollingUpdate: fill(record(typed["rollingUpdate"]), { maxUnavailable: 1, maxSurge: 0 }),
        };
      });
    }),
  initialStatus: () => ({
    currentNumberScheduled: 0,
    numberMisscheduled: 0,
    desiredNumberScheduled: 0,
    numberReady: 0,
  }),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [
      ...validateSelector(spec),
      ...validateTemplated(spec, always),
      ...oneOf("spec.updateStrategy.type", record(spec["updateStrategy"])["type"], [
        "OnDelete",
        "RollingUpdate",
      ]),
    ];
  },
  validateUpdate: fixedSelector,
};

function jobSpecDefaults(spec: Json): Json {
  const indexed = spec["backoffLimitPerIndex"] !== undefined;
  const single = spec["completions"] === undefined && spec["parallelism"] === undefined;
  return fill(templated(spec), {
    ...(single ? { completions: 1, parallelism: 1 } : { parallelism: 1 }),
    backoffLimit: indexed ? maxInt32 : 6,
    completionMode: "NonIndexed",
    suspend: false,
    podReplacementPolicy: spec["podFailurePolicy"] === undefined ? "TerminatingOrFailed" : "Failed",
    manualSelector: spec["manualSelector"] === true ? true : undefined,
  });
}

/** A job's pods are told from another's by the job's uid. */
function jobSelector(job: StoredObject): StoredObject {
  const spec = record(job["spec"]);
  const uid = job.metadata.uid ?? "";
  if (spec["manualSelector"] === true || uid === "" || !isUnset(spec["selector"])) return job;
  const labels = {
    "batch.kubernetes.io/controller-uid": uid,
    "batch.kubernetes.io/job-name": job.metadata.name,
    "controller-uid": uid,
    "job-name": job.metadata.name,
  };
  const template = record(spec["template"]);
  const metadata = record(template["metadata"]);
  return {
    ...job,
    spec: {
      ...spec,
      selector: { matchLabels: { "batch.kubernetes.io/controller-uid": uid } },
      template: {
        ...template,
        metadata: { ...metadata, labels: { ...record(metadata["labels"]), ...labels } },
      },
    },
  };
}

const jobRestarts = ["Never", "OnFailure"];

export const jobRules: KindRules = {
  generation: true,
  defaults: (object) => jobSelector(inSpec(object, jobSpecDefaults)),
  initialStatus: () => ({}),
  validate: (object) => {
    const spec = record(object["spec"]);
    return [
      ...validateTemplated(spec, jobRestarts),
      ...[
        "completions",
        "parallelism",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
      ].flatMap((key) => notNegative(`spec.${key}`, spec[key])),
      ...oneOf("spec.completionMode", spec["completionMode"], ["Indexed", "NonIndexed"]),
      ...(spec["completionMode"] === "Indexed" && spec["completions"] === undefined
        ? [required("spec.completions", "when completion mode is Indexed")]
        : []),
    ];
  },
  validateUpdate: (next, before) => {
    const [spec, old] = [record(next["spec"]), record(before["spec"])];
    const suspended = old["suspend"] === true && record(before["status"])["startTime"] === undefined;
    const frozen = [
      "selector",
      "completionMode",
      "podFailurePolicy",
      "backoffLimitPerIndex",
      "managedBy",
      ...(suspended ? [] : ["template"]),
      ...(old["completionMode"] === "Indexed" ? [] : ["completions"]),
    ];
    return frozen.flatMap((key) =>
      sameMeaning(spec[key], old[key]) ? [] : [immutable(`spec.${key}`, spec[key])],
    );
  },
};

export const cronJobRules: KindRules = {
  generation: true,
  defaults: (object) =>
    inSpec(object, (spec) =>
      fill(
        within(spec, "jobTemplate", (template) => within(template, "spec", templated)),
        {
          concurrencyPolicy: "Allow",
          suspend: false,
          successfulJobsHistoryLimit: 3,
          failedJobsHistoryLimit: 1,
        },
      ),
    ),
  initialStatus: () => ({}),
  validate: (object) => {
    const spec = record(object["spec"]);
    const template = record(record(record(record(spec["jobTemplate"])["spec"])["template"])["spec"]);
    return [
      ...(text(spec["schedule"]) === "" ? [required("spec.schedule")] : []),
      ...oneOf("spec.concurrencyPolicy", spec["concurrencyPolicy"], ["Allow", "Forbid", "Replace"]),
      ...validatePodSpec(template, "spec.jobTemplate.spec.template.spec"),
      ...(jobRestarts.includes(text(template["restartPolicy"]))
        ? []
        : [
            notSupported(
              "spec.jobTemplate.spec.template.spec.restartPolicy",
              text(template["restartPolicy"]),
              jobRestarts,
            ),
          ]),
    ];
  },
};
