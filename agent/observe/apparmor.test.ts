import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { enforcesAppArmor, hasAppArmorProfile } from "./apparmor.ts";

t.test("SC3: the kernel says whether it enforces AppArmor and which profiles it has", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "apparmor-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const file = path.join(folder, "file");
  t.equal(await enforcesAppArmor(file), false, "no such module");
  t.equal(await hasAppArmorProfile("x", file), undefined, "it does not say");
  await writeFile(file, "Y\n");
  t.equal(await enforcesAppArmor(file), true);
  await writeFile(file, "N\n");
  t.equal(await enforcesAppArmor(file), false);
  await writeFile(file, "docker-default (enforce)\n/usr/bin/man (local) (complain)\n");
  t.equal(await hasAppArmorProfile("docker-default", file), true);
  t.equal(await hasAppArmorProfile("/usr/bin/man (local)", file), true);
  t.equal(await hasAppArmorProfile("docker", file), false);
});
