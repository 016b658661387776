import type { ResourceDefinition, Subresource, Verb } from "../../model.ts";
import { columnsOf } from "./printers/columns.ts";
import * as fields from "./selectable-fields.ts";
import { strategyOf } from "./strategy/strategies.ts";

/** What a row says; the rest follows from it. */
interface Row {
  readonly kind: string;
  /** Where it differs from the lower-case kind and "s". */
  readonly plural?: string;
  readonly short?: readonly string[];
  /** Shown by `kubectl get all`. */
  readonly all?: true;
  readonly cluster?: true;
  readonly sub?: readonly Subresource[];
  /** Under `registry/`, where it differs from the plural. */
  readonly prefix?: string;
  readonly model?: string;
  readonly fields?: ResourceDefinition["fields"];
  readonly nameRule?: ResourceDefinition["nameRule"];
  readonly verbs?: readonly Verb[];
  readonly virtual?: true;
}

const everyVerb: readonly Verb[] = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
];
const review = (kind: string, cluster: boolean, model?: string): Row => ({
  kind,
  ...(cluster ? { cluster } : {}),
  verbs: ["create"],
  virtual: true,
  ...(model === undefined ? {} : { model }),
});
const status: readonly Subresource[] = ["status"];
const scaled: readonly Subresource[] = ["status", "scale"];

/** Every group-version, in the order of priority in which discovery names them. */
const groups: readonly (readonly [groupVersion: string, rows: readonly Row[]])[] = [
  [
    "v1",
    [
      { kind: "Binding", verbs: ["create"], virtual: true },
      {
        kind: "ComponentStatus",
        plural: "componentstatuses",
        short: ["cs"],
        cluster: true,
        verbs: ["get", "list"],
        virtual: true,
      },
      { kind: "ConfigMap", short: ["cm"] },
      { kind: "Endpoints", plural: "endpoints", short: ["ep"], prefix: "services/endpoints" },
      { kind: "Event", short: ["ev"], model: "CoreV1Event", fields: fields.coreEventFields },
      { kind: "LimitRange", short: ["limits"] },
      {
        kind: "Namespace",
        short: ["ns"],
        cluster: true,
        nameRule: "label",
        sub: ["status", "finalize"],
        fields: fields.namespaceFields,
        verbs: everyVerb.filter((verb) => verb !== "deletecollection"),
      },
      {
        kind: "Node",
        short: ["no"],
        cluster: true,
        sub: ["status", "proxy"],
        prefix: "minions",
        fields: fields.nodeFields,
      },
      { kind: "PersistentVolumeClaim", short: ["pvc"], sub: status },
      { kind: "PersistentVolume", short: ["pv"], cluster: true, sub: status },
      {
        kind: "Pod",
        short: ["po"],
        all: true,
        sub: [
          "status",
          "log",
          "exec",
          "attach",
          "portforward",
          "proxy",
          "binding",
          "eviction",
          "ephemeralcontainers",
          "resize",
        ],
        fields: fields.podFields,
      },
      { kind: "PodTemplate" },
      {
        kind: "ReplicationController",
        short: ["rc"],
        all: true,
        sub: scaled,
        prefix: "controllers",
        fields: fields.replicaFields,
      },
      { kind: "ResourceQuota", short: ["quota"], sub: status },
      { kind: "Secret", fields: fields.secretFields },
      { kind: "ServiceAccount", short: ["sa"], sub: ["token"] },
      {
        kind: "Service",
        short: ["svc"],
        all: true,
        sub: ["status", "proxy"],
        prefix: "services/specs",
        nameRule: "service",
        fields: fields.serviceFields,
      },
    ],
  ],
  [
    "apps/v1",
    [
      { kind: "ControllerRevision" },
      { kind: "DaemonSet", short: ["ds"], all: true, sub: status },
      { kind: "Deployment", short: ["deploy"], all: true, sub: scaled },
      { kind: "ReplicaSet", short: ["rs"], all: true, sub: scaled, fields: fields.replicaFields },
      { kind: "StatefulSet", short: ["sts"], all: true, sub: scaled },
    ],
  ],
  [
    "events.k8s.io/v1",
    [
      {
        kind: "Event",
        short: ["ev"],
        prefix: "events",
        model: "EventsV1Event",
        fields: fields.newEventFields,
      },
    ],
  ],
  ["authentication.k8s.io/v1", [review("TokenReview", true), review("SelfSubjectReview", true)]],
  [
    "authorization.k8s.io/v1",
    [
      review("LocalSubjectAccessReview", false),
      review("SelfSubjectAccessReview", true),
      review("SelfSubjectRulesReview", true),
      review("SubjectAccessReview", true),
    ],
  ],
  [
    "autoscaling/v2",
    [
      {
        kind: "HorizontalPodAutoscaler",
        short: ["hpa"],
        all: true,
        sub: status,
        model: "V2HorizontalPodAutoscaler",
      },
    ],
  ],
  ["autoscaling/v1", [{ kind: "HorizontalPodAutoscaler", short: ["hpa"], all: true, sub: status }]],
  [
    "batch/v1",
    [
      { kind: "CronJob", short: ["cj"], all: true, sub: status },
      { kind: "Job", all: true, sub: status, fields: fields.jobFields },
    ],
  ],
  [
    "certificates.k8s.io/v1",
    [
      {
        kind: "CertificateSigningRequest",
        short: ["csr"],
        cluster: true,
        sub: ["status", "approval"],
        fields: fields.csrFields,
      },
    ],
  ],
  [
    "networking.k8s.io/v1",
    [
      { kind: "IngressClass", plural: "ingressclasses", cluster: true },
      { kind: "Ingress", plural: "ingresses", short: ["ing"], sub: status, prefix: "ingress" },
      { kind: "NetworkPolicy", plural: "networkpolicies", short: ["netpol"] },
    ],
  ],
  ["policy/v1", [{ kind: "PodDisruptionBudget", short: ["pdb"], sub: status }]],
  [
    "rbac.authorization.k8s.io/v1",
    [
      { kind: "ClusterRoleBinding", cluster: true, nameRule: "path-segment" },
      { kind: "ClusterRole", cluster: true, nameRule: "path-segment" },
      { kind: "RoleBinding", nameRule: "path-segment" },
      { kind: "Role", nameRule: "path-segment" },
    ],
  ],
  [
    "storage.k8s.io/v1",
    [
      { kind: "CSIDriver", cluster: true },
      { kind: "CSINode", cluster: true },
      { kind: "StorageClass", plural: "storageclasses", short: ["sc"], cluster: true },
      { kind: "VolumeAttachment", cluster: true, sub: status },
    ],
  ],
  [
    "scheduling.k8s.io/v1",
    [{ kind: "PriorityClass", plural: "priorityclasses", short: ["pc"], cluster: true }],
  ],
  ["coordination.k8s.io/v1", [{ kind: "Lease" }]],
  ["node.k8s.io/v1", [{ kind: "RuntimeClass", plural: "runtimeclasses", cluster: true }]],
  ["discovery.k8s.io/v1", [{ kind: "EndpointSlice" }]],
];

