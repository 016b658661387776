import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { standalone, type StandaloneAgent, until } from "./agent-fixture.ts";
import { SlowCalls } from "./observe/slow-calls.ts";
import { FakeRuntime } from "./runtime/fake.ts";
import { RuntimeError, type RuntimeEvent } from "./runtime/runtime.ts";
import { watchedRuntime } from "./runtime/watched-runtime.ts";

async function setUp(t: Test, runtime: FakeRuntime, names: readonly string[]): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-trouble-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  for (const name of names) {
    await writeFile(
      path.join(folder, `manifests/${name}.yaml`),
      `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers: [{name: ${name}, image: busybox}]\n`,
    );
  }
  return folder;
}

function isReady({ view }: StandaloneAgent, name: string): boolean {
  const conditions = view.podByName("default", `${name}-node-a`)?.pod.status?.conditions;
  return conditions?.find(({ type }) => type === "Ready")?.status === "True";
}

t.test("ML7: a runtime that hangs in one Pod's call holds no other Pod up", async (t) => {
  const runtime = new FakeRuntime(systemClock);
  const folder = await setUp(t, runtime, ["stuck", "web", "other"]);
  const gate = Promise.withResolvers<void>();
  const hanging = watchedRuntime(runtime, async (call, [, config], proceed) => {
    const isStuck =
      typeof config === "object" && config !== null && "name" in config && config.name === "stuck";
    if (call === "createContainer" && isStuck) await gate.promise;
    return await proceed();
  });
  const agent = await standalone(hanging, folder);
  t.teardown(() => agent.stop());
  await until("the others are ready", () => isReady(agent, "web") && isReady(agent, "other"));
  t.notOk(isReady(agent, "stuck"));
  await rm(path.join(folder, "manifests/other.yaml"));
  await until("one goes", () => agent.view.podByName("default", "other-node-a") === undefined);
  gate.resolve();
  await until("the stuck one goes on", () => isReady(agent, "stuck"));
});

t.test("ML7: a call that does not come back is said of its Pod, once, and others are not", async (t) => {
  const clock = new FakeClock();
  const said: string[] = [];
  const slow = new SlowCalls(clock, (uid, message) => said.push(`${uid} ${message}`));
  const never = new Promise<void>(() => {});
  const runtime = slow.watch(
    watchedRuntime(new FakeRuntime(clock), async (call, _, proceed) => {
      if (call !== "version") await never;
      return await proceed();
    }),
  );
  const signal = AbortSignal.timeout(10_000);
  void slow.within("u1", () => runtime.startContainer("c", signal));
  void slow.within("u2", () => runtime.stopContainer("c", 30, signal));
  void slow.within("u3", async () => {
    await runtime.version(signal);
  });
  void slow.within("u4", async () => {
    await runtime.pullImage("i", {}, signal);
  });
  void runtime.status(signal); // of no Pod
  await clock.advance(19_999);
  t.same(said, []);
  await clock.advance(100_000);
  t.same(said, [
    "u1 the container runtime has not answered startContainer for 20s",
    "u2 the container runtime has not answered stopContainer for 50s",
  ]);
});

t.test("ML7: while the runtime is away no Pod is tried, and all go on when it is back", async (t) => {
  const runtime = new FakeRuntime(systemClock);
  const folder = await setUp(t, runtime, ["web", "other"]);
  let away = false;
  const calls = { status: 0, ofPods: 0 };
  const leaving = watchedRuntime(runtime, async (call, [filter], proceed) => {
    if (call === "status") calls.status += 1;
    if (typeof filter === "object" && filter !== null && "podUid" in filter) calls.ofPods += 1;
    if (away) throw new RuntimeError("unavailable", `cannot ${call}: nobody answers`);
    return await proceed();
  });
  const agent = await standalone(leaving, folder, 0, ["--node-status-update-frequency=500ms"]);
  t.teardown(() => agent.stop());
  await until("both are ready", () => isReady(agent, "web") && isReady(agent, "other"), 30_000);
  away = true;
  await until("it is seen", () => !agent.view.healthy().ok, 30_000);
  const file = path.join(folder, "manifests/late.yaml");
  await writeFile(
    file,
    "apiVersion: v1\nkind: Pod\nmetadata: {name: late}\nspec:\n  containers: [{name: late, image: busybox}]\n",
  );
  await until("the Pod is known", () => agent.view.podByName("default", "late-node-a") !== undefined, 30_000);
  const before = { ...calls };
  await until("the runtime was asked again", () => calls.status > before.status + 4, 30_000);
  t.equal(calls.ofPods, before.ofPods, "and nobody asked it for a Pod");
  t.notOk(agent.events.some((event) => event.includes("late") && event.startsWith("FailedSync")));
  away = false;
  await until("the late one is ready", () => isReady(agent, "late"), 30_000);
  t.ok(isReady(agent, "web") && isReady(agent, "other"));
});

t.test("ML7: a network that is not ready stops no Pod that needs none", async (t) => {
  const runtime = new FakeRuntime(systemClock);
  runtime.networkReady = false;
  const folder = await setUp(t, runtime, ["waits"]);
  await writeFile(
    path.join(folder, "manifests/host.yaml"),
    "apiVersion: v1\nkind: Pod\nmetadata: {name: host}\nspec:\n  hostNetwork: true\n  containers: [{name: host, image: busybox}]\n",
  );
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  await until("it is ready", () => isReady(agent, "host"), 30_000);
  t.notOk(isReady(agent, "waits"));
  runtime.networkReady = true;
  await until("the other one too", () => isReady(agent, "waits"), 30_000);
});

t.test("LC23: a step that fails is said as FailedSync, once for as long as it stays the same", async (t) => {
  const runtime = new FakeRuntime(systemClock);
  const folder = await setUp(t, runtime, ["web"]);
  for (let i = 0; i < 3; i += 1)
    runtime.failNext("listContainers", new RuntimeError("unavailable", "nobody answers"));
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  await until("ready", () => isReady(agent, "web"), 10_000);
  t.same(
    agent.events.filter((event) => event.startsWith("FailedSync")),
    ["FailedSync error syncing pod: nobody answers"],
  );
});

t.test("ML3: a runtime that loses its events is found out by the full pass", async (t) => {
  class Silent extends FakeRuntime {
    override async *events(signal: AbortSignal): AsyncGenerator<RuntimeEvent, void, undefined> {
      // Every event names what it is of: none gets through.
      for await (const event of super.events(signal)) if (event.containerId === "") yield event;
    }
  }
  const runtime = new Silent(systemClock);
  const folder = await setUp(t, runtime, ["web"]);
  const agent = await standalone(runtime, folder, 0, ["--sync-frequency=500ms"]);
  t.teardown(() => agent.stop());
  await until("ready", () => isReady(agent, "web"));
  await runtime.endContainer(
    agent.view.podByName("default", "web-node-a")?.containers.get("web")?.id ?? "",
    1,
  );
  const restarts = (): number | undefined =>
    agent.view.podByName("default", "web-node-a")?.pod.status?.containerStatuses?.[0]?.restartCount;
  await until("it was restarted", () => restarts() === 1);
  t.pass();
});
