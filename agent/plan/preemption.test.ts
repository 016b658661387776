import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import type { NodeRoom } from "./admission.ts";
import { annotation } from "./names.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";
import { isCritical, podsToPreempt, shortage } from "./preemption.ts";

const room: NodeRoom = {
  cpuMilli: 4_000,
  memoryBytes: 4_000,
  ephemeralStorageBytes: 1_000,
  pods: 5,
  node: {},
  allowedUnsafeSysctls: [],
  appArmorEnabled: false,
  strictGroups: false,
};
const pod = (
  name: string,
  requests: Readonly<Record<string, string>>,
  more: { readonly limits?: Readonly<Record<string, string>>; readonly priority?: number } = {},
): Pod =>
  testPod(
    {
      containers: [
        testContainer("web", { resources: { requests, ...(more.limits && { limits: more.limits }) } }),
      ],
      ...(more.priority === undefined ? {} : { priority: more.priority }),
    },
    { metadata: { name, namespace: "default", uid: name } },
  );
const guaranteed = (name: string, cpu: string): Pod =>
  pod(name, { cpu, memory: "1" }, { limits: { cpu, memory: "1" } });
const critical = (requests: Readonly<Record<string, string>>): Pod =>
  pod("critical", requests, { priority: 2_000_001_000 });

const cases: readonly {
  readonly name: string;
  readonly pod: Pod;
  readonly others: readonly Pod[];
  readonly want: readonly string[] | undefined;
}[] = [
  {
    name: "LC19: the one Pod that has enough ends, not several that have less",
    pod: critical({ cpu: "2" }),
    others: [pod("small", { cpu: "500m" }), pod("less", { cpu: "1500m" }), pod("large", { cpu: "2" })],
    want: ["large"],
  },
  {
    name: "LC19: of two that have enough the smaller one ends",
    pod: critical({ cpu: "1" }),
    others: [pod("large", { cpu: "2500m" }), pod("small", { cpu: "1500m" })],
    want: ["small"],
  },
  {
    name: "LC19: a burstable Pod ends before a guaranteed one",
    pod: critical({ cpu: "1" }),
    others: [guaranteed("best", "2"), pod("middle", { cpu: "2" })],
    want: ["middle"],
  },
  {
    name: "LC19: a guaranteed one ends only for what the others do not have",
    pod: critical({ cpu: "3" }),
    others: [guaranteed("best", "2"), pod("middle", { cpu: "1500m" }), pod("least", {})],
    want: ["middle", "best"],
  },
  {
    name: "LC19: for a place among the Pods the one that asks for least ends",
    pod: critical({}),
    others: [
      pod("a", { cpu: "1" }),
      pod("b", {}),
      guaranteed("c", "1"),
      pod("d", { cpu: "1" }),
      pod("e", { cpu: "1" }),
    ],
    want: ["b"],
  },
  {
    name: "LC19: no other critical Pod ends, and nobody for nothing",
    pod: critical({ cpu: "3" }),
    others: [pod("other", { cpu: "2" }, { priority: 2_000_001_000 }), pod("small", { cpu: "500m" })],
    want: undefined,
  },
  {
    name: "LC19: a less important critical Pod ends",
    pod: critical({ cpu: "3" }),
    others: [pod("other", { cpu: "2" }, { priority: 2_000_000_000 })],
    want: ["other"],
  },
  {
    name: "LC19: nobody ends when there is room",
    pod: critical({ cpu: "1" }),
    others: [pod("a", { cpu: "1" })],
    want: [],
  },
];
for (const { name, pod: wanted, others, want } of cases) {
  t.test(name, async (t) => {
    t.same(
      podsToPreempt(wanted, others, room)?.map(({ metadata }) => metadata?.name),
      want,
    );
  });
}

t.test("LC19: what is short is told by resource", async (t) => {
  const others = [pod("a", { cpu: "3", memory: "3k" })];
  t.same(shortage(critical({ cpu: "2", memory: "2k", "ephemeral-storage": "10" }), others, room), {
    cpu: 1_000,
    memory: 1_000,
  });
});

t.test("LC19: static Pods and those of the system's priorities are critical", async (t) => {
  const from = (source: string): Pod =>
    testPod({}, { metadata: { annotations: { [annotation.source]: source } } });
  t.equal(isCritical(from("file")), true);
  t.equal(isCritical(from("http")), true);
  t.equal(isCritical(from("api")), false);
  t.equal(isCritical(critical({})), true);
  t.equal(isCritical(pod("a", {}, { priority: 1_999_999_999 })), false);
});
