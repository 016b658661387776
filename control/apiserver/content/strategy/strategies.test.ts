import { isDeepStrictEqual } from "node:util";
import t from "tap";
import type { StoredObject, Strategy } from "../../../model.ts";
import { type Json, record } from "../json.ts";
import { resourceTable } from "../resources.ts";
import { strategicMergePatch } from "../patch/strategic-merge-patch.ts";

function strategy(kind: string): Strategy {
  const found = resourceTable().find((each) => each.kind === kind);
  if (found === undefined) throw new Error(`no kind ${kind}`);
  return found.strategy;
}
function make(kind: string, body: Json, metadata: Json = {}): StoredObject {
  const definition = resourceTable().find((each) => each.kind === kind);
  return {
    apiVersion: "v1",
    kind,
    ...body,
    metadata: { name: "x", ...(definition?.namespaced === true ? { namespace: "d" } : {}), ...metadata },
  };
}
/** What the engine does with a create. */
function create(object: StoredObject): StoredObject {
  const of = strategy(object.kind);
  return of.prepareCreate(of.defaults(object));
}
const messages = (object: StoredObject): readonly string[] =>
  strategy(object.kind)
    .validateCreate(create(object))
    .map((error) => `${error.field}: ${error.detail}`);
const changed = (before: StoredObject, patch: Json): { next: StoredObject; errors: readonly string[] } => {
  const of = strategy(before.kind);
  const patched = record(strategicMergePatch(before.kind, before, patch));
  const next = of.prepareUpdate(
    of.defaults({
      ...patched,
      apiVersion: before.apiVersion,
      kind: before.kind,
      metadata: { ...before.metadata, ...record(patched["metadata"]) },
    }),
    before,
  );
  return { next, errors: of.validateUpdate(next, before).map((error) => `${error.field}: ${error.detail}`) };
};
const container = { name: "c", image: "nginx" };
const pod = (spec: Json = {}, metadata: Json = {}) =>
  make("Pod", { spec: { containers: [container], ...spec } }, metadata);
const template = (labels: Json, spec: Json = {}) => ({
  metadata: { labels },
  spec: { containers: [container], ...spec },
});
const deployment = make("Deployment", {
  spec: { selector: { matchLabels: { app: "a" } }, template: template({ app: "a" }) },
});

t.test("defaults are idempotent for every kind that has some", async (t) => {
  const objects = [
    pod({
      volumes: [
        { name: "v" },
        { name: "p", projected: { sources: [{ serviceAccountToken: { path: "t" } }] } },
      ],
    }),
    deployment,
    make("Service", { spec: { ports: [{ port: 80 }] } }),
    make("Secret", { stringData: { a: "b" } }),
    make("Namespace", {}),
    make("Job", { spec: { template: template({}, { restartPolicy: "Never" }) } }, { uid: "u1" }),
    make("StatefulSet", { spec: { selector: { matchLabels: { a: "b" } }, template: template({ a: "b" }) } }),
    make("ReplicationController", { spec: { template: template({ app: "a" }) } }),
    make("RoleBinding", { roleRef: { kind: "Role", name: "r" }, subjects: [{ kind: "User", name: "u" }] }),
    make("LimitRange", { spec: { limits: [{ type: "Container", max: { cpu: "1" } }] } }),
  ];
  for (const object of objects) {
    const once = create(object);
    t.same(strategy(object.kind).defaults(once), once, object.kind);
    t.same(messages(object), [], `${object.kind} is valid`);
  }
});

t.test("a pod gets what Kubernetes fills in", async (t) => {
  const made = create(
    pod({
      containers: [
        {
          ...container,
          ports: [{ containerPort: 80 }],
          livenessProbe: { httpGet: { port: 80 } },
          resources: { limits: { cpu: "1", memory: "1Gi" } },
        },
        { name: "d", image: "host:5000/x:v1", resources: { limits: { cpu: "1", memory: "1Gi" } } },
      ],
      volumes: [{ name: "v", configMap: { name: "m" } }, { name: "e" }],
    }),
  );
  t.match(made, {
    metadata: { generation: 1 },
    spec: {
      restartPolicy: "Always",
      dnsPolicy: "ClusterFirst",
      schedulerName: "default-scheduler",
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
      securityContext: {},
      containers: [
        {
          imagePullPolicy: "Always",
          terminationMessagePath: "/dev/termination-log",
          ports: [{ protocol: "TCP" }],
          livenessProbe: {
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
            httpGet: { path: "/", scheme: "HTTP" },
          },
          resources: { requests: { cpu: "1", memory: "1Gi" } },
        },
        { imagePullPolicy: "IfNotPresent" },
      ],
      volumes: [{ configMap: { defaultMode: 420 } }, { emptyDir: {} }],
    },
    status: { phase: "Pending", qosClass: "Guaranteed" },
  });
});

