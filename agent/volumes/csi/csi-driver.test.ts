import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import * as grpc from "@grpc/grpc-js";
import t from "tap";
import { TestCsiDriver } from "../../../test/support/csi-driver.ts";
import { fuzzSeed, Random } from "../../../test/support/mutate.ts";
import { until } from "../../agent-fixture.ts";
import { GrpcStatusError } from "../../grpc/grpc-status.ts";
import { messageCodec } from "../../grpc/message-codec.ts";
import { CsiDriver, isFinal } from "./csi-driver.ts";
import { csiMessages } from "./csi-messages.ts";

const { signal } = new AbortController();

async function testDriver(): Promise<TestCsiDriver & { readonly client: CsiDriver }> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "csi-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const driver = new TestCsiDriver({ folder, registry: path.join(folder, "registry") });
  await driver.start();
  return Object.assign(driver, { client: new CsiDriver("csi.example.com", driver.socket, "1.0.0") });
}

const good: Readonly<Record<string, object>> = {
  NodeGetInfo: { nodeId: "n", maxVolumesPerNode: 7, accessibleTopology: { segments: { zone: "a" } } },
  NodeGetCapabilities: { capabilities: [{ rpc: { type: 1 } }, { rpc: { type: 6 } }, {}] },
  NodeGetVolumeStats: {
    usage: [{ unit: 1, total: 10, used: 4, available: 6 }, { unit: 9 }],
    volumeCondition: { abnormal: true, message: "worn" },
  },
  NodeExpandVolume: { capacityBytes: 2 ** 40 },
  NodeStageVolume: {},
};

const capability = { block: {}, accessMode: { mode: 1 } };
const calls: Readonly<Record<string, (client: CsiDriver) => Promise<unknown>>> = {
  NodeGetInfo: (client) => client.info(signal),
  NodeGetCapabilities: (client) => client.capabilities(signal),
  NodeGetVolumeStats: (client) => client.stats("h", "/p", "", signal),
  NodeExpandVolume: (client) =>
    client.expand(
      {
        volumeId: "h",
        volumePath: "/p",
        stagingTargetPath: "",
        capacityRange: { requiredBytes: 1 },
        volumeCapability: capability,
        secrets: {},
      },
      signal,
    ),
  NodeStageVolume: (client) =>
    client.stage(
      {
        volumeId: "h",
        publishContext: {},
        stagingTargetPath: "/s",
        volumeCapability: capability,
        secrets: {},
        volumeContext: {},
      },
      signal,
    ),
};

t.test("VO15: a driver's answers are read, and what is missing in them has a meaning", async (t) => {
  await using driver = await testDriver();
  const { client } = driver;
  const codec = messageCodec(csiMessages);
  for (const [method, answer] of Object.entries(good))
    driver.raw.set(method, codec.encode(`${method}Response`, answer));
  driver.staged.set("h", "/s"); // its own answer is replaced, but not its judgement
  driver.published.set("/p", { handle: "h", isBlock: false });
  t.same(await client.info(signal), { nodeId: "n", maxVolumes: 7, topology: { zone: "a" } });
  t.same([...(await client.capabilities(signal))], [1, 6]);
  t.same(await calls["NodeGetVolumeStats"]?.(client), {
    usage: [{ available: 6, total: 10, used: 4, unit: "bytes" }],
    condition: { abnormal: true, message: "worn" },
  });
  t.equal(await calls["NodeExpandVolume"]?.(client), 2 ** 40);
  driver.raw.set("NodeGetVolumeStats", Buffer.alloc(0));
  driver.raw.set("NodeGetCapabilities", Buffer.alloc(0));
  t.same(await calls["NodeGetVolumeStats"]?.(client), { usage: [], condition: undefined });
  t.equal((await client.capabilities(signal)).size, 0);
  driver.raw.set("NodeGetInfo", Buffer.alloc(0));
  await t.rejects(client.info(signal), {
    code: "Internal",
    message:
      "rpc error: code = Internal desc = the driver's answer to NodeGetInfo makes no sense: node_id is empty",
  });
  client.close();
});

