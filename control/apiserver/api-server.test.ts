import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { testApi } from "./test-api.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";
const pods = "/api/v1/namespaces/default/pods";
const configMap = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data: { x: "1" },
  ...more,
});
const pod = (name: string, more: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, ...more },
  spec: { containers: [{ name: "c", image: "busybox" }] },
});
const metadataOf = (json: unknown) =>
  (json as { metadata: Readonly<Record<string, unknown>> }).metadata as {
    readonly [field: string]: unknown;
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
const items = (json: unknown) => (json as { items: readonly { metadata: { name: string } }[] }).items;
const names = (json: unknown) => items(json).map(({ metadata }) => metadata.name);

t.test("an object that is created gets its server's metadata and can be read back", async (t) => {
  await using server = await testApi();
  const created = await server.ask("POST", configMaps, configMap("a"));
  t.equal(created.status, 201);
  const metadata = metadataOf(created.json);
  t.match(metadata, { name: "a", namespace: "default", creationTimestamp: "2026-01-01T00:00:00Z" });
  t.match(metadata.uid, /^[0-9a-f-]{36}$/);
  t.match(metadata.resourceVersion, /^\d+$/);
  const read = await server.ask("GET", `${configMaps}/a`);
  t.same(read.json, created.json);
  t.ok(read.headers["audit-id"]);
  const again = await server.ask("POST", configMaps, configMap("a"));
  t.equal(again.status, 409);
  t.match(again.json, { kind: "Status", reason: "AlreadyExists", message: 'configmaps "a" already exists' });
});

t.test("generateName makes a name of the base and five letters", async (t) => {
  await using server = await testApi();
  const made = await server.ask("POST", configMaps, { ...configMap(""), metadata: { generateName: "job-" } });
  t.match(metadataOf(made.json).name, /^job-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
  const neither = await server.ask("POST", configMaps, { ...configMap(""), metadata: {} });
  t.equal(neither.status, 422);
  t.match(neither.json["message"], /metadata\.name: Required value: name or generateName is required/);
});

t.test("a list has the store's revision, and selectors and pages choose from it", async (t) => {
  await using server = await testApi();
  for (const name of ["d", "b", "a", "c"])
    await server.ask("POST", configMaps, {
      ...configMap(name),
      metadata: { name, labels: { odd: String("ac".includes(name)) } },
    });
  const last = await server.ask("POST", "/api/v1/namespaces", {
    kind: "Namespace",
    apiVersion: "v1",
    metadata: { name: "x" },
  });
  const all = await server.ask("GET", configMaps);
  t.equal(metadataOf(all.json).resourceVersion, metadataOf(last.json).resourceVersion);
  t.same(names(all.json), ["a", "b", "c", "d"]);
  t.same(names((await server.ask("GET", `${configMaps}?labelSelector=odd%3Dtrue`)).json), ["a", "c"]);
  t.same(names((await server.ask("GET", `${configMaps}?fieldSelector=metadata.name%21%3Da`)).json), [
    "b",
    "c",
    "d",
  ]);
  const first = await server.ask("GET", `${configMaps}?limit=3`);
  t.same(names(first.json), ["a", "b", "c"]);
  t.equal(metadataOf(first.json)["remainingItemCount"], 1);
  await server.ask("POST", configMaps, configMap("cc"));
  await server.ask("DELETE", `${configMaps}/d`);
  const token = String(metadataOf(first.json)["continue"]);
  const second = await server.ask("GET", `${configMaps}?limit=3&continue=${token}`);
  t.same(names(second.json), ["d"], "as it was when the first page was read");
  t.equal(metadataOf(second.json).resourceVersion, metadataOf(first.json).resourceVersion);
  t.equal(metadataOf(second.json)["continue"], undefined);
});

t.test("a continue token that outlived its history offers to go on with what is there", async (t) => {
  await using server = await testApi();
  for (const name of ["a", "b", "c"]) await server.ask("POST", configMaps, configMap(name));
  const first = await server.ask("GET", `${configMaps}?limit=1`);
  await server.ask("DELETE", `${configMaps}/b`);
  const { store } = server.api.engine.ports;
  await store.compact(await store.revision(server.signal), server.signal);
  const token = String(metadataOf(first.json)["continue"]);
  const late = await server.ask("GET", `${configMaps}?limit=1&continue=${token}`);
  t.equal(late.status, 410);
  t.match(late.json, { reason: "Expired" });
  const rest = await server.ask("GET", `${configMaps}?continue=${String(metadataOf(late.json)["continue"])}`);
  t.same(names(rest.json), ["c"]);
});

t.test("an update needs the newest revision when it names one", async (t) => {
  await using server = await testApi();
  const created = (await server.ask("POST", configMaps, configMap("a"))).json;
  const next = { ...created, data: { x: "2" } };
  const updated = await server.ask("PUT", `${configMaps}/a`, next);
  t.equal(updated.status, 200);
  t.equal(metadataOf(updated.json).uid, metadataOf(created).uid);
  const stale = await server.ask("PUT", `${configMaps}/a`, next);
  t.equal(stale.status, 409);
  t.equal(
    stale.json["message"],
    'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again',
  );
  const whatever = await server.ask("PUT", `${configMaps}/a`, configMap("a", { data: { x: "3" } }));
  t.equal(whatever.status, 200, "without a revision whatever is there is replaced");
  const same = await server.ask("PUT", `${configMaps}/a`, configMap("a", { data: { x: "3" } }));
  t.equal(
    metadataOf(same.json).resourceVersion,
    metadataOf(whatever.json).resourceVersion,
    "no change, no write",
  );
  const other = await server.ask("PUT", `${configMaps}/a`, {
    ...configMap("a"),
    metadata: { name: "a", uid: "nope" },
  });
  t.equal(other.status, 409);
  t.match(other.json["message"], /UID in precondition: nope/);
});

t.test("the three patches change what they say, and concurrent ones all arrive", async (t) => {
  await using server = await testApi();
  await server.ask("POST", configMaps, configMap("a"));
  const merge = await server.ask(
    "PATCH",
    `${configMaps}/a`,
    { data: { y: "2", x: null } },
    { "content-type": "application/merge-patch+json" },
  );
  t.same(merge.json["data"], { y: "2" });
  const json = await server.ask("PATCH", `${configMaps}/a`, [{ op: "add", path: "/data/z", value: "3" }], {
    "content-type": "application/json-patch+json",
  });
  t.same(json.json["data"], { y: "2", z: "3" });
  await Promise.all(
    Array.from({ length: 8 }, (_, at) =>
      server.ask(
        "PATCH",
        `${configMaps}/a`,
        { data: { [`k${at}`]: "v" } },
        { "content-type": "application/strategic-merge-patch+json" },
      ),
    ),
  );
  const read = await server.ask("GET", `${configMaps}/a`);
  t.equal(Object.keys(read.json["data"] as object).length, 10);
  const stale = await server.ask(
    "PATCH",
    `${configMaps}/a`,
    { metadata: { resourceVersion: "2" }, data: { q: "1" } },
    { "content-type": "application/merge-patch+json" },
  );
  t.equal(stale.status, 409);
});

t.test("dryRun=All shows what would be and stores nothing", async (t) => {
  await using server = await testApi();
  const dry = await server.ask("POST", `${configMaps}?dryRun=All`, configMap("a"));
  t.equal(dry.status, 201);
  t.match(metadataOf(dry.json).uid, /-/);
  t.equal((await server.ask("GET", `${configMaps}/a`)).status, 404);
  await server.ask("POST", configMaps, configMap("a"));
  const patched = await server.ask(
    "PATCH",
    `${configMaps}/a?dryRun=All`,
    { data: { x: "9" } },
    { "content-type": "application/merge-patch+json" },
  );
  t.same(patched.json["data"], { x: "9" });
  t.equal((await server.ask("DELETE", `${configMaps}/a?dryRun=All`)).status, 200);
  t.same((await server.ask("GET", `${configMaps}/a`)).json["data"], { x: "1" });
});

t.test("finalizers keep an object until the last one is removed", async (t) => {
  await using server = await testApi();
  await server.ask("POST", configMaps, {
    ...configMap("a"),
    metadata: { name: "a", finalizers: ["example.com/x"] },
  });
  const deleted = await server.ask("DELETE", `${configMaps}/a`);
  t.equal(deleted.status, 200);
  t.match(metadataOf(deleted.json), {
    deletionTimestamp: "2026-01-01T00:00:00Z",
    deletionGracePeriodSeconds: 0,
  });
  const more = await server.ask(
    "PATCH",
    `${configMaps}/a`,
    { metadata: { finalizers: ["example.com/x", "example.com/y"] } },
    { "content-type": "application/merge-patch+json" },
  );
  t.equal(more.status, 422);
  t.match(more.json["message"], /no new finalizers can be added if the object is being deleted/);
  const last = await server.ask(
    "PATCH",
    `${configMaps}/a`,
    { metadata: { finalizers: null } },
    { "content-type": "application/merge-patch+json" },
  );
  t.equal(last.status, 200);
  t.equal((await server.ask("GET", `${configMaps}/a`)).status, 404);
});

t.test("a null in a Pod is a field that is absent, for every kind of write", async (t) => {
  await using server = await testApi();
  const nulls = { priority: null, nodeName: null, tolerations: null, securityContext: null };
  const containers = [{ name: "c", image: "i", env: null, resources: null, livenessProbe: null }];
  const sent = {
    ...pod("a"),
    metadata: { name: "a", creationTimestamp: null, labels: null },
    spec: { containers, ...nulls },
    status: null,
  };
  const created = await server.ask("POST", `${pods}?fieldValidation=Strict`, sent);
  t.equal(created.status, 201, JSON.stringify(created.json["message"]));
  t.notMatch(JSON.stringify(created.json), /null/);
  const replaced = await server.ask("PUT", `${pods}/a`, {
    ...created.json,
    metadata: { ...metadataOf(created.json), annotations: null },
  });
  t.equal(replaced.status, 200, JSON.stringify(replaced.json["message"]));
  const patched = await server.ask(
    "PATCH",
    `${pods}/a`,
    [{ op: "add", path: "/spec/priority", value: null }],
    {
      "content-type": "application/json-patch+json",
    },
  );
  t.equal(patched.status, 200, JSON.stringify(patched.json["message"]));
  t.notMatch(JSON.stringify(patched.json), /null/);
});

t.test("propagation policies become finalizers, and preconditions hold", async (t) => {
  await using server = await testApi();
  const created = await server.ask("POST", configMaps, configMap("a"));
  const wrong = await server.ask("DELETE", `${configMaps}/a`, { preconditions: { uid: "other" } });
  t.equal(wrong.status, 409);
  const { uid } = metadataOf(created.json);
  const foreground = await server.ask("DELETE", `${configMaps}/a`, {
    propagationPolicy: "Foreground",
    preconditions: { uid },
  });
  t.same(metadataOf(foreground.json)["finalizers"], ["foregroundDeletion"]);
  await server.ask("POST", configMaps, configMap("b"));
  const plain = await server.ask("DELETE", `${configMaps}/b`, { propagationPolicy: "Background" });
  t.match(plain.json, { kind: "Status", status: "Success", details: { name: "b", kind: "configmaps" } });
  const both = await server.ask("DELETE", `${configMaps}/a`, {
    propagationPolicy: "Foreground",
    orphanDependents: true,
  });
  t.equal(both.status, 422);
});

t.test("a bound pod goes gracefully, and only sooner than it was told", async (t) => {
  await using server = await testApi();
  await server.ask("POST", pods, pod("a"));
  const bound = await server.ask("POST", `${pods}/a/binding`, {
    kind: "Binding",
    apiVersion: "v1",
    metadata: { name: "a" },
    target: { kind: "Node", name: "n1" },
  });
  t.equal(bound.status, 201);
  const twice = await server.ask("POST", `${pods}/a/binding`, { target: { name: "n2" } });
  t.equal(twice.status, 409);
  t.match(twice.json["message"], /pod a is already assigned to node "n1"/);
  const first = await server.ask("DELETE", `${pods}/a`);
  t.match(metadataOf(first.json), {
    deletionTimestamp: "2026-01-01T00:00:30Z",
    deletionGracePeriodSeconds: 30,
  });
  const longer = await server.ask("DELETE", `${pods}/a`, { gracePeriodSeconds: 60 });
  t.match(metadataOf(longer.json), { deletionGracePeriodSeconds: 30 });
  const sooner = await server.ask("DELETE", `${pods}/a`, { gracePeriodSeconds: 5 });
  t.match(metadataOf(sooner.json), {
    deletionTimestamp: "2026-01-01T00:00:05Z",
    deletionGracePeriodSeconds: 5,
  });
  t.equal((await server.ask("DELETE", `${pods}/a`, { gracePeriodSeconds: 0 })).status, 200);
  t.equal((await server.ask("GET", `${pods}/a`)).status, 404);
});

t.test("a pod that runs nowhere goes at once", async (t) => {
  await using server = await testApi();
  await server.ask("POST", pods, pod("a"));
  t.equal((await server.ask("DELETE", `${pods}/a`)).status, 200);
  t.equal((await server.ask("GET", `${pods}/a`)).status, 404);
});

t.test("a collection is deleted by selector, namespace by namespace", async (t) => {
  await using server = await testApi();
  for (const name of ["a", "b"])
    await server.ask("POST", configMaps, { ...configMap(name), metadata: { name, labels: { n: name } } });
  await server.ask("POST", "/api/v1/namespaces/other/configmaps", configMap("a"));
  const gone = await server.ask("DELETE", `${configMaps}?labelSelector=n%3Da`);
  t.same(names(gone.json), ["a"]);
  t.same(names((await server.ask("GET", "/api/v1/configmaps")).json), ["b", "a"]);
});

t.test("a namespace waits for its finalizer, which /finalize removes", async (t) => {
  await using server = await testApi();
  const made = await server.ask("POST", "/api/v1/namespaces", {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "x" },
  });
  t.match(made.json, { spec: { finalizers: ["kubernetes"] }, status: { phase: "Active" } });
  const deleted = await server.ask("DELETE", "/api/v1/namespaces/x");
  t.match(deleted.json, { status: { phase: "Terminating" } });
  const finalized = await server.ask("PUT", "/api/v1/namespaces/x/finalize", {
    ...deleted.json,
    spec: { finalizers: [] },
  });
  t.equal(finalized.status, 200);
  t.equal((await server.ask("GET", "/api/v1/namespaces/x")).status, 404);
});

t.test("status and spec are written apart, and only a changed spec raises the generation", async (t) => {
  await using server = await testApi();
  const deployments = "/apis/apps/v1/namespaces/default/deployments";
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" } },
        spec: { containers: [{ name: "c", image: "nginx" }] },
      },
    },
    status: { replicas: 9 },
  };
  const made = await server.ask("POST", deployments, deployment);
  t.equal(made.status, 201, made.text);
  t.equal(metadataOf(made.json)["generation"], 1);
  t.notMatch(made.json["status"], { replicas: 9 }, "a new object has no status yet");
  const patch = { "content-type": "application/merge-patch+json" };
  const status = await server.ask(
    "PATCH",
    `${deployments}/web/status`,
    { spec: { replicas: 7 }, status: { replicas: 1 } },
    patch,
  );
  t.match(status.json, { spec: { replicas: 2 }, status: { replicas: 1 }, metadata: { generation: 1 } });
  const spec = await server.ask(
    "PATCH",
    `${deployments}/web`,
    { spec: { replicas: 3 }, status: { replicas: 5 } },
    patch,
  );
  t.match(spec.json, { spec: { replicas: 3 }, status: { replicas: 1 }, metadata: { generation: 2 } });
  const scale = await server.ask("GET", `${deployments}/web/scale`);
  t.match(scale.json, {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    spec: { replicas: 3 },
    status: { replicas: 1, selector: "app=web" },
  });
  const scaled = await server.ask("PATCH", `${deployments}/web/scale`, { spec: { replicas: 5 } }, patch);
  t.match(scaled.json, { spec: { replicas: 5 } });
  t.match((await server.ask("GET", `${deployments}/web`)).json, {
    spec: { replicas: 5 },
    metadata: { generation: 3 },
  });
  const put = await server.ask("PUT", `${deployments}/web/scale`, { ...scaled.json, spec: { replicas: 1 } });
  t.match(put.json, { spec: { replicas: 1 } }, put.text);
  t.equal((await server.ask("PUT", `${deployments}/web/scale`, scaled.json)).status, 409);
});

