import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { standalone, until } from "./agent-fixture.ts";
import type { AgentView } from "./model.ts";
import { FakeRuntime } from "./runtime/fake.ts";

const manifest = (more: string): string => `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {}}]
  initContainers:
  - {name: init, image: busybox, command: [sh, -c, "exit 0"]}
  containers:
  - name: web
    image: busybox
    command: [${more}]
    volumeMounts: [{name: data, mountPath: /data}]
`;

t.test("PS2 ML1: a file in the static directory runs, outlives the agent, changes and goes", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  await writeFile(path.join(folder, "manifests/web.yaml"), manifest("sleep, '1000'"));
  const first = await standalone(runtime, folder);
  const phase = (view: AgentView): string | undefined =>
    view.podByName("default", "web-node-a")?.pod.status?.phase;
  await until("Running", () => phase(first.view) === "Running");
  const before = first.view.podByName("default", "web-node-a");
  t.equal(before?.pod.status?.containerStatuses?.[0]?.ready, true);
  t.equal(before?.pod.status?.initContainerStatuses?.[0]?.state?.terminated?.reason, "Completed");
  t.match(
    await readFile(path.join(folder, "kubelet/pods", before?.uid ?? "", "etc-hosts"), "utf8"),
    /web-node-a/,
  );
  await first.stop();

  const history = runtime.history.length;
  const second = await standalone(runtime, folder);
  await until("Running again in the view", () => phase(second.view) === "Running");
  t.equal(
    runtime.history.slice(history).filter((call) => /^(run|create|start|stop|remove)/.test(call)).length,
    0,
    "a restarted agent restarts nothing",
  );

  await runtime.endContainer(
    second.view.podByName("default", "web-node-a")?.containers.get("web")?.id ?? "",
    3,
  );
  await until(
    "a restart is counted",
    () =>
      second.view.podByName("default", "web-node-a")?.pod.status?.containerStatuses?.[0]?.restartCount ===
        1 && phase(second.view) === "Running",
  );
  t.equal(
    second.view.podByName("default", "web-node-a")?.pod.status?.containerStatuses?.[0]?.lastState?.terminated
      ?.exitCode,
    3,
  );

  await rm(path.join(folder, "manifests/web.yaml"));
  await until(
    "nothing left",
    async () => (await runtime.listSandboxes({}, AbortSignal.timeout(1_000))).length === 0,
  );
  await until(
    "its directory gone",
    async () => (await readdir(path.join(folder, "kubelet/pods"))).length === 0,
  );
  await until("nothing in the view", () => second.view.pods().length === 0);
  await second.stop();
});

t.test("HK1: a container whose postStart hook fails is killed and says so", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  await writeFile(
    path.join(folder, "manifests/web.yaml"),
    `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox
    command: [sleep, '1000']
    lifecycle: {postStart: {exec: {command: [sh, -c, "exit 1"]}}}
`,
  );
  const agent = await standalone(runtime, folder);
  const seen = new Set<string | undefined>();
  await until("it backs off", () => {
    const state = agent.view.podByName("default", "web-node-a")?.pod.status?.containerStatuses?.[0]?.state;
    if (state?.running !== undefined) seen.add("running");
    seen.add(state?.waiting?.reason);
    return state?.waiting?.reason === "CrashLoopBackOff";
  });
  t.ok(seen.has("PostStartHookError"), [...seen].join(", "));
  t.notOk(seen.has("running"), "for its users it never ran");
  await agent.stop();
});