t.test("bad pods are told field by field", async (t) => {
  t.same(messages(pod({ containers: [] })), ["spec.containers: Required value"]);
  t.same(messages(pod({ containers: [{ name: "c" }] })), ["spec.containers[0].image: Required value"]);
  t.match(messages(pod({ containers: [{ ...container, name: "Bad" }] })), [
    /^spec\.containers\[0\]\.name: Invalid value: "Bad": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character \(e\.g\. 'my-name',  or '123-abc', regex used for validation is/,
  ]);
  t.same(messages(pod({ containers: [container, container] })), [
    'spec.containers[1].name: Duplicate value: "c"',
  ]);
  t.same(messages(pod({ restartPolicy: "Sometimes" })), [
    'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
  ]);
  t.same(messages(pod({ containers: [{ ...container, ports: [{ containerPort: 70000 }] }] })), [
    "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
  ]);
  t.same(messages(pod({ containers: [{ ...container, volumeMounts: [{ name: "v", mountPath: "/x" }] }] })), [
    'spec.containers[0].volumeMounts[0].name: Not found: "v"',
  ]);
  t.same(messages(pod({ containers: [{ ...container, livenessProbe: {} }] })), [
    "spec.containers[0].livenessProbe: Required value: must specify a handler type",
  ]);
  t.same(
    messages(
      pod({ containers: [{ ...container, resources: { requests: { cpu: "2" }, limits: { cpu: "1" } } }] }),
    ),
    [
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
  );
  t.match(messages(pod({}, { name: "Bad_Name" })), [
    /^metadata\.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain/,
  ]);
  t.match(messages(pod({}, { labels: { "a b": "c" } })), [
    /^metadata\.labels: Invalid value: "a b": name part must consist of/,
  ]);
  t.match(messages(pod({}, { name: "", generateName: "web-" })), [], "a prefix is a name to come");
});

t.test("a pod's spec is its contract: image may change, the rest may not", async (t) => {
  const before = create(pod({ containers: [{ ...container, command: ["a"] }] }));
  const image = changed(before, { spec: { containers: [{ name: "c", image: "nginx:2" }] } });
  t.same(image.errors, []);
  t.equal(image.next.metadata.generation, 2);
  t.match(changed(before, { spec: { hostname: "h" } }).errors, [
    /^spec: Forbidden: pod updates may not change fields other than/,
  ]);
  t.same(changed(before, { spec: { tolerations: [{ key: "a", operator: "Exists" }] } }).errors, []);
  const label = changed(before, { metadata: { labels: { a: "b" } } });
  t.same(label.errors, []);
  t.equal(label.next.metadata.generation, 1, "labels are no spec");
});

t.test("spec and status have each their own way in", async (t) => {
  const of = strategy("Pod");
  const before = create(pod());
  const next = {
    ...before,
    spec: { containers: [] },
    status: { phase: "Running" },
    metadata: { ...before.metadata, annotations: { a: "b" } },
  };
  const status = of.prepareStatusUpdate(next, before);
  t.same(status["spec"], before["spec"]);
  t.same(status["status"], { phase: "Running" });
  t.same(status.metadata.annotations, { a: "b" });
  t.same(of.prepareUpdate(next, before)["status"], before["status"]);
  t.same(strategy("Node").prepareCreate(make("Node", { status: { phase: "x" } }))["status"], { phase: "x" });
});

t.test("a status or a label can change under a spec that new rules refuse", async (t) => {
  const of = strategy("Pod");
  const old = { ...create(pod()), spec: { containers: [{ name: "Old_Name", image: "x" }] } };
  const next = of.prepareStatusUpdate({ ...old, status: { phase: "Running" } }, old);
  t.same(of.validateUpdate(next, old), []);
  t.not(of.validateCreate(next).length, 0);
});

t.test("pods are given time to end, unless nobody runs them", async (t) => {
  const grace = (spec: Json, status: Json = {}) =>
    strategy("Pod").gracePeriodSeconds({ ...create(pod(spec)), status });
  t.equal(grace({ nodeName: "n" }), 30);
  t.equal(grace({ nodeName: "n", terminationGracePeriodSeconds: 0 }), 0);
  t.equal(grace({}), 0);
  t.equal(grace({ nodeName: "n" }, { phase: "Succeeded" }), 0);
});

t.test("deployments: defaults, selectors and generation", async (t) => {
  const made = create(deployment);
  t.match(made["spec"], {
    replicas: 1,
    revisionHistoryLimit: 10,
    progressDeadlineSeconds: 600,
    strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: "25%", maxUnavailable: "25%" } },
  });
  t.equal(changed(made, { spec: { replicas: 3 } }).next.metadata.generation, 2);
  t.equal(changed(made, { metadata: { annotations: { a: "b" } } }).next.metadata.generation, 1);
  t.match(
    changed(made, {
      spec: { selector: { matchLabels: { app: "b" } }, template: { metadata: { labels: { app: "b" } } } },
    }).errors,
    [/^spec\.selector: Invalid value: .*: field is immutable$/],
  );
  t.match(
    messages(
      make("Deployment", {
        spec: { selector: { matchLabels: { app: "b" } }, template: template({ app: "a" }) },
      }),
    ),
    [
      /^spec\.template\.metadata\.labels: Invalid value: \{"app":"a"\}: `selector` does not match template `labels`$/,
    ],
  );
  t.match(messages(make("Deployment", { spec: {} })), [
    /^spec\.selector: Required value/,
    /containers: Required value/,
    /restartPolicy/,
  ]);
  t.match(
    messages(
      make("Deployment", {
        spec: {
          selector: { matchLabels: { app: "a" } },
          template: template({ app: "a" }, { restartPolicy: "Never" }),
        },
      }),
    ),
    ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
  );
  const bad = make("Deployment", {
    spec: { selector: { matchExpressions: [{ key: "a" }] }, template: template({ app: "a" }) },
  });
  t.match(messages(bad), [/operator/], "a selector without an operator is an error, not a crash");
});

