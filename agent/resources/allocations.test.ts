import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { type Log, noLog } from "#lib/log.ts";
import { Allocations } from "./allocations.ts";

const granted = { pod: undefined, containers: { web: { requests: { cpu: "1" } } } };

t.test("LC21: what a Pod was granted outlives the agent, and goes when nobody knows the Pod", async (t) => {
  const file = path.join(t.testdir(), "allocated-resources.json");
  const first = await Allocations.open(file, noLog);
  await Promise.all([
    first.set("u1", granted),
    first.set("u2", { ...granted, pod: { limits: { cpu: "2" } } }),
  ]);
  const second = await Allocations.open(file, noLog);
  t.same(second.of("u1"), granted);
  t.same(second.of("u2")?.pod, { limits: { cpu: "2" } });
  await second.keepOnly((uid) => uid === "u1");
  t.same(Object.keys(JSON.parse(await readFile(file, "utf8"))), ["u1"]);
});

t.test("LC21: a spoilt file counts as empty, and the log says so", async (t) => {
  for (const text of [
    "{",
    "7",
    '{"u1":{}}',
    '{"u1":{"containers":{"web":{"limits":{"cpu":3}}}}}',
    '{"u1":{"containers":{"web":{"limits":{"cpu":"much"}}}}}',
  ]) {
    const file = path.join(t.testdir(), "allocated-resources.json");
    await writeFile(file, text);
    const said: string[] = [];
    const log: Log = { ...noLog, warn: (event) => void said.push(event) };
    t.equal((await Allocations.open(file, log)).of("u1"), undefined, text);
    t.equal(said.length, 1, text);
  }
});
