import { modelOf } from "#api/schema.ts";

/**
 * Scalar fields that are pointers in Go: on the wire they are absent or meant, so a zero in them says
 * something (`replicas: 0`, `enableServiceLinks: false`, `storageClassName: ""`). Any other zero is Go's
 * way to write an unset field.
 */
const pointers: ReadonlySet<string> = new Set([
  // numbers
  "replicas",
  "revisionHistoryLimit",
  "progressDeadlineSeconds",
  "terminationGracePeriodSeconds",
  "activeDeadlineSeconds",
  "tolerationSeconds",
  "runAsUser",
  "runAsGroup",
  "fsGroup",
  "defaultMode",
  "mode",
  "completions",
  "parallelism",
  "backoffLimit",
  "backoffLimitPerIndex",
  "maxFailedIndexes",
  "ttlSecondsAfterFinished",
  "minReplicas",
  "partition",
  "gracePeriodSeconds",
  "expirationSeconds",
  "priority",
  "startingDeadlineSeconds",
  "successfulJobsHistoryLimit",
  "failedJobsHistoryLimit",
  "leaseDurationSeconds",
  "leaseTransitions",
  "deletionGracePeriodSeconds",
  "averageUtilization",
  "targetCPUUtilizationPercentage",
  "stabilizationWindowSeconds",
  "timeoutSeconds",
  "port",
  "endPort",
  "minDomains",
  "maxUnavailable",
  "maxSurge",
  "minAvailable",
  // truths
  "automountServiceAccountToken",
  "enableServiceLinks",
  "runAsNonRoot",
  "privileged",
  "allowPrivilegeEscalation",
  "readOnlyRootFilesystem",
  "controller",
  "blockOwnerDeletion",
  "optional",
  "immutable",
  "hostUsers",
  "shareProcessNamespace",
  "setHostnameAsFQDN",
  "suspend",
  "ready",
  "serving",
  "terminating",
  "allocateLoadBalancerNodePorts",
  "manualSelector",
  "started",
  "orphanDependents",
  "attachRequired",
  "podInfoOnMount",
  "storageCapacity",
  "requiresRepublish",
  "allowVolumeExpansion",
  "seLinuxMount",
  // texts
  "storageClassName",
  "volumeAttributesClassName",
  "service",
]);

/** Fields that bear a pointer's name but are plain. */
const plain: ReadonlySet<string> = new Set([
  "Probe.timeoutSeconds",
  "ServicePort.port",
  "ContainerStatus.ready",
  "PersistentVolumeSpec.storageClassName",
]);

/** Whether a zero in the field is meant. Required fields are written by Go whatever they hold, so they stay too. */
export function isPointer(model: string, field: string): boolean {
  if (plain.has(`${model}.${field}`)) return false;
  return pointers.has(field) || (modelOf(model)?.fields.get(field)?.required ?? false);
}
