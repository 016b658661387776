import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import type { ContainerStatus } from "#api/generated/kubernetes.ts";
import { systemClock } from "#lib/clock.ts";
import { standalone, type StandaloneAgent, until } from "../agent-fixture.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import type { ExecResult } from "../runtime/runtime.ts";

/** A runtime whose exec commands end as the test says: 0 unless told. */
class Scripted extends FakeRuntime {
  readonly answers: Map<string, number> = new Map();
  readonly asked: string[] = [];

  override async execSync(_id: string, command: readonly string[]): Promise<ExecResult> {
    const text = command.join(" ");
    this.asked.push(text);
    return {
      exitCode: this.answers.get(text) ?? 0,
      stdout: Buffer.from(`${text}!`),
      stderr: new Uint8Array(),
    };
  }
}

async function setUp(t: Test, pod: string): Promise<{ runtime: Scripted; folder: string }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-probes-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const runtime = new Scripted(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  await writeFile(
    path.join(folder, "manifests/web.yaml"),
    `apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  terminationGracePeriodSeconds: 1\n${pod}`,
  );
  return { runtime, folder };
}

function status({ view }: StandaloneAgent, name: string): ContainerStatus | undefined {
  const found = view.podByName("default", "web-node-a")?.pod.status;
  return [...(found?.initContainerStatuses ?? []), ...(found?.containerStatuses ?? [])].find(
    (one) => one.name === name,
  );
}

function ready({ view }: StandaloneAgent): string | undefined {
  const conditions = view.podByName("default", "web-node-a")?.pod.status?.conditions;
  return conditions?.find(({ type }) => type === "Ready")?.status;
}

t.test("PR10: a sidecar has all three probes, and they do what an app's do", async (t) => {
  const { runtime, folder } = await setUp(
    t,
    `  initContainers:
  - {name: plain, image: busybox, command: [sh, -c, exit 0]}
  - name: side
    image: busybox
    restartPolicy: Always
    startupProbe: {exec: {command: [start]}, periodSeconds: 1, failureThreshold: 20}
    livenessProbe: {exec: {command: [live]}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {exec: {command: [ready]}, periodSeconds: 1, failureThreshold: 1}
  containers:
  - {name: web, image: busybox}
`,
  );
  runtime.answers.set("start", 1).set("ready", 1);
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  await until("the startup probe is asked twice", () => runtime.asked.length >= 2);
  t.match(status(agent, "side"), { started: false, ready: false, state: { running: {} } });
  t.equal(status(agent, "web")?.state?.waiting?.reason, "PodInitializing");
  t.notOk(runtime.asked.some((command) => command !== "start"));
  runtime.answers.set("start", 0);
  await until("the app runs", () => status(agent, "web")?.ready === true);
  t.match(status(agent, "side"), { started: true, ready: false });
  t.equal(ready(agent), "False", "a sidecar that is not ready makes its Pod not ready");
  runtime.answers.set("ready", 0);
  await until("Ready", () => ready(agent) === "True");
  runtime.answers.set("live", 1);
  await until("the sidecar is killed", () =>
    agent.events.includes("Killing Container side failed liveness probe, will be restarted"),
  );
  runtime.answers.set("live", 0);
  await until("it is back", () => status(agent, "side")?.restartCount === 1 && ready(agent) === "True");
  t.equal(status(agent, "web")?.restartCount, 0);
});

