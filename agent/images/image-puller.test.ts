import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import type { ImageState } from "../model.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { RuntimeError } from "../runtime/runtime.ts";
import { memoryRecords } from "./record-fixture.ts";
import { backingOffPull, ImagePuller, type ImageWish } from "./image-puller.ts";

const never = new AbortController().signal;
const limits = { parallel: 2, perSecond: 0, burst: 10 };

async function setUp(more: Partial<typeof limits> = {}) {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  const puller = new ImagePuller(
    runtime,
    clock,
    { ...limits, ...more },
    (await memoryRecords(clock)).records,
  );
  const said: string[] = [];
  const wish = (image: string, rest: Partial<ImageWish> = {}): Promise<ImageState> =>
    puller.ensure(
      {
        owner: `pod/${image}`,
        image,
        policy: undefined,
        runtimeHandler: "",
        podCredentials: async () => [],
        nodeCredentials: async () => [],
        account: async () => undefined,
        tell: (type, reason, message) => said.push(`${type} ${reason} ${message}`),
        ...rest,
      },
      never,
    );
  const pulls = (): number => runtime.history.filter((call) => call.startsWith("pullImage")).length;
  return { clock, runtime, said, wish, pulls, puller };
}

t.test("IM1: each pull policy does what it says, in the kubelet's words", async (t) => {
  const { clock, runtime, said, wish, pulls } = await setUp();
  runtime.registry.set("docker.io/library/web:1", { entrypoint: ["sleep"], pullMs: 1_250 });
  const first = wish("web:1");
  await clock.advance(1_250);
  t.match(await first, { state: "present", ref: /^sha256:/ });
  t.same(said.splice(0), [
    'Normal Pulling Pulling image "web:1"',
    'Normal Pulled Successfully pulled image "web:1" in 1.25s (1.25s including waiting). Image size: 1000000 bytes.',
  ]);
  await wish("web:1");
  t.same(said.splice(0), ['Normal Pulled Container image "web:1" already present on machine']);
  t.equal(pulls(), 1, "IfNotPresent asks no registry for what is there");
  const again = wish("web:1", { policy: "Always" });
  await clock.advance(1_250);
  await again;
  t.equal(pulls(), 2, "Always asks");
  said.splice(0);
  t.match(await wish("none:1", { policy: "Never" }), {
    state: "failed",
    reason: "ErrImageNeverPull",
    message: 'Container image "none:1" is not present with pull policy of Never',
  });
  t.match(said.splice(0), [/^Warning ErrImageNeverPull/]);
  t.equal(pulls(), 2);
});

t.test("IM1: names that are none, and a runtime that cannot look, have reasons of their own", async (t) => {
  const { runtime, said, wish } = await setUp();
  t.match(await wish("Web:1"), { reason: "InvalidImageName", message: /^Failed to apply default image tag/ });
  runtime.failNext("imageStatus", new RuntimeError("failed", "no disk"));
  t.match(await wish("web:1"), {
    reason: "ImageInspectError",
    message: 'Failed to inspect image "web:1": no disk',
  });
  t.match(said, [/^Warning InspectFailed Failed to apply/, /^Warning InspectFailed Failed to inspect/]);
});

t.test("IM2: a pull that fails waits 10 s, doubling up to 300 s, for each Pod and image alone", async (t) => {
  const { clock, wish } = await setUp();
  const waits: number[] = [];
  for (let tries = 0; tries < 7; tries += 1) {
    const state = await wish("none:1");
    if (state.state !== "failed") throw new Error("it must fail");
    waits.push((state.retryAtMs - clock.now()) / 1_000);
    await clock.advance(state.retryAtMs - clock.now());
  }
  t.same(waits, [10, 20, 40, 80, 160, 300, 300]);
  t.match(await wish("none:1", { owner: "other/none:1" }), { retryAtMs: clock.now() + 10_000 });
});

t.test("IM2: a pull that succeeds begins its back-off anew", async (t) => {
  const { clock, runtime, wish } = await setUp();
  runtime.registry.set("docker.io/library/web:1", { entrypoint: ["sleep"] });
  runtime.failNext("pullImage", new RuntimeError("image-pull", "no route"));
  await wish("web:1", { policy: "Always" });
  t.match(await wish("web:1", { policy: "Always" }), { state: "present" });
  runtime.failNext("pullImage", new RuntimeError("image-pull", "no route"));
  t.match(await wish("web:1", { policy: "Always" }), { retryAtMs: clock.now() + 10_000 });
});

const failures = [
  {
    name: "any other fault",
    says: "no route",
    reason: "ErrImagePull",
    event: 'Failed to pull image "web:1": no route',
    waiting: 'Back-off pulling image "web:1": ErrImagePull: no route',
  },
  {
    name: "the registry is away",
    says: "RegistryUnavailable: connection refused",
    reason: "RegistryUnavailable",
    event: "image pull failed for web:1 because the registry is unavailable: connection refused",
    waiting: /^Back-off pulling image "web:1": RegistryUnavailable: image pull failed/,
  },
  {
    name: "the signature does not hold",
    says: "SignatureValidationFailed: no key",
    reason: "SignatureValidationFailed",
    event: "image pull failed for web:1 because the signature validation failed: no key",
    waiting: /SignatureValidationFailed/,
  },
] as const;
for (const { name, says, reason, event, waiting } of failures) {
  t.test(`IM2: a failed pull is told as ${reason} first, then as ImagePullBackOff: ${name}`, async (t) => {
    const { runtime, said, wish } = await setUp();
    runtime.failNext("pullImage", new RuntimeError("image-pull", says));
    const state = await wish("web:1");
    t.match(state, { state: "failed", reason });
    t.same(said.slice(1), [`Warning Failed ${event}`, `Warning Failed Error: ${reason}`]);
    if (state.state !== "failed") throw new Error("it must fail");
    t.match(backingOffPull("web:1", state), { reason: "ImagePullBackOff", message: waiting });
  });
}

