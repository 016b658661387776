import type {
  ClusterRole,
  ClusterRoleBinding,
  PolicyRule,
  RbacV1Subject,
  Role,
  RoleBinding,
} from "#api/generated/kubernetes.ts";

const read = ["get", "list", "watch"];
const write = ["create", "delete", "deletecollection", "patch", "update"];
const group = "rbac.authorization.k8s.io";
const bootstrapping = {
  labels: { "kubernetes.io/bootstrapping": "rbac-defaults" },
  annotations: { "rbac.authorization.kubernetes.io/autoupdate": "true" },
};

/** The four user-facing roles are sums: a role with one of these labels adds to them. */
const aggregate = (to: "admin" | "edit" | "view"): Readonly<Record<string, string>> => ({
  [`rbac.authorization.k8s.io/aggregate-to-${to}`]: "true",
});

const rule = (
  verbs: readonly string[],
  apiGroups: readonly string[],
  resources: readonly string[],
): PolicyRule => ({
  verbs,
  apiGroups,
  resources,
});

const viewRules: readonly PolicyRule[] = [
  rule(
    read,
    [""],
    [
      "configmaps",
      "endpoints",
      "persistentvolumeclaims",
      "persistentvolumeclaims/status",
      "pods",
      "replicationcontrollers",
      "replicationcontrollers/scale",
      "serviceaccounts",
      "services",
      "services/status",
    ],
  ),
  rule(
    read,
    [""],
    [
      "bindings",
      "events",
      "limitranges",
      "namespaces/status",
      "pods/log",
      "pods/status",
      "replicationcontrollers/status",
      "resourcequotas",
      "resourcequotas/status",
    ],
  ),
  rule(read, [""], ["namespaces"]),
  rule(read, ["discovery.k8s.io"], ["endpointslices"]),
  rule(
    read,
    ["apps"],
    [
      "controllerrevisions",
      "daemonsets",
      "daemonsets/status",
      "deployments",
      "deployments/scale",
      "deployments/status",
      "replicasets",
      "replicasets/scale",
      "replicasets/status",
      "statefulsets",
      "statefulsets/scale",
      "statefulsets/status",
    ],
  ),
  rule(read, ["autoscaling"], ["horizontalpodautoscalers", "horizontalpodautoscalers/status"]),
  rule(read, ["batch"], ["cronjobs", "cronjobs/status", "jobs", "jobs/status"]),
  rule(read, ["policy"], ["poddisruptionbudgets", "poddisruptionbudgets/status"]),
  rule(read, ["networking.k8s.io"], ["ingresses", "ingresses/status", "networkpolicies"]),
];

const editRules: readonly PolicyRule[] = [
  rule(
    read,
    [""],
    ["pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"],
  ),
  rule(["impersonate"], [""], ["serviceaccounts"]),
  rule(write, [""], ["pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"]),
  rule(["create"], [""], ["pods/eviction"]),
  rule(
    write,
    [""],
    [
      "configmaps",
      "events",
      "persistentvolumeclaims",
      "replicationcontrollers",
      "replicationcontrollers/scale",
      "secrets",
      "serviceaccounts",
      "services",
      "services/proxy",
    ],
  ),
  rule(["create"], [""], ["serviceaccounts/token"]),
  rule(
    write,
    ["apps"],
    [
      "daemonsets",
      "deployments",
      "deployments/rollback",
      "deployments/scale",
      "replicasets",
      "replicasets/scale",
      "statefulsets",
      "statefulsets/scale",
    ],
  ),
  rule(write, ["autoscaling"], ["horizontalpodautoscalers"]),
  rule(write, ["batch"], ["cronjobs", "jobs"]),
  rule(write, ["policy"], ["poddisruptionbudgets"]),
  rule(write, ["networking.k8s.io"], ["ingresses", "networkpolicies"]),
  rule([...read, ...write], ["coordination.k8s.io"], ["leases"]),
];

const adminRules: readonly PolicyRule[] = [
  rule(["create"], ["authorization.k8s.io"], ["localsubjectaccessreviews"]),
  rule([...read, ...write], [group], ["rolebindings", "roles"]),
];

const events = rule(["create", "patch", "update"], ["", "events.k8s.io"], ["events"]);
const leases = rule(["create", "get", "list", "update", "watch"], ["coordination.k8s.io"], ["leases"]);
const reviews = rule(["create"], ["authentication.k8s.io"], ["tokenreviews"]);
const accessReviews = rule(["create"], ["authorization.k8s.io"], ["subjectaccessreviews"]);