t.test("services keep what was allocated, and are told what is wrong", async (t) => {
  const made = create(make("Service", { spec: { ports: [{ port: 80 }], selector: { app: "a" } } }));
  t.match(made["spec"], {
    type: "ClusterIP",
    sessionAffinity: "None",
    internalTrafficPolicy: "Cluster",
    ports: [{ targetPort: 80, protocol: "TCP" }],
  });
  const stored = {
    ...made,
    spec: {
      ...record(made["spec"]),
      type: "NodePort",
      clusterIP: "10.96.0.9",
      clusterIPs: ["10.96.0.9"],
      ports: [{ port: 80, protocol: "TCP", targetPort: 80, nodePort: 30001 }],
    },
  };
  const of = strategy("Service");
  const next = of.prepareUpdate(
    of.defaults(make("Service", { spec: { type: "NodePort", ports: [{ port: 80, targetPort: 8080 }] } })),
    stored,
  );
  t.match(next["spec"], {
    clusterIP: "10.96.0.9",
    clusterIPs: ["10.96.0.9"],
    ports: [{ nodePort: 30001, targetPort: 8080 }],
  });
  t.same(of.validateUpdate(next, stored), []);
  t.match(changed(stored, { spec: { clusterIP: "10.96.0.10" } }).errors, [
    /^spec\.clusterIP: Invalid value: "10\.96\.0\.10": field is immutable/,
  ]);
  t.same(messages(make("Service", { spec: {} })), ["spec.ports: Required value"]);
  t.same(messages(make("Service", { spec: { clusterIP: "None" } })), [], "headless needs no port");
  t.same(messages(make("Service", { spec: { ports: [{ port: 80 }, { port: 81 }] } })), [
    "spec.ports[0].name: Required value",
    "spec.ports[1].name: Required value",
  ]);
  t.same(messages(make("Service", { spec: { ports: [{ port: 80, nodePort: 30000 }] } })), [
    "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
  ]);
  t.match(messages(make("Service", { spec: { ports: [{ port: 1 }] } }, { name: "1web" })), [
    /a DNS-1035 label must consist of/,
  ]);
});