t.test("VO15: no answer of a driver does harm: each is read or refused with a status", async (t) => {
  await using driver = await testDriver();
  const { client } = driver;
  driver.staged.set("h", "/s");
  driver.published.set("/p", { handle: "h", isBlock: false });
  const codec = messageCodec(csiMessages);
  const random = new Random(fuzzSeed);
  const deadline = performance.now() + 20_000;
  let cases = 0;
  let refused = 0;
  for (; cases < 3_000 && performance.now() < deadline; cases += 1) {
    const method = random.pick(Object.keys(calls));
    const bytes =
      random.below(3) === 0
        ? Buffer.from(Array.from({ length: random.below(40) }, () => random.below(256)))
        : mutated(random, codec.encode(`${method}Response`, good[method] ?? {}));
    driver.raw.set(method, bytes);
    const words = `FUZZ_SEED=${fuzzSeed}, case ${cases}: ${method} ${bytes.toString("hex")}`;
    try {
      const value = await calls[method]?.(client);
      if (method === "NodeGetInfo" && !isNodeInfo(value))
        t.fail(`${words} is read as ${JSON.stringify(value)}`);
    } catch (cause) {
      refused += 1;
      if (!(cause instanceof GrpcStatusError)) t.fail(`${words} ends in ${String(cause)}`);
    }
  }
  t.ok(cases > 500 && refused > 50 && refused < cases, `${refused} of ${cases} were refused`);
  client.close();
});

t.test("VO15: a driver that hangs or is away fails its call, and the agent can end meanwhile", async (t) => {
  await using driver = await testDriver();
  const { client } = driver;
  const hangs = Promise.withResolvers<void>();
  driver.before = () => hangs.promise;
  const stop = new AbortController();
  const waiting = client.info(stop.signal);
  stop.abort(new Error("the agent ends"));
  await t.rejects(waiting, { message: "the agent ends" });
  hangs.resolve();
  await driver.stop();
  await t.rejects(client.info(signal), { code: "Unavailable" });
  client.close();
});

t.test("VO15: every call has its limit, and a driver that restarts is reached again", async (t) => {
  await using driver = await testDriver();
  const hasty = new CsiDriver("csi.example.com", driver.socket, "1.0.0", 200);
  const hangs = Promise.withResolvers<void>();
  driver.before = () => hangs.promise;
  for (const method of ["NodeGetInfo", "NodeStageVolume"])
    await t.rejects(async () => await calls[method]?.(hasty), {
      message: "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
    });
  hangs.resolve();
  hasty.close();
  driver.before = async () => {};
  const { client } = driver;
  t.equal((await client.info(signal)).nodeId, "node-id-1");
  await driver.stop();
  await t.rejects(client.info(signal), { code: "Unavailable" });
  await driver.start();
  const answers = async (): Promise<boolean> =>
    await client.info(signal).then(
      () => true,
      () => false,
    );
  await until("it answers", answers, 30_000);
  client.close();
});

t.test("VO15: after some failures nobody knows what the driver did", async (t) => {
  await using driver = await testDriver();
  const { client } = driver;
  for (const [code, final] of [
    [grpc.status.NOT_FOUND, true],
    [grpc.status.INTERNAL, true],
    [grpc.status.ABORTED, false],
    [grpc.status.UNAVAILABLE, false],
    [grpc.status.DEADLINE_EXCEEDED, false],
  ] as const) {
    driver.faults.set("NodeStageVolume", { code, message: "no" });
    const cause: unknown = await calls["NodeStageVolume"]?.(client).catch((one: unknown) => one);
    t.equal(isFinal(cause), final, String(cause));
  }
  client.close();
});

function isNodeInfo(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    "nodeId" in value &&
    typeof value.nodeId === "string" &&
    value.nodeId !== "" &&
    "maxVolumes" in value &&
    typeof value.maxVolumes === "number" &&
    value.maxVolumes >= 0
  );
}

/** Flips, cuts, doubles or inserts some bytes. */
function mutated(random: Random, bytes: Buffer): Buffer {
  const copy = [...bytes];
  for (let changes = 1 + random.below(3); changes > 0; changes -= 1) {
    const at = random.below(copy.length + 1);
    const kind = random.below(4);
    if (kind === 0) copy.splice(at, 1, random.below(256));
    if (kind === 1) copy.splice(at, random.below(4));
    if (kind === 2) copy.splice(at, 0, ...copy.slice(at, at + 4));
    if (kind === 3) copy.splice(at, 0, random.below(256));
  }
  return Buffer.from(copy);
}
