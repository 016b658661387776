import t from "tap";
import type { ServicePort } from "../model.ts";
import { chooseEndpoints } from "./endpoints.ts";
import { testEndpoint as endpoint, testPort } from "./test-ports.ts";

const node = { name: "n1", zone: "z1", ips: [], podCidrs: [] };
const draining = { ready: false, terminating: true };
interface Case {
  readonly name: string;
  readonly port: Partial<ServicePort>;
  readonly cluster: readonly string[];
  readonly local: readonly string[];
  readonly any: boolean;
}
const cases: readonly Case[] = [
  {
    name: "ready endpoints get the traffic",
    port: {
      endpoints: [endpoint("10.0.0.1", 80), endpoint("10.0.0.2", 80, { ready: false, serving: false })],
    },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "while one is ready, none that terminates is used",
    port: { endpoints: [endpoint("10.0.0.1", 80), endpoint("10.0.0.2", 80, draining)] },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "when all terminate, those that still serve are used",
    port: {
      endpoints: [
        endpoint("10.0.0.1", 80, draining),
        endpoint("10.0.0.2", 80, { ...draining, serving: false }),
      ],
    },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "nothing that serves is nothing at all",
    port: { endpoints: [endpoint("10.0.0.1", 80, { ready: false, serving: false })] },
    cluster: [],
    local: [],
    any: false,
  },
  {
    name: "internal policy Local takes this node's alone",
    port: {
      internalLocal: true,
      endpoints: [endpoint("10.0.0.1", 80, { local: true }), endpoint("10.0.0.2", 80)],
    },
    cluster: [],
    local: ["10.0.0.1"],
    any: true,
  },
  {
    name: "external policy Local keeps every endpoint for Pods and the node itself",
    port: {
      externalLocal: true,
      nodePort: 30000,
      endpoints: [endpoint("10.0.0.1", 80, { local: true }), endpoint("10.0.0.2", 80)],
    },
    cluster: ["10.0.0.1", "10.0.0.2"],
    local: ["10.0.0.1"],
    any: true,
  },
  {
    name: "external policy Local without any outside address changes nothing",
    port: { externalLocal: true, endpoints: [endpoint("10.0.0.1", 80, { local: true })] },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "a local endpoint that terminates serves when no local one is ready",
    port: {
      externalLocal: true,
      nodePort: 30000,
      endpoints: [endpoint("10.0.0.1", 80, { local: true, ...draining }), endpoint("10.0.0.2", 80)],
    },
    cluster: ["10.0.0.2"],
    local: ["10.0.0.1"],
    any: true,
  },
  {
    name: "zone hints on every endpoint keep traffic in the zone",
    port: {
      endpoints: [
        endpoint("10.0.0.1", 80, { zoneHints: ["z1"] }),
        endpoint("10.0.0.2", 80, { zoneHints: ["z2"] }),
      ],
    },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "one endpoint without a hint turns hints off",
    port: { endpoints: [endpoint("10.0.0.1", 80, { zoneHints: ["z1"] }), endpoint("10.0.0.2", 80)] },
    cluster: ["10.0.0.1", "10.0.0.2"],
    local: [],
    any: true,
  },
  {
    name: "hints that leave this node with nothing are ignored",
    port: { endpoints: [endpoint("10.0.0.1", 80, { zoneHints: ["z2"] })] },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "node hints come before zone hints",
    port: {
      endpoints: [
        endpoint("10.0.0.1", 80, { nodeHints: ["n1"], zoneHints: ["z1"] }),
        endpoint("10.0.0.2", 80, { nodeHints: ["n2"], zoneHints: ["z1"] }),
      ],
    },
    cluster: ["10.0.0.1"],
    local: [],
    any: true,
  },
  {
    name: "hints do not choose among terminating endpoints",
    port: {
      endpoints: [
        endpoint("10.0.0.1", 80, { ...draining, zoneHints: ["z1"] }),
        endpoint("10.0.0.2", 80, { ...draining, zoneHints: ["z2"] }),
      ],
    },
    cluster: ["10.0.0.1", "10.0.0.2"],
    local: [],
    any: true,
  },
];
for (const { name, port, cluster, local, any } of cases) {
  t.test(name, async (t) => {
    const chosen = chooseEndpoints(testPort("ns/svc", port), node);
    t.same(
      chosen.cluster.map(({ ip }) => ip),
      cluster,
    );
    t.same(
      chosen.local.map(({ ip }) => ip),
      local,
    );
    t.same(new Set(chosen.reachable.map(({ ip }) => ip)), new Set([...cluster, ...local]));
    t.equal(chosen.any, any);
  });
}