t.test("secrets take stringData in, config maps can be frozen", async (t) => {
  const secret = create(make("Secret", { data: { a: "eA==" }, stringData: { b: "hello" } }));
  t.same(secret["data"], { a: "eA==", b: "aGVsbG8=" });
  t.notOk("stringData" in secret);
  t.equal(secret["type"], "Opaque");
  t.same(messages(make("Secret", { type: "kubernetes.io/tls", data: {} })), [
    "data[tls.crt]: Required value",
    "data[tls.key]: Required value",
  ]);
  t.match(messages(make("ConfigMap", { data: { "a/b": "" } })), [
    /^data\[a\/b\]: Invalid value: "a\/b": a valid config key must consist/,
  ]);
  const frozen = create(make("ConfigMap", { data: { a: "1" }, immutable: true }));
  t.same(changed(frozen, { data: { a: "2" } }).errors, [
    "data: Forbidden: field is immutable when `immutable` is set",
  ]);
});

t.test("namespaces carry their name as a label and their finalizer", async (t) => {
  const made = create(make("Namespace", {}));
  t.match(made, {
    metadata: { labels: { "kubernetes.io/metadata.name": "x" } },
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  });
  t.match(changed(made, { spec: { finalizers: null } }).next["spec"], { finalizers: ["kubernetes"] });
});

t.test("the role of a binding stays; rules need verbs", async (t) => {
  const made = create(
    make("RoleBinding", { roleRef: { kind: "Role", name: "r" }, subjects: [{ kind: "User", name: "u" }] }),
  );
  t.match(made, {
    roleRef: { apiGroup: "rbac.authorization.k8s.io" },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io" }],
  });
  t.match(changed(made, { roleRef: { name: "other" } }).errors, [
    /^roleRef: Invalid value: .*cannot change roleRef/,
  ]);
  t.same(messages(make("Role", { rules: [{ apiGroups: [""], resources: ["pods"] }] })), [
    "rules[0].verbs: Required value: verbs must contain at least one value",
  ]);
  t.same(messages(make("Role", { rules: [] }, { name: "system:node:x" })), [], "any path segment is a name");
});

t.test("finalizers can be taken off a dying object, not put on", async (t) => {
  const dying = {
    ...create(pod()),
    metadata: { ...create(pod()).metadata, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: ["a/b"] },
  };
  t.match(changed(dying, { metadata: { finalizers: ["c/d"] } }).errors, [
    'metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}',
  ]);
});

t.test("jobs select their pods by uid, and keep their template", async (t) => {
  const job = create(
    make("Job", { spec: { template: template({}, { restartPolicy: "Never" }) } }, { uid: "u1" }),
  );
  t.match(job["spec"], {
    backoffLimit: 6,
    completions: 1,
    selector: { matchLabels: { "batch.kubernetes.io/controller-uid": "u1" } },
    template: { metadata: { labels: { "job-name": "x" } } },
  });
  t.match(
    changed(job, { spec: { template: { spec: { containers: [{ name: "c", image: "other" }] } } } }).errors,
    [/^spec\.template: .*field is immutable/],
  );
});

t.test("every kind survives an empty object without throwing", async (t) => {
  for (const definition of resourceTable()) {
    const empty: StoredObject = { apiVersion: "x", kind: definition.kind, metadata: { name: "" } };
    const { strategy: of } = definition;
    const made = of.prepareCreate(of.defaults(empty));
    t.ok(of.validateCreate(made).length > 0, `${definition.kind} needs a name`);
    const updated = of.prepareUpdate(of.defaults(empty), made);
    of.validateUpdate(updated, made);
    // A member that is undefined is no JSON: a write that changes nothing would look like a change.
    for (const each of [made, updated])
      t.ok(isDeepStrictEqual(JSON.parse(JSON.stringify(each)), each), definition.kind);
    of.prepareStatusUpdate(empty, made);
    of.gracePeriodSeconds(made);
  }
});
