import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { FakeRuntime } from "./fake.ts";
import { runtimeContract } from "./runtime-contract.ts";

t.test("the fake behaves as a runtime", async (t) => {
  const logRoot = await mkdtemp(path.join(tmpdir(), "keelson-fake-"));
  t.teardown(() => rm(logRoot, { recursive: true }));
  const runtime = new FakeRuntime(systemClock, { logs: "files" });
  runtime.addImage("keelson.test/busybox:1", { entrypoint: ["/bin/sh"] });
  const awake = setInterval(() => {}, 1_000); // The clock's own timers keep no process alive.
  t.teardown(() => clearInterval(awake));
  await runtimeContract(t, {
    runtime,
    image: "keelson.test/busybox:1",
    logRoot,
    network: "pod",
    cgroupParent: "",
    logs: true,
    processes: false,
  });
  await runtime.close();
});