t.test("an eviction spends the budget, and is refused with 429 when there is none", async (t) => {
  await using server = await testApi();
  const budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
  const budget = {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "b" },
    spec: { minAvailable: 1, selector: { matchLabels: { app: "x" } } },
  };
  t.equal((await server.ask("POST", budgets, budget)).status, 201);
  for (const name of ["p", "q"]) {
    await server.ask("POST", pods, pod(name, { labels: { app: "x" } }));
    await server.ask(
      "PATCH",
      `${pods}/${name}/status`,
      { status: { phase: "Running" } },
      { "content-type": "application/merge-patch+json" },
    );
  }
  const merge = { "content-type": "application/merge-patch+json" };
  await server.ask(
    "PATCH",
    `${budgets}/b/status`,
    { status: { disruptionsAllowed: 1, currentHealthy: 2, desiredHealthy: 1, expectedPods: 2 } },
    merge,
  );
  const eviction = (name: string) => ({ apiVersion: "policy/v1", kind: "Eviction", metadata: { name } });
  t.equal((await server.ask("POST", `${pods}/p/eviction`, eviction("p"))).status, 201);
  t.equal((await server.ask("GET", `${pods}/p`)).status, 404);
  const refused = await server.ask("POST", `${pods}/q/eviction`, eviction("q"));
  t.equal(refused.status, 429);
  t.equal(refused.headers["retry-after"], "10");
  t.match(refused.json["message"], /violate the pod's disruption budget/);
});