t.test("IM3: no more than the limit pull at the same time, and the wait is told", async (t) => {
  const { clock, runtime, said, wish, pulls } = await setUp();
  for (const name of ["a", "b", "c"])
    runtime.registry.set(`docker.io/library/${name}:1`, { entrypoint: ["sleep"], pullMs: 1_000 });
  const all = ["a:1", "b:1", "c:1"].map((image) => wish(image));
  await clock.advance(500);
  t.equal(pulls(), 2);
  await clock.advance(1_500);
  await Promise.all(all);
  t.ok(
    said.includes(
      'Normal Pulled Successfully pulled image "c:1" in 1s (2s including waiting). Image size: 1000000 bytes.',
    ),
    said.join("\n"),
  );
});

t.test("how far a pull is can be asked while it waits and while it runs", async (t) => {
  const { clock, runtime, wish, puller } = await setUp({ parallel: 1 });
  for (const name of ["a", "b"])
    runtime.registry.set(`docker.io/library/${name}:1`, { entrypoint: ["sleep"], pullMs: 1_000 });
  const ended: string[] = [];
  const noted = (name: string): Partial<ImageWish> => ({
    began: () => (failed) => void ended.push(`${name} ${failed}`),
  });
  const beganMs = clock.now();
  const all = [wish("a:1", noted("a")), wish("b:1", noted("b")), wish("none:1", noted("none"))];
  await clock.advance(600);
  t.match(puller.running("a:1"), {
    sinceMs: beganMs,
    progress: { currentBytes: 500_000, totalBytes: 1_000_000 },
  });
  t.same(puller.running("b:1"), { sinceMs: undefined, progress: undefined }, "it waits for its turn");
  await clock.advance(5_000);
  await Promise.all(all);
  t.same(
    ["a:1", "b:1"].map((image) => puller.running(image)),
    [undefined, undefined],
  );
  t.same(ended, ["a false", "b false", "none true"]);
});

t.test("IM3: Pods that want one image with the same credentials share one pull", async (t) => {
  const { clock, runtime, said, wish, pulls } = await setUp();
  runtime.registry.set("docker.io/library/web:1", { entrypoint: ["sleep"], pullMs: 1_000 });
  const all = ["a", "b", "c"].map((owner) => wish("web:1", { owner }));
  const other = wish("web:1", {
    owner: "d",
    nodeCredentials: async () => [{ auth: { username: "d", password: "d" } }],
  });
  await clock.advance(1_000);
  t.match(await Promise.all([...all, other]), [{ state: "present" }, {}, {}, { state: "present" }]);
  t.equal(pulls(), 2, "other credentials are asked with alone: they may not be allowed");
  t.equal(said.filter((line) => line.includes("Successfully pulled")).length, 4);
});

t.test("IM3: after a burst, pulls begin at the registry's rate", async (t) => {
  const { clock, wish, pulls } = await setUp({ parallel: 100, perSecond: 5, burst: 10 });
  const all = Array.from({ length: 20 }, (_, place) => wish(`none:${place}`));
  await clock.advance(0);
  t.equal(pulls(), 10);
  await clock.advance(1_000);
  t.equal(pulls(), 15);
  await clock.advance(1_000);
  t.equal(pulls(), 20);
  await Promise.all(all);
});

t.test("IM3: a pull that takes long tells how far it is, every 15 s and no more often", async (t) => {
  const { clock, runtime, said, wish } = await setUp();
  runtime.registry.set("docker.io/library/web:1", { entrypoint: ["sleep"], pullMs: 40_000 });
  const pull = wish("web:1");
  await clock.advance(40_000);
  await pull;
  t.same(said.slice(1, -1), [
    'Normal Pulling Still pulling image "web:1" after 15s: 0.5 of 1.0 MB',
    'Normal Pulling Still pulling image "web:1" after 30s: 0.5 of 1.0 MB',
  ]);
  await clock.advance(60_000);
  t.equal(said.length, 4, "and is silent when it is done");
});

t.test("IM4: each of the credentials is tried until one is let in", async (t) => {
  const { runtime, wish, pulls } = await setUp();
  runtime.registry.set("docker.io/library/web:1", { entrypoint: ["sleep"], password: "right" });
  const nodeCredentials = async () =>
    ["wrong", "right", "unused"].map((password) => ({ auth: { password } }));
  t.match(await wish("web:1", { nodeCredentials }), { state: "present" });
  t.equal(pulls(), 2);
  t.match(
    await wish("web:1", { policy: "Always", nodeCredentials: async () => [{ auth: { password: "wrong" } }] }),
    {
      reason: "ErrImagePull",
      message: /unauthorized/,
    },
  );
});