let table: readonly ResourceDefinition[] | undefined;

/** Every resource the API server serves, made once. */
export function resourceTable(): readonly ResourceDefinition[] {
  table ??= groups.flatMap(([groupVersion, rows]) => rows.map((row) => definition(groupVersion, row)));
  return table;
}

function definition(groupVersion: string, row: Row): ResourceDefinition {
  const [version = "", group = ""] = groupVersion.split("/").reverse();
  const singular = row.kind.toLowerCase();
  const plural = row.plural ?? `${singular}s`;
  const nameRule = row.nameRule ?? "subdomain";
  const subresources = row.sub ?? [];
  return {
    group,
    version,
    plural,
    singular,
    kind: row.kind,
    namespaced: row.cluster !== true,
    shortNames: row.short ?? [],
    categories: row.all === true ? ["all"] : [],
    verbs: row.verbs ?? everyVerb,
    subresources,
    model: row.model ?? row.kind,
    storagePrefix: `registry/${row.prefix ?? plural}`,
    fields: row.fields ?? {},
    columns: columnsOf(row.kind),
    strategy: strategyOf({
      kind: row.kind,
      group,
      namespaced: row.cluster !== true,
      nameRule,
      hasStatus: subresources.includes("status"),
    }),
    nameRule,
    storage: row.virtual === true ? "virtual" : "stored",
  };
}
