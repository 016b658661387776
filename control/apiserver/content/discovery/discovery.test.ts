import t from "tap";
import { resourceTable } from "../resources.ts";
import { aggregatedDiscovery } from "./aggregated.ts";
import { apiGroup, apiGroupList, apiResourceList, apiVersions } from "./legacy.ts";

const all = resourceTable();

t.test("the legacy forms name groups, versions and resources", async (t) => {
  t.same(apiVersions("h:1").versions, ["v1"]);
  t.equal(apiGroupList(all).groups[0]?.name, "apps");
  t.equal(apiGroup(all, "autoscaling")?.preferredVersion?.version, "v2");
  t.equal(apiGroup(all, "nobody.example"), undefined);
  t.equal(apiResourceList(all, "apps", "v2"), undefined);
  const apps = apiResourceList(all, "apps", "v1");
  t.equal(apps?.groupVersion, "apps/v1");
  t.match(
    apps?.resources.find((each) => each.name === "deployments/scale"),
    {
      group: "autoscaling",
      version: "v1",
      kind: "Scale",
      namespaced: true,
      verbs: ["get", "patch", "update"],
    },
  );
});

t.test("drain finds the eviction subresource in policy/v1", async (t) => {
  const core = apiResourceList(all, "", "v1");
  t.match(
    core?.resources.find((each) => each.name === "pods/eviction"),
    {
      group: "policy",
      version: "v1",
      kind: "Eviction",
    },
  );
  t.match(
    core?.resources.find((each) => each.name === "pods"),
    { shortNames: ["po"], categories: ["all"] },
  );
});

t.test("the aggregated form has core under /api and the rest under /apis", async (t) => {
  const core = aggregatedDiscovery(all, "api", "v2");
  t.equal(core.apiVersion, "apidiscovery.k8s.io/v2");
  t.equal(core.items.length, 1);
  const pods = core.items[0]?.versions[0]?.resources.find((each) => each.resource === "pods");
  t.match(
    pods?.subresources?.find((each) => each.subresource === "exec"),
    {
      responseKind: { group: "", version: "v1", kind: "PodExecOptions" },
      verbs: ["create", "get"],
    },
  );
  const others = aggregatedDiscovery(all, "apis", "v2beta1");
  t.notOk(others.items.some((each) => each.metadata.name === undefined));
  t.match(
    others.items.find((each) => each.metadata.name === "autoscaling")?.versions.map((each) => each.version),
    ["v2", "v1"],
  );
});
