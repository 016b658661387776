import type {
  CSIDriver,
  CSINode,
  CertificateSigningRequest,
  ClusterRole,
  ClusterRoleBinding,
  ConfigMap,
  CoreV1Event,
  Deployment,
  EndpointSlice,
  Endpoints,
  Lease,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ReplicaSet,
  ReplicationController,
  Role,
  RoleBinding,
  RuntimeClass,
  Secret,
  Service,
  ServiceAccount,
  VolumeAttachment,
} from "./generated/kubernetes.ts";
import type { KubeObject, Resource } from "./meta.ts";

/** The kinds that some part of Keelson reads or writes through the API. */
export const pods: Resource<Pod> = core("pods", "Pod", true);
export const nodes: Resource<Node> = core("nodes", "Node", false);
export const services: Resource<Service> = core("services", "Service", true);
export const endpoints: Resource<Endpoints> = core("endpoints", "Endpoints", true);
export const namespaces: Resource<Namespace> = core("namespaces", "Namespace", false);
export const configMaps: Resource<ConfigMap> = core("configmaps", "ConfigMap", true);
export const secrets: Resource<Secret> = core("secrets", "Secret", true);
export const serviceAccounts: Resource<ServiceAccount> = core("serviceaccounts", "ServiceAccount", true);
export const events: Resource<CoreV1Event> = core("events", "Event", true);
export const replicationControllers: Resource<ReplicationController> = core(
  "replicationcontrollers",
  "ReplicationController",
  true,
);
export const persistentVolumes: Resource<PersistentVolume> = core(
  "persistentvolumes",
  "PersistentVolume",
  false,
);
export const persistentVolumeClaims: Resource<PersistentVolumeClaim> = core(
  "persistentvolumeclaims",
  "PersistentVolumeClaim",
  true,
);
export const deployments: Resource<Deployment> = grouped("apps", "deployments", "Deployment", true);
export const replicaSets: Resource<ReplicaSet> = grouped("apps", "replicasets", "ReplicaSet", true);
export const endpointSlices: Resource<EndpointSlice> = grouped(
  "discovery.k8s.io",
  "endpointslices",
  "EndpointSlice",
  true,
);
export const leases: Resource<Lease> = grouped("coordination.k8s.io", "leases", "Lease", true);
export const roles: Resource<Role> = grouped("rbac.authorization.k8s.io", "roles", "Role", true);
export const roleBindings: Resource<RoleBinding> = grouped(
  "rbac.authorization.k8s.io",
  "rolebindings",
  "RoleBinding",
  true,
);
export const clusterRoles: Resource<ClusterRole> = grouped(
  "rbac.authorization.k8s.io",
  "clusterroles",
  "ClusterRole",
  false,
);
export const clusterRoleBindings: Resource<ClusterRoleBinding> = grouped(
  "rbac.authorization.k8s.io",
  "clusterrolebindings",
  "ClusterRoleBinding",
  false,
);
export const runtimeClasses: Resource<RuntimeClass> = grouped(
  "node.k8s.io",
  "runtimeclasses",
  "RuntimeClass",
  false,
);
export const csiNodes: Resource<CSINode> = grouped("storage.k8s.io", "csinodes", "CSINode", false);
export const csiDrivers: Resource<CSIDriver> = grouped("storage.k8s.io", "csidrivers", "CSIDriver", false);
export const volumeAttachments: Resource<VolumeAttachment> = grouped(
  "storage.k8s.io",
  "volumeattachments",
  "VolumeAttachment",
  false,
);
export const certificateSigningRequests: Resource<CertificateSigningRequest> = grouped(
  "certificates.k8s.io",
  "certificatesigningrequests",
  "CertificateSigningRequest",
  false,
);

function core<T extends KubeObject>(plural: string, kind: string, namespaced: boolean): Resource<T> {
  return { group: "", version: "v1", plural, kind, namespaced };
}

function grouped<T extends KubeObject>(
  group: string,
  plural: string,
  kind: string,
  namespaced: boolean,
): Resource<T> {
  return { group, version: "v1", plural, kind, namespaced };
}
