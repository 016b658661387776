import type { StoredObject } from "../../model.ts";
import { at, record, scalar, text } from "./json.ts";

/** Field labels that a kind can be selected by, besides metadata.name and metadata.namespace. */
export type SelectableFields = Readonly<Record<string, (object: StoredObject) => string>>;

const field =
  (path: string) =>
  (object: StoredObject): string =>
    scalar(at(object, path));
/** Go prints an unset bool as false and an unset number as 0. */
const flag =
  (path: string) =>
  (object: StoredObject): string =>
    String(at(object, path) === true);
const count =
  (path: string) =>
  (object: StoredObject): string =>
    scalar(at(object, path)) || "0";

const aboutParts = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"];

/** `involvedObject.name` of either served form of an event. */
const about = (prefix: string): SelectableFields =>
  Object.fromEntries(
    aboutParts.map((part) => [
      `${prefix}.${part}`,
      (object) => scalar(record(object["involvedObject"] ?? object["regarding"])[part]),
    ]),
  );
const reporter = (object: StoredObject): string =>
  text(object["reportingComponent"]) ||
  text(object["reportingController"]) ||
  text(at(object, "source.component"));

export const podFields: SelectableFields = {
  "spec.nodeName": field("spec.nodeName"),
  "spec.host": field("spec.nodeName"),
  "spec.restartPolicy": field("spec.restartPolicy"),
  "spec.schedulerName": field("spec.schedulerName"),
  "spec.serviceAccountName": field("spec.serviceAccountName"),
  "spec.hostNetwork": flag("spec.hostNetwork"),
  "status.phase": field("status.phase"),
  "status.podIP": field("status.podIP"),
  "status.podIPs": field("status.podIP"),
  "status.nominatedNodeName": field("status.nominatedNodeName"),
};
export const coreEventFields: SelectableFields = {
  ...about("involvedObject"),
  reason: field("reason"),
  reportingComponent: field("reportingComponent"),
  source: (object) => text(at(object, "source.component")) || reporter(object),
  type: field("type"),
};
export const newEventFields: SelectableFields = {
  ...about("regarding"),
  reason: field("reason"),
  reportingController: reporter,
  type: field("type"),
};
export const nodeFields: SelectableFields = { "spec.unschedulable": flag("spec.unschedulable") };
export const namespaceFields: SelectableFields = { "status.phase": field("status.phase") };
export const secretFields: SelectableFields = { type: field("type") };
export const serviceFields: SelectableFields = {
  "spec.clusterIP": field("spec.clusterIP"),
  "spec.type": field("spec.type"),
};
export const replicaFields: SelectableFields = { "status.replicas": count("status.replicas") };
export const jobFields: SelectableFields = { "status.successful": count("status.succeeded") };
export const csrFields: SelectableFields = { "spec.signerName": field("spec.signerName") };
