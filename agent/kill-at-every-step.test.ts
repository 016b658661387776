import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { standalone, type StandaloneAgent, until } from "./agent-fixture.ts";
import { FakeRuntime } from "./runtime/fake.ts";
import { changingCalls, watchedRuntime } from "./runtime/watched-runtime.ts";

const manifest = `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {}}]
  initContainers:
  - {name: init, image: busybox, command: [sh, -c, "exit 0"], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: side, image: busybox, restartPolicy: Always, command: [sh, -c, "trap 'exit 0' TERM; sleep 1000"]}
  containers:
  - name: web
    image: busybox
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000"]
    readinessProbe: {exec: {command: [sh, -c, "exit 0"]}, periodSeconds: 100}
    lifecycle: {preStop: {exec: {command: [sh, -c, "exit 0"]}}}
`;
const patienceMs = 30_000;

interface Life {
  /** Calls that changed something, in order. */
  readonly calls: readonly string[];
  readonly history: readonly string[];
  readonly restarts: readonly number[];
  /** What the disk and the runtime still have at the end. */
  readonly left: readonly string[];
}

/** A whole life of a Pod. The agent dies at its `dieAt`-th change, and another goes on. */
async function live(dieAt: number, dieWhen: "before" | "after"): Promise<Life> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-kill-"));
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  const file = path.join(folder, "manifests/web.yaml");
  await writeFile(file, manifest);
  const calls: string[] = [];
  let isDead = false;
  const never = new Promise<void>(() => {});
  const mortal = watchedRuntime(runtime, async (call, _, proceed) => {
    if (isDead) await never; // nothing that a dead agent had begun goes on
    if (!changingCalls.has(call)) return await proceed();
    calls.push(call);
    const isLast = calls.length === dieAt;
    if (isLast) isDead = true;
    if (isLast && dieWhen === "before") await never;
    const answer = await proceed();
    if (isLast) await never;
    return answer;
  });
  let agent: StandaloneAgent & { readonly isSecond?: boolean } = await standalone(mortal, folder);
  const isReady = ({ view }: StandaloneAgent): boolean =>
    view.podByName("default", "web-node-a")?.pod.status?.conditions?.find(({ type }) => type === "Ready")
      ?.status === "True";
  const reach = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
    const isDying = (): boolean => isDead && agent.isSecond !== true;
    await until(`${what}, or the agent is dead`, async () => isDying() || (await holds()), patienceMs);
    if (!isDying()) return;
    void agent.stop(); // it never ends: what it waits for never comes
    agent = { ...(await standalone(runtime, folder)), isSecond: true };
    await until(what, holds, patienceMs);
  };
  const isGone = async (): Promise<boolean> =>
    agent.view.pods().length === 0 &&
    (await runtime.listSandboxes({}, AbortSignal.timeout(1_000))).length === 0 &&
    (await readdir(path.join(folder, "kubelet/pods"))).length === 0;
  await reach("Ready", () => isReady(agent));
  const statuses = agent.view.podByName("default", "web-node-a")?.pod.status;
  const restarts = [...(statuses?.initContainerStatuses ?? []), ...(statuses?.containerStatuses ?? [])].map(
    ({ restartCount }) => restartCount,
  );
  await rm(file);
  await reach("gone", isGone);
  await agent.stop();
  const left = [
    ...(await runtime.listContainers({}, AbortSignal.timeout(1_000))).map(({ id }) => id),
    ...(await readdir(path.join(folder, "kubelet/pods"))),
    ...(await readdir(path.join(folder, "logs")).catch(() => [])),
    ...(await readdir(path.join(folder, "links")).catch(() => [])),
  ];
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
  return { calls, history: runtime.history, restarts, left };
}

t.test("ML6: an agent that dies at any call is followed by one that finishes the work", async (t) => {
  const awake = setInterval(() => {}, 1_000); // The clock's own timers keep no process alive.
  t.teardown(() => clearInterval(awake));
  const whole = await live(0, "before");
  t.same(whole.left, []);
  t.ok(whole.calls.length >= 10, whole.calls.join(" "));
  const deaths = whole.calls.flatMap((_, place) =>
    (["before", "after"] as const).map((when) => ({ at: place + 1, when })),
  );
  const lives = await Promise.all(
    deaths.map(async ({ at, when }) => ({ at, when, life: await live(at, when) })),
  );
  for (const { at, when, life } of lives) {
    const name = `${when} change ${at}, ${life.calls[at - 1]}`;
    const count = (call: string): number => life.history.filter((one) => one.startsWith(call)).length;
    t.same(life.left, [], `${name}: nothing is left`);
    t.same(life.restarts, [0, 0, 0], `${name}: nothing restarted`);
    t.equal(count("runSandbox"), 1, `${name}: one sandbox`);
    t.equal(count("startContainer"), 3, `${name}: each container ran once`);
  }
});
