import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { FakeClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { noLog } from "#lib/log.ts";
import { flags } from "../config.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { RuntimeError } from "../runtime/runtime.ts";
import { memoryRecords } from "./record-fixture.ts";
import { ImageCollector } from "./collect-images.ts";

const never = new AbortController().signal;
const minute = 60_000;

async function setUp(args: readonly string[], names: readonly string[], pods: readonly Pod[] = []) {
  const clock = new FakeClock();
  const runtime = new FakeRuntime(clock);
  for (const name of names) runtime.addImage(name, { entrypoint: ["sleep"] });
  const said: string[] = [];
  const disk = { capacityBytes: 10_000_000, availableBytes: 9_000_000 };
  const collector = new ImageCollector(
    {
      runtime,
      clock,
      config: parseFlags("agent", flags, args),
      log: noLog,
      pullRecords: (await memoryRecords(clock)).records,
      nodeName: "node-a",
      recorder: {
        event: (about, type, reason, message) => said.push(`${about.kind} ${type} ${reason} ${message}`),
      },
    },
    { readDisk: async () => disk, pods: () => pods },
  );
  const pass = async (afterMs: number): Promise<readonly string[]> => {
    await clock.advance(afterMs);
    await collector.pass(never);
    return (await runtime.listImages(never)).map(({ repoTags }) => repoTags[0]?.split("/").at(-1) ?? "");
  };
  return { runtime, said, disk, pass };
}

t.test("IM6: above 85 % of the disk, images older than 2 minutes go until it is at 80 %", async (t) => {
  const { disk, said, pass } = await setUp([], ["a:1", "b:1", "c:1"]);
  t.equal((await pass(0)).length, 3);
  disk.availableBytes = 1_500_001;
  t.equal((await pass(1 * minute)).length, 3, "85 % are not reached");
  disk.availableBytes = 1_500_000;
  t.equal((await pass(0)).length, 3, "all are too young");
  t.match(said.splice(0), [
    /^Node Warning FreeDiskSpaceFailed .* Attempted to free 500000 bytes, but only found 0 bytes eligible to free\.$/,
  ]);
  t.same(await pass(1 * minute), ["b:1", "c:1"], "one of a megabyte is enough");
  t.same(said, []);
});

t.test("IM6: what a Pod uses or the node has pinned stays, the longest unused goes first", async (t) => {
  const pods: Pod[] = [
    { spec: { containers: [{ name: "web", image: "used:1" }] } },
    { spec: { containers: [], volumes: [{ name: "data", image: { reference: "mounted:1" } }] } },
  ];
  const names = ["used:1", "mounted:1", "kept:1", "lately:1", "old:1"];
  const { disk, pass } = await setUp(["--pinned-images=docker.io/library/kept*"], names, pods);
  await pass(0);
  pods.push({ spec: { containers: [{ name: "late", image: "lately:1" }] } });
  await pass(5 * minute);
  pods.pop();
  disk.availableBytes = 1_000_000;
  t.same(await pass(5 * minute), ["used:1", "mounted:1", "kept:1", "lately:1"], "a megabyte was wanted");
  disk.availableBytes = 0;
  t.same(await pass(5 * minute), ["used:1", "mounted:1", "kept:1"]);
});

t.test("IM6: an image unused for longer than the greatest age goes with room on the disk", async (t) => {
  const pods: Pod[] = [{ spec: { containers: [{ name: "web", image: "used:1" }] } }];
  const { pass } = await setUp(["--image-maximum-gc-age=1h"], ["used:1", "old:1"], pods);
  await pass(0);
  t.same(await pass(60 * minute), ["used:1", "old:1"]);
  t.same(await pass(1 * minute), ["used:1"]);
});

t.test("IM6: what the runtime will not do is said, and keeps nothing else", async (t) => {
  const { runtime, disk, said, pass } = await setUp([], ["a:1", "b:1"]);
  await pass(0);
  disk.availableBytes = 0;
  runtime.failNext("removeImage", new RuntimeError("failed", "it is busy"));
  t.same(await pass(5 * minute), ["a:1"]);
  t.match(said.splice(0), [/FreeDiskSpaceFailed/, "Node Warning ImageGCFailed it is busy"]);
  runtime.failNext("listImages", new RuntimeError("unavailable", "gone"));
  await pass(5 * minute);
  t.same(said, ["Node Warning ImageGCFailed gone"]);
});
