import t from "tap";
import { isNodeEligible, ProxyHealth } from "./health.ts";

t.test("a change that waits too long makes the proxy unhealthy until it is written", async (t) => {
  const health = new ProxyHealth(20_000, ["IPv4"]);
  t.ok(health.report(0).healthy, "before the first change");
  health.queued("IPv4", 1_000);
  health.queued("IPv4", 15_000);
  t.ok(health.report(21_000).healthy);
  t.notOk(health.report(21_001).healthy, "counted from the first change that waits");
  health.updated("IPv4", 30_000);
  t.match(health.report(90_000), {
    healthy: true,
    body: { lastUpdated: "1970-01-01T00:00:30.000Z", status: { IPv4: { healthy: true } } },
  });
});
t.test("/healthz says no on a node that is being taken away, /livez does not care", async (t) => {
  const health = new ProxyHealth(20_000, ["IPv4"]);
  t.match(health.report(0, false), { healthy: false, body: { nodeEligible: false } });
  t.notOk(Object.hasOwn(Object(health.report(0).body), "nodeEligible"));
  const spec = { taints: [{ key: "ToBeDeletedByClusterAutoscaler", effect: "NoSchedule" }] };
  t.ok(isNodeEligible({ metadata: { name: "n" } }, true));
  t.notOk(isNodeEligible({ metadata: { name: "n" }, spec }, true));
  t.notOk(isNodeEligible(undefined, true), "deleted");
  t.ok(isNodeEligible(undefined, false), "not known yet");
});
