import type { ResourceDefinition, StoredObject } from "../../model.ts";
import { isJson, number, type Json, record, records, text } from "./json.ts";

/**
 * The served form of an object becomes the stored one. Two pairs of resources share their storage:
 * events (stored as core/v1) and horizontal pod autoscalers (stored as autoscaling/v2).
 */
export function toStorage(definition: ResourceDefinition, object: StoredObject): StoredObject {
  if (definition.model === "EventsV1Event") return coreEvent(object);
  if (definition.model === "HorizontalPodAutoscaler") return newAutoscaler(object);
  return object;
}

/** The stored form becomes the one of the resource that was asked for. */
export function fromStorage(definition: ResourceDefinition, object: StoredObject): StoredObject {
  if (definition.model === "EventsV1Event") return newEvent(object);
  if (definition.model === "HorizontalPodAutoscaler") return oldAutoscaler(object);
  return object;
}

/** core/v1 name -> events.k8s.io/v1 name; fields with one name in both are not listed. */
const eventNames: Readonly<Record<string, string>> = {
  involvedObject: "regarding",
  message: "note",
  reportingComponent: "reportingController",
  source: "deprecatedSource",
  count: "deprecatedCount",
  firstTimestamp: "deprecatedFirstTimestamp",
  lastTimestamp: "deprecatedLastTimestamp",
};
const coreNames: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(eventNames).map(([core, served]) => [served, core]),
);

const renamed = (object: StoredObject, names: Readonly<Record<string, string>>): Json =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [names[key] ?? key, value]));

function coreEvent(object: StoredObject): StoredObject {
  if (object.apiVersion === "v1") return object;
  return { ...renamed(object, coreNames), apiVersion: "v1", kind: "Event", metadata: object.metadata };
}

function newEvent(object: StoredObject): StoredObject {
  if (object.apiVersion === "events.k8s.io/v1") return object;
  return {
    ...renamed(object, eventNames),
    apiVersion: "events.k8s.io/v1",
    kind: "Event",
    metadata: object.metadata,
  };
}

const isCpu = (metric: Json): boolean =>
  metric["type"] === "Resource" &&
  record(metric["resource"])["name"] === "cpu" &&
  text(record(record(metric["resource"])["target"])["type"] ?? "Utilization") === "Utilization";

/** Where autoscaling/v1 keeps what it has no field for. */
const metricsAnnotation = "autoscaling.alpha.kubernetes.io/metrics";

function newAutoscaler(object: StoredObject): StoredObject {
  if (object.apiVersion === "autoscaling/v2") return object;
  const { targetCPUUtilizationPercentage: percentage, ...spec } = record(object["spec"]);
  const { currentCPUUtilizationPercentage: current, ...status } = record(object["status"]);
  const { [metricsAnnotation]: others, ...annotations } = object.metadata.annotations ?? {};
  const metrics = [
    ...parseMetrics(others),
    ...(typeof percentage === "number"
      ? [
          {
            type: "Resource",
            resource: { name: "cpu", target: { type: "Utilization", averageUtilization: percentage } },
          },
        ]
      : []),
  ];
  const currentMetrics =
    typeof current === "number"
      ? [{ type: "Resource", resource: { name: "cpu", current: { averageUtilization: current } } }]
      : [];
  return {
    ...object,
    apiVersion: "autoscaling/v2",
    metadata: { ...object.metadata, ...(object.metadata.annotations === undefined ? {} : { annotations }) },
    spec: { ...spec, ...(metrics.length === 0 ? {} : { metrics }) },
    ...(object["status"] === undefined ? {} : { status: { ...status, currentMetrics } }),
  };
}

function oldAutoscaler(object: StoredObject): StoredObject {
  if (object.apiVersion === "autoscaling/v1") return object;
  const { metrics, behavior: _behavior, ...spec } = record(object["spec"]);
  const { currentMetrics, conditions: _conditions, ...status } = record(object["status"]);
  const cpu = records(metrics).find(isCpu);
  const others = records(metrics).filter((metric) => metric !== cpu);
  const target = record(record(cpu?.["resource"])["target"])["averageUtilization"];
  const currentCpu = records(currentMetrics).find(
    (metric) => metric["type"] === "Resource" && record(metric["resource"])["name"] === "cpu",
  );
  const current = record(record(currentCpu?.["resource"])["current"])["averageUtilization"];
  return {
    ...object,
    apiVersion: "autoscaling/v1",
    metadata:
      others.length === 0
        ? object.metadata
        : {
            ...object.metadata,
            annotations: { ...object.metadata.annotations, [metricsAnnotation]: JSON.stringify(others) },
          },
    spec: { ...spec, ...(target === undefined ? {} : { targetCPUUtilizationPercentage: number(target) }) },
    ...(object["status"] === undefined
      ? {}
      : {
          status: {
            ...status,
            ...(current === undefined ? {} : { currentCPUUtilizationPercentage: current }),
          },
        }),
  };
}

/** A client may write anything there: what is no list of metrics is no metric. */
function parseMetrics(annotation: string | undefined): readonly Json[] {
  if (annotation === undefined) return [];
  try {
    const parsed: unknown = JSON.parse(annotation);
    return Array.isArray(parsed) ? parsed.filter(isJson) : [];
  } catch {
    return [];
  }
}