t.test("tables and metadata alone are other forms of the same objects", async (t) => {
  await using server = await testApi({ clock: new FakeClock() });
  await server.ask("POST", configMaps, configMap("a"));
  const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
  const table = await server.ask("GET", configMaps, undefined, { accept });
  t.match(table.json, {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    rows: [{ object: { kind: "PartialObjectMetadata" } }],
  });
  t.match(table.json["columnDefinitions"], [{ name: "Name" }, { name: "Data" }, { name: "Age" }]);
  const partial = await server.ask("GET", configMaps, undefined, {
    accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
  });
  t.match(partial.json, {
    kind: "PartialObjectMetadataList",
    items: [{ kind: "PartialObjectMetadata", metadata: { name: "a" } }],
  });
  t.equal((await server.ask("GET", configMaps, undefined, { accept: "image/png" })).status, 406);
  const yaml = await server.ask("GET", `${configMaps}/a`, undefined, { accept: "application/yaml" });
  t.match(yaml.text, /^kind: ConfigMap$/m);
});

t.test("admission may change or refuse, and what it made is checked", async (t) => {
  const seen: string[] = [];
  await using server = await testApi({
    admission: [
      {
        name: "test",
        admit: async ({ operation, object, subresource }) => {
          seen.push(`${operation} ${subresource}`);
          return object === undefined ? undefined : { ...object, data: { added: "yes" } };
        },
      },
    ],
  });
  const made = await server.ask("POST", configMaps, configMap("a"));
  t.same(made.json["data"], { added: "yes" });
  await server.ask("DELETE", `${configMaps}/a`);
  t.same(seen, ["CREATE ", "DELETE "]);
});

