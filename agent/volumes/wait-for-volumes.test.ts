import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { standalone, type StandaloneAgent } from "../agent-fixture.ts";
import { FakeRuntime } from "../runtime/fake.ts";

/** An agent whose time stands still, with one static Pod that has these volumes. */
async function waiting(
  t: Test,
  volumes: string,
): Promise<{ readonly agent: StandaloneAgent; readonly clock: FakeClock; readonly folder: string }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "wait-for-volumes-"));
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  await mkdir(`${folder}/manifests`);
  const mounts = [...volumes.matchAll(/name: (\w+)/g)].map(
    ([, name]) => `{name: ${name}, mountPath: /${name}}`,
  );
  await writeFile(
    `${folder}/manifests/web.yaml`,
    `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  volumes: [${volumes.replaceAll("FOLDER", folder)}]
  containers: [{name: web, image: busybox, volumeMounts: [${mounts.join(", ")}]}]
`,
  );
  const agent = await standalone(runtime, folder, 0, [], clock);
  t.teardown(async () => {
    await agent.stop();
    await rm(folder, { recursive: true, force: true });
  });
  return { agent, clock, folder };
}

/** Lets time pass, a second at a time, with moments for the disk; ends early when it holds. */
async function pass(clock: FakeClock, seconds: number, holds: () => boolean): Promise<void> {
  for (let second = 0; second < seconds && !holds(); second += 1) {
    await clock.advance(1_000);
    await systemClock.sleep(5, AbortSignal.timeout(10_000));
  }
}

t.test(
  "VO2: a Pod says after 2 min 3 s which volumes it still waits for, and again each time",
  { timeout: 110_000 },
  async (t) => {
    const { agent, clock, folder } = await waiting(
      t,
      "{name: lost, hostPath: {path: FOLDER/lost, type: Directory}}, {name: there, emptyDir: {}}",
    );
    const single =
      'FailedMount MountVolume.SetUp failed for volume "lost" : ' +
      `hostPath type check failed: ${folder}/lost is not a directory`;
    const whole =
      "FailedMount Unable to attach or mount volumes: unmounted volumes=[lost], unattached volumes=[], " +
      "failed to process volumes=[]: context deadline exceeded";
    const said = (event: string): number => agent.events.filter((one) => one === event).length;
    const began = clock.now();
    await pass(clock, 600, () => said(single) > 0);
    t.equal(said(single), 1, "the fault itself is said at once");
    t.equal(said(whole), 0);
    await pass(clock, 600, () => said(whole) > 0);
    t.equal(said(whole), 1);
    t.ok(clock.now() - began >= 123_000, "not before");
    t.equal(agent.view.podByName("default", "web-node-a")?.pod.status?.phase, "Pending");
    await pass(clock, 600, () => said(whole) > 1);
    t.equal(said(whole), 2, "and again");
    t.ok(clock.now() - began >= 246_000);

    await mkdir(`${folder}/lost`);
    const running = (): boolean =>
      agent.view.podByName("default", "web-node-a")?.pod.status?.containerStatuses?.[0]?.state?.running !==
      undefined;
    await pass(clock, 600, running);
    t.ok(running(), "it runs once the volume is there");
  },
);

t.test("VO1: a gitRepo volume is refused with the way to do without", { timeout: 60_000 }, async (t) => {
  const { agent, clock } = await waiting(t, "{name: code, gitRepo: {repository: 'https://git.example/x'}}");
  const said = (): string | undefined => agent.events.find((event) => event.startsWith("FailedMount"));
  await pass(clock, 600, () => said() !== undefined);
  t.equal(
    said(),
    'FailedMount MountVolume.SetUp failed for volume "code" : git-repo volume plugin has been disabled; ' +
      "clone the repository in an init container into an emptyDir instead",
  );
});
