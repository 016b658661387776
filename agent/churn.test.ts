import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { standalone, until } from "./agent-fixture.ts";
import { FakeRuntime } from "./runtime/fake.ts";

/** A hundred Pods after the first waves; CHURN_WAVES=102 makes two thousand. */
const waves = Number(process.env["CHURN_WAVES"] ?? 7);
const podsInWave = 20;
/** After these everything is loaded and every cache has its size. */
const warmUp = 2;

/** The heap of one moment is never that of another; this does not grow with the number of Pods. */
const mostMoreBytes = 8_000_000;

/** In memory, so that it is a mount, where we may mount. */
const medium = process.getuid?.() === 0 ? "medium: Memory" : "";

const manifest = (name: string): string => `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, emptyDir: {${medium}}}]
  initContainers:
  - {name: init, image: busybox, command: [sh, -c, "exit 0"]}
  containers:
  - name: web
    image: busybox
    command: [sh, -c, "trap 'exit 0' TERM; sleep 1000"]
    volumeMounts: [{name: data, mountPath: /data}]
    readinessProbe: {exec: {command: [sh, -c, "exit 0"]}, periodSeconds: 1}
    lifecycle: {preStop: {sleep: {seconds: 0}}}
`;

/** What an agent holds on to. */
interface Holdings {
  readonly descriptors: number;
  readonly handles: number;
  readonly mounts: number;
  readonly heapBytes: number;
}

setFlagsFromString("--expose-gc");
const collect: unknown = runInNewContext("gc");

async function holdings(folder: string): Promise<Holdings> {
  if (typeof collect === "function") collect();
  return {
    descriptors: (await readdir("/proc/self/fd")).length,
    handles: process.getActiveResourcesInfo().filter((kind) => kind !== "Timeout" && kind !== "Immediate")
      .length,
    // Only our own: other tests mount at the same time.
    mounts: (await readFile("/proc/self/mounts", "utf8")).split("\n").filter((line) => line.includes(folder))
      .length,
    heapBytes: process.memoryUsage().heapUsed,
  };
}

t.test(
  "ML6: a hundred Pods come and go, and the agent is as small as before",
  { timeout: 30_000 + waves * 5_000 },
  async (t) => {
    const folder = await mkdtemp(path.join(os.tmpdir(), "agent-churn-"));
    t.teardown(() => rm(folder, { recursive: true, force: true }));
    const runtime = new FakeRuntime(systemClock);
    runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
    const manifests = path.join(folder, "manifests");
    await mkdir(manifests, { recursive: true });
    const agent = await standalone(runtime, folder);
    t.teardown(() => agent.stop());
    const seen: Holdings[] = [];
    for (let wave = 0; wave < waves; wave += 1) {
      const names = Array.from({ length: podsInWave }, (_, i) => `web-${wave}-${i}`);
      for (const name of names) await writeFile(path.join(manifests, `${name}.yaml`), manifest(name));
      await until(
        `wave ${wave} is ready`,
        () =>
          names.every(
            (name) =>
              agent.view.podByName("default", `${name}-node-a`)?.pod.status?.containerStatuses?.[0]?.ready ===
              true,
          ),
        20_000,
      );
      for (const name of names) await rm(path.join(manifests, `${name}.yaml`));
      await until(
        `wave ${wave} is gone`,
        async () =>
          agent.view.pods().length === 0 &&
          (await runtime.listSandboxes({}, AbortSignal.timeout(1_000))).length === 0,
        20_000,
      );
      for (const place of ["kubelet/pods", "logs", "links"])
        t.same(await readdir(path.join(folder, place)).catch(() => []), [], `${place} after wave ${wave}`);
      // What the fake and the fixture write down for other tests is not the agent's.
      runtime.history.length = 0;
      agent.events.length = 0;
      seen.push(await holdings(folder));
    }
    const before = seen[warmUp - 1];
    const after = seen.at(-1);
    if (before === undefined || after === undefined) throw new Error("no wave was measured");
    t.ok(
      after.descriptors <= before.descriptors + 2,
      `${before.descriptors} to ${after.descriptors} descriptors`,
    );
    t.ok(after.handles <= before.handles + 2, `${before.handles} to ${after.handles} handles`);
    t.equal(after.mounts, before.mounts);
    const more = after.heapBytes - before.heapBytes;
    const gone = (waves - warmUp) * podsInWave;
    t.ok(more < Math.min(mostMoreBytes, 40_000 * gone), `${more} more bytes of heap after ${gone} Pods`);
  },
);
