import t from "tap";
import type { Node, Pod } from "#api/generated/kubernetes.ts";
import { chooseNode, type Placement } from "./choose-node.ts";
import { nodeInfo } from "./node-info.ts";

function node(
  name: string,
  change: Partial<Node["spec"]> & { labels?: Record<string, string>; cpu?: string } = {},
): Node {
  const { labels = {}, cpu = "2", ...spec } = change;
  return {
    metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
    spec,
    status: { allocatable: { cpu, memory: "4Gi", pods: "3" } },
  };
}

function pod(
  name: string,
  spec: Partial<NonNullable<Pod["spec"]>> = {},
  labels: Record<string, string> = {},
): Pod {
  return {
    metadata: { name, namespace: "default", uid: name, labels },
    spec: { containers: [{ name: "c" }], ...spec },
  };
}

const asks = (cpu: string): Partial<NonNullable<Pod["spec"]>> => ({
  containers: [{ name: "c", resources: { requests: { cpu } } }],
});
const port = (hostPort: number, hostIP?: string, protocol = "TCP"): Partial<NonNullable<Pod["spec"]>> => ({
  containers: [
    {
      name: "c",
      ports: [{ containerPort: 80, hostPort, protocol, ...(hostIP === undefined ? {} : { hostIP }) }],
    },
  ],
});
const antiAffinity: Partial<NonNullable<Pod["spec"]>> = {
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { labelSelector: { matchLabels: { app: "db" } }, topologyKey: "kubernetes.io/hostname" },
      ],
    },
  },
};

function place(wanted: Pod, nodes: readonly (readonly [Node, ...Pod[]])[]): Placement {
  return chooseNode(wanted, {
    nodes: nodes.map(([each, ...pods]) =>
      nodeInfo(each, new Map(pods.map((placed) => [`default/${placed.metadata?.name}`, placed]))),
    ),
    namespaceLabels: () => ({}),
    spreadSelector: (of) => [{ key: "app", operator: "=", values: [of.metadata?.labels?.["app"] ?? "none"] }],
    random: 0,
  });
}

const taint = { key: "dedicated", value: "gpu", effect: "NoSchedule" };
const cases: readonly {
  readonly name: string;
  readonly pod: Pod;
  readonly nodes: readonly (readonly [Node, ...Pod[]])[];
  readonly goes: string;
}[] = [
  {
    name: "a pod goes to the node with more free",
    pod: pod("p"),
    nodes: [[node("a"), pod("x", asks("1"))], [node("b")]],
    goes: "b",
  },
  {
    name: "replicas of one application spread over nodes",
    pod: pod("p", {}, { app: "web" }),
    nodes: [[node("a", { cpu: "16" }), pod("x", {}, { app: "web" })], [node("b", { cpu: "4" })]],
    goes: "b",
  },
  {
    name: "too little CPU is named",
    pod: pod("p", asks("3")),
    nodes: [[node("a")]],
    goes: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
  },
  {
    name: "CPU that others use is named, and preemption would help",
    pod: pod("p", asks("1500m")),
    nodes: [[node("a"), pod("x", asks("1"))]],
    goes: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
  },
  {
    name: "the node's number of pods is a limit",
    pod: pod("p"),
    nodes: [[node("a"), pod("x"), pod("y"), pod("z")]],
    goes: "0/1 nodes are available: 1 Too many pods. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
  },
  {
    name: "the largest init container counts, not their sum",
    pod: pod("p", {
      ...asks("500m"),
      initContainers: [
        { name: "i", resources: { requests: { cpu: "2" } } },
        { name: "j", resources: { requests: { cpu: "2" } } },
      ],
    }),
    nodes: [[node("a")]],
    goes: "a",
  },
  {
    name: "a sidecar counts beside the containers",
    pod: pod("p", {
      ...asks("1500m"),
      initContainers: [{ name: "i", restartPolicy: "Always", resources: { requests: { cpu: "1" } } }],
    }),
    nodes: [[node("a")]],
    goes: "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.",
  },
  {
    name: "a taint keeps pods away and is named",
    pod: pod("p"),
    nodes: [[node("a", { taints: [taint] })], [node("b", { unschedulable: true })]],
    goes: "0/2 nodes are available: 1 node(s) had untolerated taint {dedicated: gpu}, 1 node(s) were unschedulable. preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  },
  {
    name: "a toleration lets the pod in",
    pod: pod("p", { tolerations: [{ key: "dedicated", operator: "Exists" }] }),
    nodes: [[node("a", { taints: [taint] })]],
    goes: "a",
  },
  {
    name: "a node selector chooses",
    pod: pod("p", { nodeSelector: { disk: "ssd" } }),
    nodes: [[node("a")], [node("b", { labels: { disk: "ssd" } })]],
    goes: "b",
  },
  {
    name: "no node is a message of its own",
    pod: pod("p"),
    nodes: [],
    goes: "no nodes available to schedule pods",
  },
  {
    name: "one port on every address excludes it on one address",
    pod: pod("p", port(80, "10.0.0.1")),
    nodes: [[node("a"), pod("x", port(80))]],
    goes: "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
  },
  {
    name: "one port on two addresses or two protocols is free",
    pod: pod("p", port(80, "10.0.0.1")),
    nodes: [[node("a"), pod("x", port(80, "10.0.0.2")), pod("y", port(80, "10.0.0.1", "UDP"))]],
    goes: "a",
  },
  {
    name: "anti-affinity keeps two of a kind apart",
    pod: pod("p", antiAffinity, { app: "db" }),
    nodes: [[node("a", { cpu: "64" }), pod("x", {}, { app: "db" })], [node("b")]],
    goes: "b",
  },
  {
    name: "a placed pod's anti-affinity holds for the next one",
    pod: pod("p", {}, { app: "db" }),
    nodes: [[node("a"), pod("x", antiAffinity)]],
    goes: "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
  },
  {
    name: "affinity to a kind that is nowhere has no node",
    pod: pod("p", {
      affinity: {
        podAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: { matchLabels: { app: "db" } }, topologyKey: "kubernetes.io/hostname" },
          ],
        },
      },
    }),
    nodes: [[node("a")]],
    goes: "0/1 nodes are available: 1 node(s) didn't match pod affinity rules. preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.",
  },
  {
    name: "a spread that must hold refuses the crowded node",
    pod: pod(
      "p",
      {
        topologySpreadConstraints: [
          {
            maxSkew: 1,
            topologyKey: "kubernetes.io/hostname",
            whenUnsatisfiable: "DoNotSchedule",
            labelSelector: { matchLabels: { app: "web" } },
          },
        ],
      },
      { app: "web" },
    ),
    nodes: [[node("a", { cpu: "64" }), pod("x", {}, { app: "web" })], [node("b")]],
    goes: "b",
  },
];

for (const { name, pod: wanted, nodes, goes } of cases) {
  t.test(name, async (t) => {
    const placement = place(wanted, nodes);
    t.equal(placement.state === "placed" ? placement.node : placement.message, goes);
  });
}
