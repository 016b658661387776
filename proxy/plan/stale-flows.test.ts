import t from "tap";
import type { ServicePort } from "../model.ts";
import { endpointAnswers, isStale, planValidAnswers } from "./stale-flows.ts";
import { testEndpoint, testPort } from "./test-ports.ts";

const node = { name: "n1", zone: "", ips: [], podCidrs: [] };
const answers = (port: ServicePort) => endpointAnswers(port, node);
const dns = testPort("ns/dns", {
  protocol: "udp",
  port: 53,
  nodePort: 30053,
  endpoints: [testEndpoint("10.1.0.1", 53)],
});
const valid = planValidAnswers([{ before: undefined, after: dns }], answers, ["192.168.0.2"]);
const flow = (to: string, toPort: number, answers: string) => ({ to, toPort, answers, answersPort: 53 });

const cases = [
  { name: "a flow to an endpoint stays", flow: flow("172.30.0.41", 53, "10.1.0.1"), stale: false },
  {
    name: "a flow to an endpoint that left is stale",
    flow: flow("172.30.0.41", 53, "10.1.0.9"),
    stale: true,
  },
  {
    name: "a flow that was never translated is stale",
    flow: flow("172.30.0.41", 53, "172.30.0.41"),
    stale: true,
  },
  {
    name: "a NodePort flow to an endpoint that left is stale",
    flow: flow("192.168.0.2", 30053, "10.1.0.9"),
    stale: true,
  },
  {
    name: "a flow to the same port number elsewhere is not ours",
    flow: flow("8.8.8.8", 30053, "8.8.8.8"),
    stale: false,
  },
  { name: "another Service's flow is not ours", flow: flow("172.30.0.42", 53, "10.1.0.9"), stale: false },
];
for (const { name, flow, stale } of cases) t.test(name, async (t) => t.equal(isStale(flow, valid), stale));
t.test("every flow of a Service that is gone is stale", async (t) => {
  const gone = planValidAnswers([{ before: dns, after: undefined }], answers, []);
  t.ok(isStale(flow("172.30.0.41", 53, "10.1.0.1"), gone));
});
t.test("TCP flows are left to end by themselves", async (t) => {
  t.equal(planValidAnswers([{ before: testPort("ns/web"), after: undefined }], answers, []).size, 0);
});
t.test("an endpoint that serves while it terminates keeps its flows", async (t) => {
  const after = {
    ...dns,
    endpoints: [
      testEndpoint("10.1.0.1", 53),
      testEndpoint("10.1.0.2", 53, { ready: false, terminating: true }),
    ],
  };
  t.notOk(
    isStale(flow("172.30.0.41", 53, "10.1.0.2"), planValidAnswers([{ before: dns, after }], answers, [])),
  );
});