t.test("who may not is told what it may not, in Kubernetes' words", async (t) => {
  await using server = await testApi({
    user: { name: "eve", groups: [] },
    authorize: () => ({ allowed: false, why: "" }),
  });
  const list = await server.ask("GET", configMaps);
  t.equal(list.status, 403);
  t.equal(
    list.json["message"],
    'configmaps is forbidden: User "eve" cannot list resource "configmaps" in API group "" in the namespace "default"',
  );
  const get = await server.ask("GET", "/api/v1/nodes/n1");
  t.equal(
    get.json["message"],
    'nodes "n1" is forbidden: User "eve" cannot get resource "nodes" in API group "" at the cluster scope',
  );
  t.equal(
    (await server.ask("GET", "/version")).json["message"],
    'forbidden: User "eve" cannot get path "/version"',
  );
  const scale = await server.ask("GET", "/apis/apps/v1/namespaces/default/deployments/x/scale");
  t.match(
    scale.json["message"],
    /deployments\.apps "x" is forbidden: User "eve" cannot get resource "deployments\/scale"/,
  );
});

t.test("impersonation is asked for, and then speaks for the other", async (t) => {
  const asked: string[] = [];
  await using server = await testApi({
    authorize: (attributes) => {
      asked.push(
        `${attributes.user.name} ${attributes.verb} ${attributes.kind === "resource" ? `${attributes.resource}/${attributes.name}` : ""}`,
      );
      return { allowed: true, why: "" };
    },
  });
  await server.ask("GET", configMaps, undefined, { "impersonate-user": "jane", "impersonate-group": "dev" });
  t.same(asked, ["admin impersonate users/jane", "admin impersonate groups/dev", "jane list configmaps/"]);
});

