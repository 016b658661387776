import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { standalone, until } from "../agent-fixture.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { watchedRuntime } from "../runtime/watched-runtime.ts";

const cases: readonly {
  readonly name: string;
  readonly graceSeconds: number;
  readonly hookSeconds: number;
  /** Seconds that are left, between the two; a slow machine takes some. */
  readonly left: readonly [number, number];
}[] = [
  {
    name: "LC15: a container has all of it without a hook between TERM and KILL",
    graceSeconds: 20,
    hookSeconds: 0,
    left: [12, 20],
  },
  {
    name: "LC15: a container has what its hook leaves between TERM and KILL",
    graceSeconds: 20,
    hookSeconds: 1,
    left: [11, 19],
  },
  {
    name: "LC15: a container has two seconds when its hook took all between TERM and KILL",
    graceSeconds: 1,
    hookSeconds: 30,
    left: [2, 2],
  },
  {
    name: "LC15: a container has two seconds of a grace period of one between TERM and KILL",
    graceSeconds: 1,
    hookSeconds: 0,
    left: [2, 2],
  },
];
for (const { name, graceSeconds, hookSeconds, left } of cases) {
  t.test(name, async (t) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "kill-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const runtime = new FakeRuntime(systemClock);
    runtime.addImage("busybox", { entrypoint: ["sh", "-c", "trap 'exit 0' TERM; sleep 1000"] });
    const waits: unknown[] = [];
    const watched = watchedRuntime(runtime, async (call, [, seconds], proceed) => {
      if (call === "stopContainer") waits.push(seconds);
      return await proceed();
    });
    const file = path.join(folder, "manifests/web.yaml");
    const hook = hookSeconds === 0 ? "" : `, lifecycle: {preStop: {sleep: {seconds: ${hookSeconds}}}}`;
    await mkdir(path.dirname(file));
    await writeFile(
      file,
      `apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  terminationGracePeriodSeconds: ${graceSeconds}\n  containers: [{name: web, image: busybox${hook}}]\n`,
    );
    const agent = await standalone(watched, folder);
    t.teardown(() => agent.stop());
    const web = () => agent.view.podByName("default", "web-node-a");
    await until("it runs", () => web()?.containers.get("web")?.state === "running", 30_000);
    await rm(file);
    await until("it has ended", () => web() === undefined, 30_000);
    t.equal(waits.length, 1);
    const [seconds] = waits;
    const [least, most] = left;
    t.ok(typeof seconds === "number" && seconds >= least && seconds <= most, `${String(seconds)} seconds`);
  });
}
