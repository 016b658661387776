import type {
  ClusterRole,
  ClusterRoleBinding,
  Pod,
  PolicyRule,
  Role,
  RoleBinding,
} from "#api/generated/kubernetes.ts";
import { type KubeObject, keyOf, keyText } from "#api/meta.ts";
import type { Changed } from "#api/watch-cache.ts";
import t from "tap";
import type { Attributes, User } from "../model.ts";
import { authorizer } from "./authorizer.ts";
import { NodeGraph } from "./node-graph.ts";
import { ruleAllows } from "./plan/authorize-rbac.ts";
import { clusterRoleBindings, clusterRoles } from "./plan/bootstrap-roles.ts";
import { formatRule, uncoveredRules } from "./plan/covers-rule.ts";
import { describeAttributes } from "./plan/describe-attributes.ts";
import { RbacRules } from "./rbac-rules.ts";
import { reviewOwnRules } from "./reviews.ts";
import { Authenticator } from "./authenticator.ts";

/** A cache in memory that tells of its changes, as a WatchCache does. */
class FakeCache<T extends KubeObject> {
  readonly #all = new Map<string, T>();
  readonly #readers = new Set<Changed<T>>();
  get(key: string): T | undefined {
    return this.#all.get(key);
  }
  values(): Iterable<T> {
    return this.#all.values();
  }
  subscribe(changed: Changed<T>): () => void {
    this.#readers.add(changed);
    for (const [key, object] of this.#all) changed(key, object, undefined);
    return () => this.#readers.delete(changed);
  }
  put(object: T): void {
    const key = keyText(keyOf(object));
    const before = this.#all.get(key);
    this.#all.set(key, object);
    for (const changed of this.#readers) changed(key, object, before);
  }
  remove(key: string): void {
    const before = this.#all.get(key);
    this.#all.delete(key);
    for (const changed of this.#readers) changed(key, undefined, before);
  }
}

function world() {
  const sources = {
    roles: new FakeCache<Role>(),
    roleBindings: new FakeCache<RoleBinding>(),
    clusterRoles: new FakeCache<ClusterRole>(),
    clusterRoleBindings: new FakeCache<ClusterRoleBinding>(),
  };
  for (const role of clusterRoles) sources.clusterRoles.put(role);
  for (const binding of clusterRoleBindings) sources.clusterRoleBindings.put(binding);
  const rules = new RbacRules(sources);
  const pods = new FakeCache<Pod>();
  const graph = new NodeGraph(pods, new FakeCache());
  const authorize = authorizer(["Node", "RBAC"], { rules, graph });
  return { ...sources, pods, rules, authorize };
}

const alice: User = { name: "alice", groups: ["devs", "system:authenticated"] };
const node: User = { name: "system:node:n1", groups: ["system:nodes", "system:authenticated"] };
function ask(
  user: User,
  verb: string,
  resource: string,
  more: Partial<Attributes & { kind: "resource" }> = {},
): Attributes {
  const [plural = "", subresource = ""] = resource.split("/");
  return {
    kind: "resource",
    user,
    verb,
    group: "",
    version: "v1",
    resource: plural,
    subresource,
    namespace: "",
    name: "",
    ...more,
  };
}

const ruleCases: readonly { name: string; rule: PolicyRule; attributes: Attributes; allows: boolean }[] = [
  {
    name: "a verb, a group and a resource",
    rule: { verbs: ["get"], apiGroups: [""], resources: ["pods"] },
    attributes: ask(alice, "get", "pods"),
    allows: true,
  },
  {
    name: "a resource says nothing about its subresources",
    rule: { verbs: ["*"], apiGroups: [""], resources: ["pods"] },
    attributes: ask(alice, "get", "pods/log"),
    allows: false,
  },
  {
    name: "a subresource says nothing about the resource",
    rule: { verbs: ["*"], apiGroups: [""], resources: ["pods/log"] },
    attributes: ask(alice, "get", "pods"),
    allows: false,
  },
  {
    name: "a star before a subresource",
    rule: { verbs: ["*"], apiGroups: ["*"], resources: ["*/scale"] },
    attributes: ask(alice, "get", "replicationcontrollers/scale"),
    allows: true,
  },
  {
    name: "a star is subresources too",
    rule: { verbs: ["*"], apiGroups: ["*"], resources: ["*"] },
    attributes: ask(alice, "get", "pods/exec"),
    allows: true,
  },
  {
    name: "another group",
    rule: { verbs: ["get"], apiGroups: ["apps"], resources: ["pods"] },
    attributes: ask(alice, "get", "pods"),
    allows: false,
  },
  {
    name: "one name",
    rule: { verbs: ["get"], apiGroups: [""], resources: ["pods"], resourceNames: ["a"] },
    attributes: ask(alice, "get", "pods", { name: "a" }),
    allows: true,
  },
  {
    name: "another name",
    rule: { verbs: ["get"], apiGroups: [""], resources: ["pods"], resourceNames: ["a"] },
    attributes: ask(alice, "get", "pods", { name: "b" }),
    allows: false,
  },
  {
    name: "names never match a collection",
    rule: { verbs: ["list"], apiGroups: [""], resources: ["pods"], resourceNames: ["a"] },
    attributes: ask(alice, "list", "pods"),
    allows: false,
  },
  {
    name: "a path with a star",
    rule: { verbs: ["get"], nonResourceURLs: ["/healthz/*"] },
    attributes: { kind: "path", user: alice, verb: "get", path: "/healthz/ping" },
    allows: true,
  },
  {
    name: "a path without one",
    rule: { verbs: ["get"], nonResourceURLs: ["/healthz"] },
    attributes: { kind: "path", user: alice, verb: "get", path: "/healthz/ping" },
    allows: false,
  },
];
for (const { name, rule, attributes, allows } of ruleCases) {
  t.test(`rule: ${name} is ${allows ? "allowed" : "refused"}`, async (t) => {
    t.equal(ruleAllows(attributes, rule), allows);
  });
}

t.test(
  "a binding gives its role in its namespace, from the moment it is there until it is gone",
  async (t) => {
    const { roles, roleBindings, authorize } = world();
    const get = ask(alice, "get", "configmaps", { namespace: "d", name: "c" });
    t.notOk(authorize(get).allowed);
    roles.put({
      metadata: { name: "reader", namespace: "d" },
      rules: [{ verbs: ["get"], apiGroups: [""], resources: ["configmaps"] }],
    });
    roleBindings.put({
      metadata: { name: "devs", namespace: "d" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "reader" },
      subjects: [{ kind: "Group", name: "devs" }],
    });
    t.ok(authorize(get).allowed);
    t.notOk(authorize(ask(alice, "get", "configmaps", { namespace: "other", name: "c" })).allowed);
    t.notOk(
      authorize(ask({ name: "bob", groups: [] }, "get", "configmaps", { namespace: "d", name: "c" })).allowed,
    );
    roleBindings.remove("d/devs");
    t.notOk(authorize(get).allowed);
  },
);

t.test("a ServiceAccount is bound by its name, and view sums up what is labelled for it", async (t) => {
  const { clusterRoles: cluster, clusterRoleBindings: bindings, authorize } = world();
  const robot: User = { name: "system:serviceaccount:ci:robot", groups: [] };
  bindings.put({
    metadata: { name: "ci-view" },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
    subjects: [{ kind: "ServiceAccount", name: "robot", namespace: "ci" }],
  });
  t.ok(authorize(ask(robot, "list", "pods", { namespace: "x" })).allowed);
  t.notOk(authorize(ask(robot, "list", "secrets", { namespace: "x" })).allowed, "view shows no secrets");
  const widgets = ask(robot, "list", "widgets", { group: "example.com" });
  t.notOk(authorize(widgets).allowed);
  cluster.put({
    metadata: { name: "widgets", labels: { "rbac.authorization.k8s.io/aggregate-to-view": "true" } },
    rules: [{ verbs: ["list"], apiGroups: ["example.com"], resources: ["widgets"] }],
  });
  t.ok(authorize(widgets).allowed);
});

t.test("the cluster's own roles: everyone may ask what the API has, only masters may do all", async (t) => {
  const { authorize } = world();
  t.ok(authorize({ kind: "path", user: alice, verb: "get", path: "/apis/apps/v1" }).allowed);
  t.ok(
    authorize(ask(alice, "create", "selfsubjectaccessreviews", { group: "authorization.k8s.io" })).allowed,
  );
  t.notOk(authorize(ask(alice, "list", "nodes")).allowed);
  t.ok(authorize(ask({ name: "x", groups: ["system:masters"] }, "delete", "nodes")).allowed);
  t.ok(authorize(ask({ name: "system:kube-proxy", groups: [] }, "watch", "services")).allowed);
});

t.test("a node reads what its Pods refer to, and only while they do", async (t) => {
  const { pods, authorize } = world();
  const secret = ask(node, "get", "secrets", { namespace: "d", name: "s" });
  t.match(authorize(secret), {
    allowed: false,
    why: "no relationship found between node 'n1' and this object",
  });
  pods.put({
    metadata: { name: "web", namespace: "d" },
    spec: {
      nodeName: "n1",
      serviceAccountName: "robot",
      containers: [{ name: "c", envFrom: [{ secretRef: { name: "s" } }] }],
      volumes: [{ name: "v", projected: { sources: [{ configMap: { name: "kube-root-ca.crt" } }] } }],
    },
  });
  t.ok(authorize(secret).allowed);
  t.notOk(authorize(ask(node, "list", "secrets", { namespace: "d" })).allowed, "never all of a namespace");
  t.ok(authorize(ask(node, "watch", "configmaps", { namespace: "d", name: "kube-root-ca.crt" })).allowed);
  t.ok(authorize(ask(node, "create", "serviceaccounts/token", { namespace: "d", name: "robot" })).allowed);
  t.notOk(authorize(ask(node, "create", "serviceaccounts/token", { namespace: "d", name: "other" })).allowed);
  t.notOk(authorize({ ...secret, user: { ...node, name: "system:node:n2" } }).allowed);
  pods.remove("d/web");
  t.notOk(authorize(secret).allowed);
});

t.test("a node changes itself and its lease, not another's", async (t) => {
  const { authorize } = world();
  const lease = { group: "coordination.k8s.io", namespace: "kube-node-lease" };
  t.ok(authorize(ask(node, "patch", "nodes/status", { name: "n1" })).allowed);
  t.notOk(authorize(ask(node, "patch", "nodes/status", { name: "n2" })).allowed);
  t.notOk(authorize(ask(node, "delete", "nodes", { name: "n1" })).allowed);
  t.ok(authorize(ask(node, "update", "leases", { ...lease, name: "n1" })).allowed);
  t.notOk(authorize(ask(node, "update", "leases", { ...lease, name: "n2" })).allowed);
  t.ok(authorize(ask(node, "watch", "endpointslices", { group: "discovery.k8s.io" })).allowed);
  t.notOk(authorize(ask(node, "create", "pods/exec", { namespace: "d", name: "x" })).allowed);
});

t.test("nobody grants what they do not hold", async (t) => {
  const owned = [
    { verbs: ["get", "list"], apiGroups: [""], resources: ["pods"] },
    { verbs: ["watch"], apiGroups: [""], resources: ["pods"] },
  ];
  t.same(
    uncoveredRules([{ verbs: ["get", "list", "watch"], apiGroups: [""], resources: ["pods"] }], owned),
    [],
  );
  const missing = uncoveredRules([{ verbs: ["get", "delete"], apiGroups: [""], resources: ["pods"] }], owned);
  t.same(missing.map(formatRule), ['{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}']);
});

t.test("a refusal reads as people know it, and rules can be listed", async (t) => {
  const { rules, authorize } = world();
  t.equal(
    describeAttributes(ask(alice, "list", "pods", { namespace: "d" })),
    'User "alice" cannot list resource "pods" in API group "" in the namespace "d"',
  );
  const ports = {
    authorize,
    rulesOf: (user: User, namespace: string) => rules.of(user, namespace),
    authenticator: new Authenticator({ tokens: [], audiences: [] }),
    audiences: [],
  };
  const listed = reviewOwnRules({ spec: { namespace: "d" } }, alice, ports).status;
  t.equal(listed?.resourceRules.length, 2);
  t.ok(listed?.nonResourceRules.some((rule) => rule.nonResourceURLs?.includes("/version")));
});