t.test("health, version, paths and discovery answer", async (t) => {
  await using server = await testApi();
  t.equal((await server.ask("GET", "/livez")).text, "ok");
  t.match((await server.ask("GET", "/readyz?verbose")).text, /\[\+\]cache ok[\s\S]*readyz check passed/);
  t.match((await server.ask("GET", "/version")).json, {
    major: "1",
    minor: "36",
    gitVersion: "v1.36.0+keelson",
  });
  t.match((await server.ask("GET", "/")).json["paths"], Array);
  t.match((await server.ask("GET", "/api")).json, { kind: "APIVersions", versions: ["v1"] });
  t.match((await server.ask("GET", "/apis/apps/v1")).json, {
    kind: "APIResourceList",
    groupVersion: "apps/v1",
  });
  const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
  const aggregated = await server.ask("GET", "/apis", undefined, { accept });
  t.equal(
    aggregated.headers["content-type"],
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
  );
  const etag = String(aggregated.headers["etag"]);
  t.equal((await server.ask("GET", "/apis", undefined, { accept, "if-none-match": etag })).status, 304);
});

t.test("in-process clients use the same rules", async (t) => {
  await using server = await testApi();
  const { configMaps: resource } = await import("#api/resources.ts");
  await server.client.create(resource, { metadata: { name: "a", namespace: "default" } }, {}, server.signal);
  const list = await server.client.list(resource, { namespace: "default" }, server.signal);
  t.equal(list.items.length, 1);
  await t.rejects(server.client.get(resource, { namespace: "default", name: "b" }, server.signal), {
    code: 404,
    reason: "NotFound",
  });
});