t.test("PR9: a static Pod without an API stays ready when the agent is restarted", async (t) => {
  const { runtime, folder } = await setUp(
    t,
    `  containers:
  - name: web
    image: busybox
    startupProbe: {exec: {command: [start]}, periodSeconds: 30}
    readinessProbe: {exec: {command: [ready]}, periodSeconds: 30}
  - name: other
    image: busybox
    readinessProbe: {exec: {command: [other]}, periodSeconds: 30}
`,
  );
  runtime.answers.set("other", 1);
  const first = await standalone(runtime, folder);
  await until("web is ready", () => status(first, "web")?.ready === true);
  await until("other was asked", () => runtime.asked.includes("other"));
  await first.stop();
  runtime.asked.length = 0;
  const second = await standalone(runtime, folder, 0.99);
  t.teardown(() => second.stop());
  const seen = new Set<unknown>();
  await until("it is known", () => status(second, "web")?.state?.running !== undefined);
  const end = Date.now() + 500;
  while (Date.now() < end) {
    seen.add(status(second, "web")?.ready).add(status(second, "web")?.started);
    await systemClock.sleep(10, AbortSignal.timeout(1_000));
  }
  t.same([...seen], [true]);
  t.equal(status(second, "other")?.ready, false, "and what was not ready is not called so");
  t.same(runtime.asked, [], "before anything was asked anew");
});

t.test("HK2: a preStop hook that fails is said, and the container is stopped all the same", async (t) => {
  const { runtime, folder } = await setUp(
    t,
    `  containers:
  - name: web
    image: busybox
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000"]
    lifecycle: {preStop: {exec: {command: [bye]}}}
  - name: done
    image: busybox
    command: [sh, -c, "exit 0"]
    lifecycle: {preStop: {exec: {command: [never]}}}
`,
  );
  runtime.answers.set("bye", 7);
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  await until("it runs", () => status(agent, "web")?.ready === true);
  await until("the other has ended", () => (status(agent, "done")?.restartCount ?? 0) >= 1);
  await rm(path.join(folder, "manifests/web.yaml"));
  await until("nothing left", () => agent.view.pods().length === 0);
  t.same(
    agent.events.filter((event) => event.startsWith("FailedPreStopHook")),
    ["FailedPreStopHook PreStopHook failed: command 'bye' exited with 7: bye!"],
  );
  t.same(
    runtime.asked.filter((command) => command !== "bye"),
    [],
    "one that ends by itself runs no hook",
  );
  t.equal(runtime.asked.length, 1, "once");
});

t.test("HK3: a sleep hook is cut when the grace period is over", async (t) => {
  const { runtime, folder } = await setUp(
    t,
    `  containers:
  - name: web
    image: busybox
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000"]
    lifecycle: {preStop: {sleep: {seconds: 600}}}
`,
  );
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  await until("it runs", () => status(agent, "web")?.ready === true);
  const askedMs = performance.now();
  await rm(path.join(folder, "manifests/web.yaml"));
  await until("nothing left", () => agent.view.pods().length === 0);
  const tookMs = performance.now() - askedMs;
  t.ok(tookMs > 900 && tookMs < 3_500, `${tookMs} ms of one second's grace`);
  t.notOk(agent.events.some((event) => event.startsWith("FailedPreStopHook")));
});

t.test("HK4: a container is stopped by lifecycle.stopSignal, and its status tells it", async (t) => {
  const { runtime, folder } = await setUp(
    t,
    `  os: {name: linux}
  containers:
  - name: web
    image: busybox
    command: [sh, -c, "trap 'exit 0' USR1; sleep 1000"]
    lifecycle: {stopSignal: SIGUSR1}
`,
  );
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  await until("it runs", () => status(agent, "web")?.ready === true);
  t.equal(status(agent, "web")?.stopSignal, "SIGUSR1");
  const [before] = await runtime.listContainers({}, AbortSignal.timeout(1_000));
  const ended = Promise.withResolvers<number>();
  const stopped = new AbortController();
  t.teardown(() => stopped.abort());
  void (async () => {
    for await (const event of runtime.events(stopped.signal)) {
      const now = await runtime.containerStatus(event.containerId, AbortSignal.timeout(1_000));
      if (event.containerId === before?.id && now?.state === "exited") ended.resolve(now.exitCode);
    }
  })();
  await rm(path.join(folder, "manifests/web.yaml"));
  t.equal(await ended.promise, 0, "by its trap, not by KILL");
});
