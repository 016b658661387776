import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { mountTmpfs, unmountBelow } from "#linux/mount.ts";
import { removeUnmounted } from "./pod-directories.ts";

const skip = process.getuid?.() !== 0 && "needs root";

t.test("ML5: a directory with a live mount is kept, and so is everything in it", { skip }, async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "pods-"));
  t.teardown(async () => {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  });
  const pod = path.join(folder, "pods/u1");
  const volume = path.join(pod, "volumes/kubernetes.io~nfs/data");
  await mkdir(volume, { recursive: true });
  await writeFile(path.join(pod, "etc-hosts"), "");
  mountTmpfs(volume, "size=1m");
  await writeFile(path.join(volume, "precious"), "of others");
  await t.rejects(removeUnmounted(pod), { message: `cannot remove "${pod}": "${volume}" is still mounted` });
  await t.rejects(removeUnmounted(volume), /is still mounted/);
  t.equal(await readFile(path.join(volume, "precious"), "utf8"), "of others");
  t.ok(existsSync(path.join(pod, "etc-hosts")));
  await unmountBelow(pod);
  await removeUnmounted(pod);
  t.notOk(existsSync(pod));
});