t.test("events are forgotten an hour after they last happened", async (t) => {
  const clock = new FakeClock();
  await using server = await testApi({ clock });
  const event = (name: string, lastTimestamp: string) => ({
    metadata: { name },
    involvedObject: { kind: "Pod", name: "p", namespace: "default" },
    reason: "Started",
    message: "x",
    type: "Normal",
    lastTimestamp,
  });
  const events = "/api/v1/namespaces/default/events";
  t.equal((await server.ask("POST", events, event("old", "2026-01-01T00:00:00Z"))).status, 201);
  t.equal((await server.ask("POST", events, event("young", "2026-01-01T00:30:00Z"))).status, 201);
  for (let minute = 0; minute < 62; minute += 1) {
    await clock.advance(60_000);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.same(names((await server.ask("GET", events)).json), ["young"]);
});

t.test("ephemeral containers, resizing and approval change their part of an object only", async (t) => {
  await using server = await testApi();
  const strategic = { "content-type": "application/strategic-merge-patch+json" };
  await server.ask("POST", pods, pod("a"));
  const debug = {
    spec: { ephemeralContainers: [{ name: "debug", image: "busybox", targetContainerName: "c" }] },
  };
  const debugged = await server.ask("PATCH", `${pods}/a/ephemeralcontainers`, debug, strategic);
  t.equal(debugged.status, 200, debugged.text);
  t.match(debugged.json, { spec: { ephemeralContainers: [{ name: "debug" }], containers: [{ name: "c" }] } });
  const to = (resources: object) => ({ spec: { containers: [{ name: "c", image: "other", resources }] } });
  const promoted = await server.ask(
    "PATCH",
    `${pods}/a/resize`,
    to({ requests: { cpu: "200m" } }),
    strategic,
  );
  t.equal(promoted.status, 422, "a pod without any request keeps its class");
  t.match(promoted.json, { message: /Pod QOS Class may not change as a result of resizing/ });
  const asking = pod("b");
  const [container] = asking.spec.containers;
  await server.ask("POST", pods, {
    ...asking,
    spec: { ...asking.spec, containers: [{ ...container, resources: { requests: { cpu: "100m" } } }] },
  });
  const resized = await server.ask("PATCH", `${pods}/b/resize`, to({ requests: { cpu: "200m" } }), strategic);
  t.equal(resized.status, 200, resized.text);
  t.match(resized.json, {
    metadata: { generation: 2 },
    spec: { containers: [{ image: "busybox", resources: { requests: { cpu: "200m" } } }] },
  });
  const other = to({ requests: { cpu: "200m", "example.com/gpu": "1" }, limits: { "example.com/gpu": "1" } });
  const gpu = await server.ask("PATCH", `${pods}/b/resize`, other, strategic);
  t.match(gpu.json, { code: 422, message: /only cpu and memory resources are mutable/ });
  const none = await server.ask("PATCH", `${pods}/b/resize`, to({ $patch: "replace" }), strategic);
  t.match(none.json, { code: 422, message: /resource requests cannot be removed/ });
  const image = await server.ask("PATCH", `${pods}/a`, { spec: { hostNetwork: true } }, strategic);
  t.equal(image.status, 422, "the rest of a pod's spec stays");
  const csrs = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
  const csr = {
    metadata: { name: "x" },
    spec: { request: "LS0tCg==", signerName: "example.com/x", usages: ["client auth"] },
  };
  const made = await server.ask("POST", csrs, csr);
  t.equal(made.status, 201, made.text);
  const approved = await server.ask("PUT", `${csrs}/x/approval`, {
    ...made.json,
    status: { conditions: [{ type: "Approved", status: "True", reason: "Test", message: "m" }] },
  });
  t.equal(approved.status, 200, approved.text);
  t.match(approved.json, { status: { conditions: [{ type: "Approved" }] } });
});

t.test("a token is asked for below its account, and reviews have no table", async (t) => {
  await using server = await testApi({
    ports: {
      virtual: new Map([
        [
          "selfsubjectreviews.authentication.k8s.io",
          async ({ user }) => ({ kind: "SelfSubjectReview", status: { userInfo: user } }),
        ],
      ]),
    },
  });
  const token = await server.ask("POST", "/api/v1/namespaces/default/serviceaccounts/a/token", {
    spec: { audiences: ["x"] },
  });
  t.equal(token.status, 201);
  t.match(token.json, { spec: { audiences: ["x"] }, status: { token: "t" } });
  const reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
  const review = await server.ask("POST", reviews, {
    kind: "SelfSubjectReview",
    apiVersion: "authentication.k8s.io/v1",
  });
  t.match(review.json, { status: { userInfo: { name: "admin" } } }, review.text);
  const table = await server.ask(
    "POST",
    reviews,
    {},
    { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" },
  );
  t.equal(table.status, 406);
});

t.test("server-side apply creates, owns, refuses what others own, and takes it by force", async (t) => {
  await using server = await testApi();
  const yaml = { "content-type": "application/apply-patch+yaml" };
  const apply = (manager: string, data: object, more = "") =>
    server.ask(
      "PATCH",
      `${configMaps}/a?fieldManager=${manager}${more}`,
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data },
      yaml,
    );
  const first = await apply("one", { x: "1", y: "1" });
  t.equal(first.status, 201, first.text);
  t.match(metadataOf(first.json)["managedFields"], [{ manager: "one", operation: "Apply" }]);
  const again = await apply("one", { x: "1", y: "1" });
  t.equal(again.status, 200);
  t.equal(
    metadataOf(again.json).resourceVersion,
    metadataOf(first.json).resourceVersion,
    "nothing changed, nothing written",
  );
  const refused = await apply("two", { x: "2" });
  t.equal(refused.status, 409);
  t.match(refused.json, {
    reason: "Conflict",
    details: { causes: [{ reason: "FieldManagerConflict", field: ".data.x" }] },
  });
  const forced = await apply("two", { x: "2" }, "&force=true");
  t.same(forced.json["data"], { x: "2", y: "1" });
  const less = await apply("one", { y: "1" });
  t.same(less.json["data"], { x: "2", y: "1" }, "what another owns now stays");
  const none = await apply("two", {});
  t.same(none.json["data"], { y: "1" }, "what nobody else owns goes");
  const patched = await server.ask(
    "PATCH",
    `${configMaps}/a?fieldManager=three`,
    { data: { y: "3" } },
    { "content-type": "application/merge-patch+json" },
  );
  t.match(
    JSON.stringify(metadataOf(patched.json)["managedFields"]),
    /"manager":"three","operation":"Update"/,
  );
  const dry = await apply("one", { y: "9" }, "&dryRun=All&force=true");
  t.same(dry.json["data"], { y: "9" });
  t.same((await server.ask("GET", `${configMaps}/a`)).json["data"], { y: "3" });
});

t.test("every request is observed once, under a bounded set of names", async (t) => {
  const seen: string[] = [];
  await using server = await testApi({
    ports: {
      observe: ({ verb, resource, subresource, code }) =>
        seen.push([verb, resource, subresource, code].join(" ")),
    },
  });
  await server.ask("POST", configMaps, configMap("a"));
  await server.ask("GET", `${configMaps}/a`);
  await server.ask("GET", "/api/v1/namespaces/default/made-up");
  await server.ask("GET", "/version");
  await server.ask("GET", `${configMaps}/%zz`);
  t.same(seen, ["create configmaps  201", "get configmaps  200", "list   404", "get   200", "   400"]);
});
