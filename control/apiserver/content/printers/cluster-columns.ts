import type { Column, StoredObject } from "../../../model.ts";
import { at, list, record, records, scalar, text } from "../json.ts";
import { ageColumn, ageOf, column, conditionStatus, nameColumn, textAt, wide } from "./cells.ts";

function nodeStatus(node: StoredObject): string {
  const ready = conditionStatus(node, "Ready");
  const word = ready === "" ? "Unknown" : ready === "True" ? "Ready" : "NotReady";
  return at(node, "spec.unschedulable") === true ? `${word},SchedulingDisabled` : word;
}

const rolePrefix = "node-role.kubernetes.io/";

function nodeRoles(node: StoredObject): string {
  const labels = Object.entries(node.metadata.labels ?? {});
  const roles = labels.flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix) && key.length > rolePrefix.length) return [key.slice(rolePrefix.length)];
    return key === "kubernetes.io/role" && value !== "" ? [value] : [];
  });
  return [...new Set(roles)].toSorted().join(",") || "<none>";
}

const address = (type: string) => (node: StoredObject) =>
  text(records(at(node, "status.addresses")).find((each) => each["type"] === type)?.["address"]) || "<none>";

/** `pod/web-1`, from either served form of an event. */
function eventObject(event: StoredObject): string {
  const about = record(event["involvedObject"] ?? event["regarding"]);
  return `${text(about["kind"]).toLowerCase()}/${text(about["name"])}`;
}

function eventSource(event: StoredObject): string {
  const source = record(event["source"] ?? event["deprecatedSource"]);
  const component =
    text(source["component"]) || text(event["reportingComponent"]) || text(event["reportingController"]);
  const host = text(source["host"]) || text(event["reportingInstance"]);
  return host === "" ? component : `${component}, ${host}`;
}

const firstSeen = (event: StoredObject): unknown =>
  event["firstTimestamp"] ??
  event["deprecatedFirstTimestamp"] ??
  event["eventTime"] ??
  event.metadata.creationTimestamp;
const lastSeen = (event: StoredObject): unknown =>
  at(event, "series.lastObservedTime") ??
  event["lastTimestamp"] ??
  event["deprecatedLastTimestamp"] ??
  event["eventTime"] ??
  event.metadata.creationTimestamp;
const eventCount = (event: StoredObject): number =>
  Number(at(event, "series.count") ?? event["count"] ?? event["deprecatedCount"] ?? 1) || 1;

function lastSeenCell(event: StoredObject, nowMs: number): string {
  const last = ageOf(lastSeen(event), nowMs);
  const count = eventCount(event);
  return count > 1 ? `${last} (x${count} over ${ageOf(firstSeen(event), nowMs)})` : last;
}

const quotaSums = (kept: (name: string) => boolean) => (quota: StoredObject) =>
  Object.keys(record(at(quota, "status.hard") ?? at(quota, "spec.hard")))
    .filter(kept)
    .toSorted()
    .map((name) => {
      const used = scalar(record(at(quota, "status.used"))[name]) || "0";
      return `${name}: ${used}/${scalar(record(at(quota, "status.hard") ?? at(quota, "spec.hard"))[name])}`;
    })
    .join(", ");
const isLimit = (name: string): boolean => name.startsWith("limits.");

const createdAt = column("Created At", (object) => object.metadata.creationTimestamp ?? "<unknown>", "date");
const dataCount = (...keys: readonly string[]): Column =>
  column(
    "Data",
    (object) => keys.reduce((sum, key) => sum + Object.keys(record(object[key])).length, 0),
    "integer",
  );
const subjects = (name: string, kind: string): Column =>
  wide(name, (object) =>
    records(object["subjects"])
      .filter((each) => each["kind"] === kind)
      .map((each) => (kind === "ServiceAccount" ? `${text(each["namespace"])}/` : "") + text(each["name"]))
      .join(", "),
  );
const binding: readonly Column[] = [
  nameColumn,
  column("Role", (object) => `${text(at(object, "roleRef.kind"))}/${text(at(object, "roleRef.name"))}`),
  ageColumn,
  subjects("Users", "User"),
  subjects("Groups", "Group"),
  subjects("ServiceAccounts", "ServiceAccount"),
];

