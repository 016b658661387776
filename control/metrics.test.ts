import t from "tap";
import { controlMetrics } from "./metrics.ts";

t.test("requests are counted under the names that dashboards know", async (t) => {
  const { registry, observe } = controlMetrics({ certificateSeconds: () => new Map() });
  const pods = { group: "", version: "v1", resource: "pods", subresource: "" };
  observe({ ...pods, verb: "create", code: 201, seconds: 0.01 });
  observe({ ...pods, verb: "create", code: 201, seconds: 0.3 });
  observe({ ...pods, verb: "list", code: 403, seconds: 0.01 });
  const text = await registry.metrics();
  const value = (name: string, ...labels: readonly string[]): string | undefined =>
    text
      .split("\n")
      .find((line) => line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
      ?.split(" ")
      .at(-1);
  t.equal(value("apiserver_request_total", 'verb="POST"', 'resource="pods"', 'code="201"'), "2");
  t.equal(value("apiserver_request_total", 'verb="LIST"', 'code="403"'), "1");
  t.equal(value("apiserver_request_duration_seconds_bucket", 'verb="POST"', 'le="0.025"'), "1");
  t.equal(value("apiserver_request_duration_seconds_count", 'verb="POST"'), "2");
});
