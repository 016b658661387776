/** How a strategic merge patch treats one field. */
export interface MergeRule {
  /** Lists merge by this member; "" merges a list of primitives as a set. */
  readonly key?: string;
  /** The field is replaced though its like would be merged. */
  readonly replace?: true;
  /** The patch may carry `$retainKeys`: members it does not name go. */
  readonly retainKeys?: true;
}

const byName: MergeRule = { key: "name" };
const byType: MergeRule = { key: "type" };
const byIp: MergeRule = { key: "ip" };
const byNameRetaining: MergeRule = { key: "name", retainKeys: true };
const asSet: MergeRule = { key: "" };
const conditions = { conditions: byType };

const container: Readonly<Record<string, MergeRule>> = {
  ports: { key: "containerPort" },
  env: byName,
  volumeMounts: { key: "mountPath" },
  volumeDevices: { key: "devicePath" },
};
const webhook = { matchConditions: byName };

/** Model -> field -> rule. Every field that is not here: maps merge, lists replace. */
const rules: Readonly<Record<string, Readonly<Record<string, MergeRule>>>> = {
  ObjectMeta: { ownerReferences: { key: "uid" }, finalizers: asSet },
  PodSpec: {
    volumes: byNameRetaining,
    initContainers: byName,
    containers: byName,
    ephemeralContainers: byName,
    imagePullSecrets: byName,
    hostAliases: byIp,
    topologySpreadConstraints: { key: "topologyKey" },
    schedulingGates: byName,
    resourceClaims: byNameRetaining,
  },
  PodStatus: { ...conditions, podIPs: byIp, hostIPs: byIp, resourceClaimStatuses: byNameRetaining },
  Container: container,
  EphemeralContainer: container,
  ServiceSpec: { ports: { key: "port" } },
  ServiceStatus: conditions,
  ServiceAccount: { secrets: byName, imagePullSecrets: byName },
  NodeSpec: { podCIDRs: asSet },
  NodeStatus: { ...conditions, addresses: byType },
  NamespaceStatus: conditions,
  PersistentVolumeClaimStatus: conditions,
  ReplicationControllerStatus: conditions,
  DeploymentSpec: { strategy: { retainKeys: true } },
  DeploymentStatus: conditions,
  ReplicaSetStatus: conditions,
  StatefulSetStatus: conditions,
  DaemonSetStatus: conditions,
  JobStatus: conditions,
  V2HorizontalPodAutoscalerStatus: conditions,
  PodDisruptionBudgetSpec: { selector: { replace: true } },
  PodDisruptionBudgetStatus: conditions,
  FlowSchemaStatus: conditions,
  PriorityLevelConfigurationStatus: conditions,
  APIServiceStatus: conditions,
  ServiceCIDRStatus: conditions,
  CSINodeSpec: { drivers: byName },
  ResourceClaimStatus: { reservedFor: { key: "uid" } },
  MutatingWebhookConfiguration: { webhooks: byName },
  ValidatingWebhookConfiguration: { webhooks: byName },
  MutatingWebhook: webhook,
  ValidatingWebhook: webhook,
  ValidatingAdmissionPolicySpec: { matchConditions: byName, variables: byName },
  MutatingAdmissionPolicySpec: { matchConditions: byName, variables: byName },
  JSONSchemaProps: { "x-kubernetes-validations": { key: "rule" } },
};

const plain: MergeRule = {};

/** @param model a name of `api/generated/schema.json`; unknown ones have no special fields. */
export function mergeRule(model: string, field: string): MergeRule {
  const fields = Object.hasOwn(rules, model) ? rules[model] : undefined;
  return (fields !== undefined && Object.hasOwn(fields, field) ? fields[field] : undefined) ?? plain;
}