function csrCondition(csr: StoredObject): string {
  const types = records(at(csr, "status.conditions")).map((each) => text(each["type"]));
  const words = types.includes("Denied")
    ? ["Denied"]
    : types.includes("Approved")
      ? ["Approved"]
      : ["Pending"];
  if (types.includes("Failed")) words.push("Failed");
  if (text(at(csr, "status.certificate")) !== "") words.push("Issued");
  return words.join(",");
}

const health = (key: string) => (object: StoredObject) => {
  const found = records(object["conditions"]).find((each) => each["type"] === "Healthy");
  if (key === "status")
    return found?.["status"] === "True" ? "Healthy" : found === undefined ? "Unknown" : "Unhealthy";
  return text(found?.[key]);
};

/** Kind -> columns of the cluster itself and its plain objects. */
export const clusterColumns: Readonly<Record<string, readonly Column[]>> = {
  Node: [
    nameColumn,
    column("Status", nodeStatus),
    column("Roles", nodeRoles),
    ageColumn,
    column("Version", textAt("status.nodeInfo.kubeletVersion", "")),
    wide("Internal-IP", address("InternalIP")),
    wide("External-IP", address("ExternalIP")),
    wide("OS-Image", textAt("status.nodeInfo.osImage", "<unknown>")),
    wide("Kernel-Version", textAt("status.nodeInfo.kernelVersion", "<unknown>")),
    wide("Container-Runtime", textAt("status.nodeInfo.containerRuntimeVersion", "<unknown>")),
  ],
  Event: [
    column("Last Seen", lastSeenCell),
    column("Type", textAt("type", "")),
    column("Reason", textAt("reason", "")),
    column("Object", eventObject),
    wide("Subobject", (event) => text(record(event["involvedObject"] ?? event["regarding"])["fieldPath"])),
    wide("Source", eventSource),
    column("Message", (event) => text(event["message"] ?? event["note"]).trim()),
    wide("First Seen", (event, nowMs) => ageOf(firstSeen(event), nowMs)),
    wide("Count", eventCount),
    { ...nameColumn, priority: 1 },
  ],
  Namespace: [nameColumn, column("Status", textAt("status.phase", "")), ageColumn],
  Secret: [nameColumn, column("Type", textAt("type", "Opaque")), dataCount("data"), ageColumn],
  ConfigMap: [nameColumn, dataCount("data", "binaryData"), ageColumn],
  ServiceAccount: [
    nameColumn,
    column("Secrets", (object) => list(object["secrets"]).length, "integer"),
    ageColumn,
  ],
  LimitRange: [nameColumn, createdAt],
  ResourceQuota: [
    nameColumn,
    column(
      "Request",
      quotaSums((name) => !isLimit(name)),
    ),
    column("Limit", quotaSums(isLimit)),
    ageColumn,
  ],
  ComponentStatus: [
    nameColumn,
    column("Status", health("status")),
    column("Message", health("message")),
    column("Error", health("error")),
  ],
  Role: [nameColumn, createdAt],
  ClusterRole: [nameColumn, createdAt],
  RoleBinding: binding,
  ClusterRoleBinding: binding,
  Lease: [nameColumn, column("Holder", textAt("spec.holderIdentity", "")), ageColumn],
  PriorityClass: [
    nameColumn,
    column("Value", (object) => Number(object["value"] ?? 0), "integer"),
    column("Global-Default", (object) => object["globalDefault"] === true, "boolean"),
    ageColumn,
    column("PreemptionPolicy", textAt("preemptionPolicy", "PreemptLowerPriority")),
  ],
  RuntimeClass: [nameColumn, column("Handler", textAt("handler", "")), ageColumn],
  CertificateSigningRequest: [
    nameColumn,
    ageColumn,
    column("SignerName", textAt("spec.signerName")),
    column("Requestor", textAt("spec.username", "")),
    column("RequestedDuration", (csr) => {
      const seconds = at(csr, "spec.expirationSeconds");
      return typeof seconds === "number" ? ageOf(new Date(0).toISOString(), seconds * 1000) : "<none>";
    }),
    column("Condition", csrCondition),
  ],
};
