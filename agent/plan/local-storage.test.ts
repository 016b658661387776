import t from "tap";
import type { Container } from "#api/generated/kubernetes.ts";
import { storageVerdict, storageWatch } from "./local-storage.ts";
import { planPod } from "./pod-actions.ts";
import { testContainer, testMemory, testPod, testRecord, testRuntime, testSandbox } from "./pod-fixtures.ts";

const limited = (name: string, limit: string, more: Partial<Container> = {}): Container =>
  testContainer(name, { resources: { limits: { "ephemeral-storage": limit } }, ...more });
const use = (volumes: Record<string, number>, containers: Record<string, number> = {}) => ({
  volumes: new Map(Object.entries(volumes)),
  containers: new Map(Object.entries(containers)),
});

t.test("EV6 VO4: only what is limited is measured", async (t) => {
  t.equal(storageWatch(testPod()), undefined);
  const dirs = testPod({
    volumes: [
      { name: "small", emptyDir: { sizeLimit: "1Mi" } },
      { name: "free", emptyDir: {} },
      { name: "zero", emptyDir: { sizeLimit: "0" } },
      { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
    ],
  });
  t.same(storageWatch(dirs), { volumes: ["small"], containers: [] });
  t.equal(
    storageWatch({ ...dirs, spec: { ...dirs.spec, containers: [], priority: 2_000_000_000 } }),
    undefined,
  );
  const whole = testPod({ ...dirs.spec, containers: [limited("web", "1Mi"), testContainer("other")] });
  t.same(storageWatch(whole), { volumes: ["small", "free", "zero"], containers: ["web", "other"] });
});

t.test("EV6 VO4: who goes over a limit is told which, in the kubelet's words", async (t) => {
  const dirs = testPod({ volumes: [{ name: "small", emptyDir: { sizeLimit: "1Ki" } }] });
  t.equal(storageVerdict(dirs, use({ small: 1_024 })), undefined, "just as much is allowed");
  t.same(storageVerdict(dirs, use({ small: 1_025 })), {
    phase: "Failed",
    reason: "Evicted",
    message: 'Usage of EmptyDir volume "small" exceeds the limit "1Ki". ',
    graceSeconds: 1,
  });
  const one = testPod({ containers: [limited("web", "1Ki"), limited("other", "1Ki")] });
  t.equal(storageVerdict(one, use({}, { web: 1_024, other: 1_024 })), undefined);
  t.match(storageVerdict(one, use({}, { web: 1_025 })), {
    message: 'Container web exceeded its local ephemeral storage limit "1Ki". ',
  });
  t.match(storageVerdict(one, use({ any: 2_000 }, { web: 49 })), {
    message: "Pod ephemeral local storage usage exceeds the total limit of containers 2048. ",
  });
});

t.test("EV6: a Pod that is turned out has a second to end", async (t) => {
  const pod = testPod({ terminationGracePeriodSeconds: 600 });
  const verdict = { phase: "Failed", reason: "Evicted", message: "", graceSeconds: 1 } as const;
  const memory = testMemory({ verdict, terminatingSinceMs: 10_000 });
  const { actions } = planPod(pod, testRuntime([testSandbox()], testRecord("web")), memory, 10_000);
  t.match(actions, [{ do: "kill-container", graceSeconds: 1 }]);
});
