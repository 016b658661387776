import t from "tap";
import type { NodeStatus } from "#api/generated/kubernetes.ts";
import { nodeEvents } from "./node-events.ts";

const status = (conditions: Readonly<Record<string, string>>): NodeStatus => ({
  conditions: Object.entries(conditions).map(([type, value]) => ({ type, status: value })),
});
const well = status({ MemoryPressure: "False", DiskPressure: "False", PIDPressure: "False", Ready: "True" });
const cases: readonly {
  readonly name: string;
  readonly before: NodeStatus | undefined;
  readonly now: NodeStatus;
  readonly want: readonly string[];
}[] = [
  { name: "LC23: nothing changed", before: well, now: well, want: [] },
  {
    name: "LC23: a node that was not ready",
    before: status({ Ready: "False" }),
    now: status({ Ready: "True" }),
    want: ["NodeReady"],
  },
  {
    name: "LC23: a node that is not ready any more",
    before: well,
    now: status({ Ready: "False" }),
    want: ["NodeNotReady"],
  },
  {
    name: "LC23: a node that nobody heard of for long",
    before: status({ Ready: "Unknown" }),
    now: status({ Ready: "True" }),
    want: ["NodeReady"],
  },
  {
    name: "LC23: a new node tells of pressure only",
    before: undefined,
    now: well,
    want: ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"],
  },
  {
    name: "LC23: pressure comes",
    before: well,
    now: status({ MemoryPressure: "True", DiskPressure: "True", PIDPressure: "True", Ready: "True" }),
    want: ["NodeHasInsufficientMemory", "NodeHasDiskPressure", "NodeHasInsufficientPID"],
  },
  { name: "LC23: conditions of others", before: well, now: status({ NetworkUnavailable: "True" }), want: [] },
];
for (const { name, before, now, want } of cases) {
  t.test(name, async (t) => {
    const events = nodeEvents("node-a", before, now);
    t.same(
      events.map(({ reason }) => reason),
      want,
    );
    for (const { reason, message } of events) t.equal(message, `Node node-a status is now: ${reason}`);
  });
}
