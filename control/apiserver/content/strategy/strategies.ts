import type { Strategy } from "../../../model.ts";
import * as core from "./core-objects.ts";
import { genericStrategy, type KindRules, type KindTraits } from "./generic.ts";
import * as network from "./network-objects.ts";
import { podRules } from "./pod.ts";
import * as rbac from "./rbac-objects.ts";
import { serviceRules } from "./service.ts";
import * as storage from "./storage-objects.ts";
import * as workloads from "./workloads.ts";

/** Kinds that need more than the generic strategy. */
const rules: Readonly<Record<string, KindRules>> = {
  Pod: podRules,
  Service: serviceRules,
  ConfigMap: core.configMapRules,
  Secret: core.secretRules,
  Namespace: core.namespaceRules,
  Node: core.nodeRules,
  PodTemplate: core.podTemplateRules,
  Event: core.eventRules,
  Lease: core.leaseRules,
  LimitRange: core.limitRangeRules,
  CertificateSigningRequest: core.csrRules,
  PriorityClass: core.priorityClassRules,
  RuntimeClass: core.runtimeClassRules,
  HorizontalPodAutoscaler: core.autoscalerRules,
  Deployment: workloads.deploymentRules,
  ReplicaSet: workloads.replicaSetRules,
  ReplicationController: workloads.replicationControllerRules,
  StatefulSet: workloads.statefulSetRules,
  DaemonSet: workloads.daemonSetRules,
  Job: workloads.jobRules,
  CronJob: workloads.cronJobRules,
  Endpoints: network.endpointsRules,
  EndpointSlice: network.endpointSliceRules,
  NetworkPolicy: network.networkPolicyRules,
  Ingress: network.ingressRules,
  IngressClass: network.ingressClassRules,
  PersistentVolume: storage.volumeRules,
  PersistentVolumeClaim: storage.claimRules,
  StorageClass: storage.storageClassRules,
  CSIDriver: storage.csiDriverRules,
  ResourceQuota: storage.quotaRules,
  PodDisruptionBudget: storage.disruptionBudgetRules,
  Role: rbac.roleRules,
  ClusterRole: rbac.clusterRoleRules,
  RoleBinding: rbac.roleBindingRules,
  ClusterRoleBinding: rbac.clusterRoleBindingRules,
};

/** The strategy of a kind: its own rules where it has some, else the generic one alone. */
export function strategyOf(traits: KindTraits): Strategy {
  const own = traits.group === "events.k8s.io" ? core.newEventRules : rules[traits.kind];
  return genericStrategy(traits, own ?? {});
}
