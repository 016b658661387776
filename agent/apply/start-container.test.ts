import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { standalone, until } from "../agent-fixture.ts";
import { FakeRuntime } from "../runtime/fake.ts";

t.test("LC14: a restart count goes on from the logs when nobody else remembers", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "start-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await mkdir(path.join(folder, "manifests"));
  await writeFile(
    path.join(folder, "manifests/web.yaml"),
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web, uid: u1}\nspec:\n  containers: [{name: old, image: busybox}, {name: new, image: busybox}]\n",
  );
  const logs = path.join(folder, "logs/default_web-node-a_u1/old");
  await mkdir(logs, { recursive: true });
  for (const name of ["0.log", "4.log.20260101-000000.gz", "3.log"])
    await writeFile(path.join(logs, name), "");
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  const agent = await standalone(runtime, folder);
  t.teardown(() => agent.stop());
  const counts = () =>
    agent.view
      .podByName("default", "web-node-a")
      ?.pod.status?.containerStatuses?.map(({ restartCount, state }) => [
        restartCount,
        state?.running !== undefined,
      ]);
  await until("both run", () => counts()?.every(([, runs]) => runs) === true, 30_000);
  t.same(counts(), [
    [5, true],
    [0, true],
  ]);
});
