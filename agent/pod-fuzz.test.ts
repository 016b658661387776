/** Pods that nobody would write, as static Pods: each runs or is refused with the field that is wrong. */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { fuzz, fuzzSeed, mutateValue, Random } from "../test/support/mutate.ts";
import { podSeeds } from "../test/support/pod-seeds.ts";
import { standalone, until } from "./agent-fixture.ts";
import { qosClass } from "./plan/qos.ts";
import { ManifestError, staticPod } from "./plan/static-pod.ts";
import { FakeRuntime } from "./runtime/fake.ts";

t.setTimeout(110_000);
const goodPod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "good" },
  spec: { containers: [{ name: "main", image: "busybox" }] },
};

t.test("PS2: no mutated manifest is half read, and every refusal names a field", async (t) => {
  let taken = 0;
  const ran = await fuzz(10_000, 30_000, (random) => {
    const manifest = mutateValue(random, random.pick(podSeeds));
    try {
      const pod = staticPod(manifest, { kind: "file", place: "/manifests/web.yaml" }, "node-a", 0);
      taken += 1;
      qosClass(pod);
    } catch (cause) {
      if (!(cause instanceof ManifestError)) throw cause;
      if (!/: (metadata|spec|kind|apiVersion)|v1 Pod|reference/.test(cause.message)) throw cause;
    }
  });
  t.ok(ran > 1_000 && taken > ran / 10, `${taken} of ${ran} are Pods`);
});

t.test("PS2: an agent goes on whatever stands beside a good manifest", async (t) => {
  let rounds = 0;
  const deadline = performance.now() + 25_000;
  for (; rounds < 30 && performance.now() < deadline; rounds += 1) await oneRound(rounds);
  t.ok(rounds > 3, `${rounds} rounds of 80`);
});

async function oneRound(round: number): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-fuzz-"));
  const manifests = path.join(folder, "manifests");
  await mkdir(manifests);
  const random = new Random(fuzzSeed * 7 + round);
  for (let index = 0; index < 80; index += 1) {
    const pod = mutateValue(random, random.pick(podSeeds));
    await writeFile(path.join(manifests, `p${index}.json`), JSON.stringify(renamed(pod, index)));
  }
  await writeFile(path.join(manifests, "z.json"), JSON.stringify(goodPod));
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
  const agent = await standalone(runtime, folder);
  await until(
    `round ${round} of FUZZ_SEED=${fuzzSeed}: the good Pod runs`,
    () => agent.view.podByName("default", "good-node-a")?.pod.status?.phase === "Running",
    20_000,
  );
  await agent.stop();
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
}

/** Two of one name would hide each other. */
function renamed(pod: unknown, index: number): unknown {
  if (typeof pod !== "object" || pod === null || !("metadata" in pod)) return pod;
  const { metadata } = pod;
  if (typeof metadata !== "object" || metadata === null || !("name" in metadata)) return pod;
  return metadata.name === "web" || metadata.name === "small"
    ? { ...pod, metadata: { ...metadata, name: `${metadata.name}-${index}` } }
    : pod;
}
