import { link, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { mountTmpfs } from "#linux/mount.ts";
import { directoryStats } from "./directory-stats.ts";
import { mountFolder, needsRoot, volumeRequest } from "./volume-fixture.ts";
import type { VolumePlugin, VolumeStats } from "./volume-plugin.ts";
import { VolumeReadings } from "./volume-readings.ts";
import type { KnownVolume } from "./volumes.ts";

const { signal } = new AbortController();

t.test("VO17: a directory on the disk is counted as du does, whatever stands in it", async (t) => {
  const folder = await mountFolder(t);
  const volume = path.join(folder, "volume");
  await mkdir(path.join(volume, "in/deep"), { recursive: true });
  const empty = await directoryStats(volume, signal);
  t.equal(empty.inodesUsed, 3, "the directories themselves");
  await writeFile(path.join(volume, "in/deep/file"), Buffer.alloc(1_000_000, 1));
  await link(path.join(volume, "in/deep/file"), path.join(volume, "twice"));
  await symlink("/etc", path.join(volume, "out"));
  const { usedBytes = 0, capacityBytes = 0, inodesUsed } = await directoryStats(volume, signal);
  const more = usedBytes - (empty.usedBytes ?? 0);
  t.ok(
    more >= 1_000_000 && more < 1_100_000,
    `${more} bytes: a file of two names counts once, a link leads nowhere`,
  );
  t.equal(inodesUsed, 5);
  t.equal(empty.source, "du");
  t.ok(capacityBytes > usedBytes, "the disk's");
});

t.test("VO17: a volume with a file system of its own says what that says", { skip: needsRoot }, async (t) => {
  const folder = await mountFolder(t);
  mountTmpfs(folder, "size=1m,nr_inodes=50");
  await writeFile(path.join(folder, "file"), Buffer.alloc(100_000, 1));
  const stats = await directoryStats(folder, signal);
  t.equal(stats.capacityBytes, 1_048_576);
  t.equal(stats.inodes, 50);
  t.equal(stats.source, "statfs");
  t.equal(stats.inodesUsed, 2);
  t.ok((stats.usedBytes ?? 0) >= 100_000 && (stats.usedBytes ?? 0) < 110_000);
  await mkdir(path.join(folder, "sub"));
  t.equal(
    (await directoryStats(path.join(folder, "sub"), signal)).usedBytes,
    0,
    "a part of it is counted alone",
  );
});

t.test("VO17: each volume is read once in a while, and one that hangs holds up no other", async (t) => {
  const clock = new FakeClock();
  const hangs = Promise.withResolvers<VolumeStats>();
  let reads = 0;
  const plugin = (stats: NonNullable<VolumePlugin["stats"]>): VolumePlugin => ({
    name: "example.com/test",
    refreshes: false,
    serves: () => true,
    setUp: async () => ({ hostPath: "/nowhere" }),
    tearDown: async () => {},
    stats,
  });
  const known = (one: VolumePlugin): KnownVolume => {
    const { source, place } = volumeRequest("/nowhere", one, { emptyDir: {} });
    return { plugin: one, source, place, mounted: { hostPath: "/nowhere" }, isBlock: false, readOnly: false };
  };
  const volumes = new Map([
    [
      "u1",
      new Map([
        ["slow", known(plugin(() => hangs.promise))],
        ["broken", known(plugin(async () => await Promise.reject(new Error("no"))))],
        [
          "good",
          known(
            plugin(async () => {
              reads += 1;
              return { usedBytes: reads };
            }),
          ),
        ],
      ]),
    ],
  ]);
  const readings = new VolumeReadings({
    clock,
    log: noLog,
    volumes: () => volumes,
    periodMs: 60_000,
    changed: () => undefined,
    took: () => undefined,
    abnormal: () => undefined,
  });
  const first = readings.pass(signal);
  await clock.advance(10_000);
  await first;
  t.match(readings.of("u1"), [{ volume: "good", stats: { usedBytes: 1 } }]);
  await readings.pass(signal);
  t.equal(reads, 1, "not yet due");
  await clock.advance(60_000);
  await readings.pass(signal);
  t.equal(reads, 2, "the one that hangs is not asked again, and not waited for");
  hangs.resolve({ usedBytes: 7 });
  await clock.advance(60_000);
  await readings.pass(signal);
  t.match(
    readings.of("u1").toSorted((one, other) => (one.volume < other.volume ? -1 : 1)),
    [
      { volume: "good", stats: { usedBytes: 3 } },
      { volume: "slow", stats: { usedBytes: 7 } },
    ],
  );
  volumes.clear();
  await readings.pass(signal);
  t.same(readings.of("u1"), []);
});
