import type { Column, StoredObject } from "../../../model.ts";
import { at, number, records, scalar, text } from "../json.ts";
import {
  ageColumn,
  ageOf,
  column,
  conditionStatus,
  containerColumns,
  countAt,
  formatLabelSelector,
  formatLabels,
  nameColumn,
  textAt,
  wide,
} from "./cells.ts";
import { humanDuration } from "./human-duration.ts";

const template = "spec.template.spec";
const selector = wide("Selector", (object) => formatLabelSelector(at(object, "spec.selector")));
const replicas: readonly Column[] = [
  nameColumn,
  column("Desired", countAt("spec.replicas"), "integer"),
  column("Current", countAt("status.replicas"), "integer"),
  column("Ready", countAt("status.readyReplicas"), "integer"),
  ageColumn,
  ...containerColumns(template),
];
const readyOfDesired = column(
  "Ready",
  (object) => `${countAt("status.readyReplicas")(object)}/${countAt("spec.replicas")(object)}`,
);

function jobStatus(job: StoredObject): string {
  if (conditionStatus(job, "Complete") === "True") return "Complete";
  if (conditionStatus(job, "Failed") === "True") return "Failed";
  if (job.metadata.deletionTimestamp !== undefined) return "Terminating";
  if (conditionStatus(job, "Suspended") === "True") return "Suspended";
  if (conditionStatus(job, "FailureTarget") === "True") return "FailureTarget";
  return conditionStatus(job, "SuccessCriteriaMet") === "True" ? "SuccessCriteriaMet" : "Running";
}

function jobCompletions(job: StoredObject): string {
  const succeeded = countAt("status.succeeded")(job);
  const wanted = at(job, "spec.completions");
  if (typeof wanted === "number") return `${succeeded}/${wanted}`;
  const parallelism = number(at(job, "spec.parallelism"));
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function jobDuration(job: StoredObject, nowMs: number): string {
  const start = at(job, "status.startTime");
  if (typeof start !== "string") return "";
  const end = at(job, "status.completionTime");
  return humanDuration((typeof end === "string" ? Date.parse(end) : nowMs) - Date.parse(start));
}

function controllerOf(object: StoredObject): string {
  const owner = object.metadata.ownerReferences?.find((each) => each.controller === true);
  if (owner === undefined) return "<none>";
  const group = owner.apiVersion.includes("/") ? `.${owner.apiVersion.split("/")[0] ?? ""}` : "";
  return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
}

/** One metric of an autoscaler: `cpu: 20%/80%`. */
function hpaTargets(hpa: StoredObject): string {
  const metrics = records(at(hpa, "spec.metrics"));
  const current = records(at(hpa, "status.currentMetrics"));
  const shown = metrics.slice(0, 2).map((metric, index) => {
    const source = text(metric["type"]);
    const body = at(metric, `${source.charAt(0).toLowerCase()}${source.slice(1)}`);
    const now = at(current[index], `${source.charAt(0).toLowerCase()}${source.slice(1)}.current`);
    const name = text(at(body, "name")) || text(at(body, "metric.name"));
    const percentage = at(body, "target.averageUtilization");
    const have =
      percentage === undefined
        ? scalar(at(now, "averageValue")) || scalar(at(now, "value"))
        : scalar(at(now, "averageUtilization"));
    const want =
      percentage === undefined
        ? scalar(at(body, "target.averageValue")) || scalar(at(body, "target.value"))
        : `${scalar(percentage)}%`;
    return `${name}: ${have === "" ? "<unknown>" : `${have}${percentage === undefined ? "" : "%"}`}/${want}`;
  });
  if (shown.length === 0) return "<none>";
  return metrics.length > 2 ? `${shown.join(", ")} + ${metrics.length - 2} more...` : shown.join(", ");
}

/** Kind -> columns of what runs pods. */
export const workloadColumns: Readonly<Record<string, readonly Column[]>> = {
  ReplicaSet: [...replicas, selector],
  ReplicationController: [
    ...replicas,
    wide("Selector", (object) => formatLabels(at(object, "spec.selector"))),
  ],
  Deployment: [
    nameColumn,
    readyOfDesired,
    column("Up-to-date", countAt("status.updatedReplicas"), "integer"),
    column("Available", countAt("status.availableReplicas"), "integer"),
    ageColumn,
    ...containerColumns(template),
    selector,
  ],
  StatefulSet: [nameColumn, readyOfDesired, ageColumn, ...containerColumns(template)],
  DaemonSet: [
    nameColumn,
    column("Desired", countAt("status.desiredNumberScheduled"), "integer"),
    column("Current", countAt("status.currentNumberScheduled"), "integer"),
    column("Ready", countAt("status.numberReady"), "integer"),
    column("Up-to-date", countAt("status.updatedNumberScheduled"), "integer"),
    column("Available", countAt("status.numberAvailable"), "integer"),
    column("Node Selector", (object) => formatLabels(at(object, `${template}.nodeSelector`))),
    ageColumn,
    ...containerColumns(template),
    selector,
  ],
  Job: [
    nameColumn,
    column("Status", jobStatus),
    column("Completions", jobCompletions),
    column("Duration", jobDuration),
    ageColumn,
    ...containerColumns(template),
    selector,
  ],
  CronJob: [
    nameColumn,
    column("Schedule", textAt("spec.schedule")),
    column("Timezone", textAt("spec.timeZone")),
    column("Suspend", (object) => (at(object, "spec.suspend") === true ? "True" : "False")),
    column("Active", (object) => records(at(object, "status.active")).length, "integer"),
    column("Last Schedule", (object, nowMs) => ageOf(at(object, "status.lastScheduleTime"), nowMs, "<none>")),
    ageColumn,
    ...containerColumns(`spec.jobTemplate.${template}`),
    wide("Selector", (object) => formatLabelSelector(at(object, "spec.jobTemplate.spec.selector"))),
  ],
  ControllerRevision: [
    nameColumn,
    column("Controller", controllerOf),
    column("Revision", countAt("revision"), "integer"),
    ageColumn,
  ],
  PodTemplate: [
    nameColumn,
    column("Containers", (object) => namesOf(object, "name")),
    column("Images", (object) => namesOf(object, "image")),
    column("Pod Labels", (object) => formatLabels(at(object, "template.metadata.labels"))),
  ],
  PodDisruptionBudget: [
    nameColumn,
    column("Min Available", textAt("spec.minAvailable", "N/A")),
    column("Max Unavailable", textAt("spec.maxUnavailable", "N/A")),
    column("Allowed Disruptions", countAt("status.disruptionsAllowed"), "integer"),
    ageColumn,
  ],
  HorizontalPodAutoscaler: [
    nameColumn,
    column(
      "Reference",
      (object) =>
        `${text(at(object, "spec.scaleTargetRef.kind"))}/${text(at(object, "spec.scaleTargetRef.name"))}`,
    ),
    column("Targets", hpaTargets),
    column("MinPods", textAt("spec.minReplicas", "<unset>")),
    column("MaxPods", countAt("spec.maxReplicas"), "integer"),
    column("Replicas", countAt("status.currentReplicas"), "integer"),
    ageColumn,
  ],
};

const namesOf = (object: StoredObject, key: string): string =>
  records(at(object, "template.spec.containers"))
    .map((each) => text(each[key]))
    .join(",") || "<none>";
