import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { UserNamespaces } from "./user-namespaces.ts";

t.test("SC6: a Pod keeps its ids over restarts of the agent, until its directory is gone", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "userns-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const range = { first: 65_536, length: 2 * 65_536 };
  const first = await UserNamespaces.open(folder, range);
  t.same(await first.of("a"), { first: 65_536, length: 65_536 });
  t.same(await first.of("b"), { first: 131_072, length: 65_536 });
  t.same(JSON.parse(await readFile(path.join(folder, "pods/b/userns"), "utf8")), {
    uidMappings: [{ hostId: 131_072, containerId: 0, length: 65_536 }],
    gidMappings: [{ hostId: 131_072, containerId: 0, length: 65_536 }],
  });
  await t.rejects(first.of("c"), { message: /2 Pods have one/ });
  await rm(path.join(folder, "pods/a"), { recursive: true });
  const second = await UserNamespaces.open(folder, range);
  t.same(await second.of("b"), { first: 131_072, length: 65_536 });
  t.same(await second.of("c"), { first: 65_536, length: 65_536 });
  await rm(path.join(folder, "pods/c"), { recursive: true });
  second.release("c");
  t.same(await second.of("d"), { first: 65_536, length: 65_536 });
  const without = await UserNamespaces.open(folder, new Error("no ids"));
  t.same(await without.of("b"), { first: 131_072, length: 65_536 }, "what was given stays");
  await t.rejects(without.of("e"), { message: "no ids" });
});