/** The ClusterRoles that a cluster starts with, named as upstream names them. */
export const clusterRoles: readonly ClusterRole[] = [
  role("cluster-admin", [
    { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
    { verbs: ["*"], nonResourceURLs: ["*"] },
  ]),
  summed("admin", [...adminRules, ...editRules, ...viewRules], ["admin"]),
  summed("edit", [...editRules, ...viewRules], ["edit"], aggregate("admin")),
  summed("view", viewRules, ["view"], aggregate("edit")),
  role("system:aggregate-to-admin", adminRules, aggregate("admin")),
  role("system:aggregate-to-edit", editRules, aggregate("edit")),
  role("system:aggregate-to-view", viewRules, aggregate("view")),
  role("system:discovery", [
    {
      verbs: ["get"],
      nonResourceURLs: [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
      ],
    },
  ]),
  role("system:basic-user", [
    rule(["create"], ["authorization.k8s.io"], ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    rule(["create"], ["authentication.k8s.io"], ["selfsubjectreviews"]),
  ]),
  role("system:public-info-viewer", [
    { verbs: ["get"], nonResourceURLs: ["/healthz", "/livez", "/readyz", "/version", "/version/"] },
  ]),
  role("system:monitoring", [
    {
      verbs: ["get"],
      nonResourceURLs: [
        "/healthz",
        "/healthz/*",
        "/livez",
        "/livez/*",
        "/metrics",
        "/metrics/slis",
        "/readyz",
        "/readyz/*",
      ],
    },
  ]),
  role("system:service-account-issuer-discovery", [
    {
      verbs: ["get"],
      nonResourceURLs: [
        "/.well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "/openid/v1/jwks",
        "/openid/v1/jwks/",
      ],
    },
  ]),
  role("system:auth-delegator", [reviews, accessReviews]),
  role("system:node-proxier", [
    rule(["list", "watch"], [""], ["services", "endpoints"]),
    rule(read, [""], ["nodes"]),
    rule(["list", "watch"], ["discovery.k8s.io"], ["endpointslices"]),
    rule(["list", "watch"], ["networking.k8s.io"], ["servicecidrs"]),
    events,
  ]),
  role("system:node-bootstrapper", [
    rule(["create", "get", "list", "watch"], ["certificates.k8s.io"], ["certificatesigningrequests"]),
  ]),
  role("system:kubelet-api-admin", [
    rule(["get", "list", "watch"], [""], ["nodes"]),
    rule(["proxy"], [""], ["nodes"]),
    rule(
      ["*"],
      [""],
      [
        "nodes/log",
        "nodes/metrics",
        "nodes/proxy",
        "nodes/stats",
        "nodes/configz",
        "nodes/healthz",
        "nodes/pods",
      ],
    ),
  ]),
  role("system:kube-scheduler", [
    events,
    leases,
    rule(read, [""], ["nodes", "namespaces", "persistentvolumes", "replicationcontrollers", "services"]),
    rule(["delete", ...read], [""], ["pods"]),
    rule(["create"], [""], ["bindings", "pods/binding"]),
    rule(["patch", "update"], [""], ["pods/status"]),
    rule(read, ["apps"], ["replicasets", "statefulsets"]),
    rule([...read, "update", "patch"], [""], ["persistentvolumeclaims"]),
    rule(
      read,
      ["storage.k8s.io"],
      ["csidrivers", "csinodes", "csistoragecapacities", "storageclasses", "volumeattachments"],
    ),
    rule(read, ["policy"], ["poddisruptionbudgets"]),
    reviews,
    accessReviews,
  ]),
  role("system:kube-controller-manager", [
    events,
    leases,
    rule(["create"], [""], ["secrets", "serviceaccounts", "serviceaccounts/token"]),
    rule(["delete"], [""], ["secrets"]),
    rule(["get"], [""], ["configmaps", "namespaces", "secrets", "serviceaccounts"]),
    rule(["update"], [""], ["secrets", "serviceaccounts"]),
    rule(["list", "watch"], ["*"], ["*"]),
    reviews,
    accessReviews,
  ]),
  role("system:node", []),
  role("system:kube-dns", [rule(["list", "watch"], [""], ["endpoints", "services"])]),
];

/** The bindings that go with them. */
export const clusterRoleBindings: readonly ClusterRoleBinding[] = [
  bind("cluster-admin", [subject("Group", "system:masters")]),
  bind("system:discovery", [subject("Group", "system:authenticated")]),
  bind("system:basic-user", [subject("Group", "system:authenticated")]),
  bind("system:public-info-viewer", [
    subject("Group", "system:authenticated"),
    subject("Group", "system:unauthenticated"),
  ]),
  bind("system:monitoring", [subject("Group", "system:monitoring")]),
  bind("system:service-account-issuer-discovery", [subject("Group", "system:serviceaccounts")]),
  bind("system:node-proxier", [subject("User", "system:kube-proxy")]),
  bind("system:kube-scheduler", [subject("User", "system:kube-scheduler")]),
  bind("system:kube-controller-manager", [subject("User", "system:kube-controller-manager")]),
  bind("system:node", []),
];

/** Roles within namespaces, for programs that read the front proxy's settings. */
export const roles: readonly Role[] = [
  {
    metadata: {
      ...bootstrapping,
      name: "extension-apiserver-authentication-reader",
      namespace: "kube-system",
    },
    rules: [{ ...rule(read, [""], ["configmaps"]), resourceNames: ["extension-apiserver-authentication"] }],
  },
];

/** No bindings within namespaces are needed yet. */
export const roleBindings: readonly RoleBinding[] = [];

function role(
  name: string,
  rules: readonly PolicyRule[],
  labels: Readonly<Record<string, string>> = {},
): ClusterRole {
  return { metadata: { ...bootstrapping, name, labels: { ...bootstrapping.labels, ...labels } }, rules };
}

function summed(
  name: string,
  rules: readonly PolicyRule[],
  of: readonly ("admin" | "edit" | "view")[],
  labels: Readonly<Record<string, string>> = {},
): ClusterRole {
  return {
    ...role(name, rules, labels),
    aggregationRule: { clusterRoleSelectors: of.map((to) => ({ matchLabels: aggregate(to) })) },
  };
}

function bind(name: string, subjects: readonly RbacV1Subject[]): ClusterRoleBinding {
  return {
    metadata: { ...bootstrapping, name },
    roleRef: { apiGroup: group, kind: "ClusterRole", name },
    ...(subjects.length === 0 ? {} : { subjects }),
  };
}

function subject(kind: "User" | "Group", name: string): RbacV1Subject {
  return { apiGroup: group, kind, name };
}
