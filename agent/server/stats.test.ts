import t from "tap";
import { systemClock } from "#lib/clock.ts";
import type { AgentPod, AgentView } from "../model.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { fakeView } from "./fake-view.ts";
import { statsSummary, UsageReader } from "./stats.ts";

t.test("VO17: /stats/summary tells the sizes of a Pod's volumes, and whose claims they are", async (t) => {
  const { signal } = new AbortController();
  const runtime = new FakeRuntime(systemClock);
  t.teardown(() => runtime.close());
  const plain = await fakeView(runtime, "exec sleep 1000", "/nowhere", signal);
  const sizes = { capacityBytes: 10, availableBytes: 6, usedBytes: 4 };
  const reading = { podUid: "uid-web", timeMs: Date.UTC(2026, 0, 1), stats: sizes, claim: undefined };
  const claim = { namespace: "default", name: "c", uid: "c1" };
  const condition = { abnormal: true, message: "worn" };
  const withVolumes = (pod: AgentPod | undefined): AgentPod | undefined =>
    pod && {
      ...pod,
      cgroup: "/",
      volumes: [
        { ...reading, volume: "scratch" },
        { ...reading, volume: "data", claim, stats: { ...sizes, condition, source: "statfs" } },
      ],
    };
  const view: AgentView = { ...plain, podByUid: (uid) => withVolumes(plain.podByUid(uid)) };
  const [pod] = view.pods();
  const named: AgentView = {
    ...view,
    pods: () => [{ ...pod, metadata: { ...pod?.metadata, uid: "uid-web" } }],
  };
  const summary = await statsSummary(named, new UsageReader(systemClock), "/", signal);
  const time = "2026-01-01T00:00:00.000Z";
  t.match(summary, {
    pods: [
      {
        podRef: { uid: "uid-web" },
        volume: [
          { name: "scratch", time, ...sizes },
          {
            name: "data",
            time,
            ...sizes,
            pvcRef: { name: "c", namespace: "default" },
            volumeHealthStats: { abnormal: true },
          },
        ],
      },
    ],
  });
  t.notMatch(JSON.stringify(summary), /statfs/, "who counted is for the metrics");
});
