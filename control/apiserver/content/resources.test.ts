import t from "tap";
import schema from "#api/generated/schema.json" with { type: "json" };
import { fromStorage, toStorage } from "./conversion.ts";
import { resourceTable } from "./resources.ts";

const find = (group: string, version: string, plural: string) => {
  const found = resourceTable().find(
    (each) => each.group === group && each.version === version && each.plural === plural,
  );
  if (found === undefined) throw new Error(`no row for ${group}/${version} ${plural}`);
  return found;
};

t.test("every row names a model that exists, and rows are unique", async (t) => {
  const keys = resourceTable().map((each) => `${each.group}/${each.version}/${each.plural}`);
  t.equal(new Set(keys).size, keys.length);
  for (const each of resourceTable()) t.ok(each.model in schema.models, `${each.kind} has a model`);
});

t.test("storage follows etcd's layout of upstream", async (t) => {
  t.equal(find("", "v1", "nodes").storagePrefix, "registry/minions");
  t.equal(find("", "v1", "services").storagePrefix, "registry/services/specs");
  t.equal(find("", "v1", "endpoints").storagePrefix, "registry/services/endpoints");
  t.equal(find("", "v1", "replicationcontrollers").storagePrefix, "registry/controllers");
  t.equal(find("networking.k8s.io", "v1", "ingresses").storagePrefix, "registry/ingress");
  t.equal(find("events.k8s.io", "v1", "events").storagePrefix, find("", "v1", "events").storagePrefix);
});

t.test("pods are selected by what kubectl and the node agent ask for", async (t) => {
  const { fields } = find("", "v1", "pods");
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "a" },
    spec: { nodeName: "n1" },
    status: { phase: "Running" },
  };
  t.equal(fields["spec.nodeName"]?.(pod), "n1");
  t.equal(fields["status.phase"]?.(pod), "Running");
  t.equal(fields["spec.hostNetwork"]?.(pod), "false");
});

t.test("an event reads the same through both of its groups", async (t) => {
  const core = {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: "e" },
    involvedObject: { kind: "Pod", name: "a" },
    message: "hello",
    source: { component: "kubelet" },
    count: 2,
  };
  const served = fromStorage(find("events.k8s.io", "v1", "events"), core);
  t.match(served, {
    apiVersion: "events.k8s.io/v1",
    regarding: { name: "a" },
    note: "hello",
    deprecatedSource: { component: "kubelet" },
    deprecatedCount: 2,
  });
  t.notOk("message" in served);
  t.same(toStorage(find("events.k8s.io", "v1", "events"), served), core);
  t.equal(find("events.k8s.io", "v1", "events").fields["regarding.name"]?.(core), "a");
});

t.test("an autoscaler of autoscaling/v1 is stored as v2 and comes back", async (t) => {
  const old = {
    apiVersion: "autoscaling/v1",
    kind: "HorizontalPodAutoscaler",
    metadata: { name: "h" },
    spec: {
      maxReplicas: 3,
      scaleTargetRef: { kind: "Deployment", name: "web" },
      targetCPUUtilizationPercentage: 80,
    },
  };
  const definition = find("autoscaling", "v1", "horizontalpodautoscalers");
  const stored = toStorage(definition, old);
  t.match(stored, {
    apiVersion: "autoscaling/v2",
    spec: { metrics: [{ type: "Resource", resource: { name: "cpu", target: { averageUtilization: 80 } } }] },
  });
  t.same(fromStorage(definition, stored), old);
});
