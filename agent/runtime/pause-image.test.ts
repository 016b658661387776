import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { dockerArchive } from "./image-tar.ts";
import { pauseImage } from "./pause-image.ts";
import { pauseProgram } from "./pause-program.ts";

const canRun = process.platform === "linux" && process.arch === "x64";
const why = "needs Linux on x86-64";

t.test("the pause program waits, and ends with 0 when it is told to", { skip: !canRun && why }, async (t) => {
  const directory = await mkdtemp(path.join(tmpdir(), "keelson-pause-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const program = path.join(directory, "pause");
  await writeFile(program, pauseProgram("x64"), { mode: 0o755 });
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const child = spawn(program);
    await once(child, "spawn");
    await waiting(child.pid ?? 0);
    t.equal(child.exitCode, null, "it waits");
    child.kill("SIGCHLD");
    await delay(20);
    t.equal(child.exitCode, null, "the end of a child is nothing to it");
    child.kill(signal);
    t.same(await once(child, "exit"), [0, null], signal);
  }
});

/** Resolves when the program has set its signals up and sleeps: one sent before that would end it. */
async function waiting(pid: number): Promise<void> {
  const ignoresChild = 1n << 16n;
  for (let tries = 0; tries < 1_000; tries += 1) {
    const status = await readFile(`/proc/${pid}/status`, "utf8");
    const ignored = BigInt(`0x${/^SigIgn:\s+(\w+)$/m.exec(status)?.[1] ?? "0"}`);
    if ((ignored & ignoresChild) !== 0n && /^State:\s+S/m.test(status)) return;
    await delay(10);
  }
  throw new Error(`process ${pid} never waits for a signal`);
}

t.test("the image is the same each time and names its blobs", async (t) => {
  for (const architecture of ["x64", "arm64"]) {
    const image = pauseImage(architecture);
    t.same(pauseImage(architecture), image);
    const manifest: unknown = JSON.parse(image.manifest.toString());
    t.match(manifest, { config: { digest: image.configDigest }, layers: [{ digest: image.layerDigest }] });
    const config: unknown = JSON.parse(image.config.toString());
    t.match(config, { os: "linux", rootfs: { diff_ids: [image.layerDigest] } });
    t.equal(dockerArchive(image, "keelson/pause:1").length % 512, 0);
    t.ok(image.layer.length < 4_096);
  }
  t.throws(() => pauseImage("mips"), /mips/);
});

t.test("the arm64 program is laid out as its instructions say", async (t) => {
  const program = pauseProgram("arm64");
  const code = program.subarray(120);
  t.equal(code.readUInt32LE(0), 0xd28010c8, "mov x8, #134");
  t.equal(code.readBigUInt64LE(104), 1n, "SIG_IGN where adr x1 points");
  t.equal(code.readUInt32LE(8), 0x10000301, "adr x1, #96");
  t.equal(code.readBigUInt64LE(136), 0x4002n, "the signal set");
  t.equal(code.readUInt32LE(76), 0x54ffff2d, "b.le back to mov x8, #137");
});
