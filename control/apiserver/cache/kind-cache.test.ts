import t from "tap";
import { CachedObject } from "./cached-object.ts";
import { KindCache } from "./kind-cache.ts";

const object = (name: string, revision: bigint) =>
  new CachedObject(`registry/x/d/${name}`, { apiVersion: "v1", kind: "X", metadata: { name } }, revision);
const applied = (cache: KindCache, name: string, revision: bigint, atMs = 0) => {
  const made = object(name, revision);
  cache.apply(made.key, made, revision, atMs);
};

t.test("a list is in order of key, whatever the order of changes, and of one prefix", async (t) => {
  const cache = new KindCache();
  for (const [at, name] of ["c", "a", "b", "a"].entries()) applied(cache, name, BigInt(at + 2));
  const keys = () => cache.list("registry/x/d/").map(({ key, revision }) => `${key.slice(-1)}${revision}`);
  t.same(keys(), ["a5", "b4", "c2"]);
  applied(cache, "b", 9n);
  t.same(keys(), ["a5", "b9", "c2"]);
  cache.apply("registry/x/d/a", undefined, 10n, 0);
  t.same(keys(), ["b9", "c2"]);
  t.same(cache.list("registry/x/e/"), []);
});

t.test("history is given without a gap, and refused where it is gone", async (t) => {
  const cache = new KindCache();
  cache.reset([object("a", 5n)], 7n);
  t.equal(cache.subscribe(6n), undefined);
  applied(cache, "a", 8n);
  applied(cache, "b", 9n);
  t.same(
    cache.subscribe(8n)?.past.map(({ revision }) => revision),
    [9n],
  );
  t.same(
    cache.subscribe(7n)?.past.map(({ revision }) => revision),
    [8n, 9n],
  );
  t.equal(cache.watchers, 2);
});

t.test("old history goes, by number and by age, and a little stays", async (t) => {
  const many = new KindCache();
  for (let at = 1; at <= 10_001; at += 1) applied(many, "a", BigInt(at));
  t.equal(many.subscribe(1_000n)?.past.length, 9_001);
  t.equal(many.subscribe(999n), undefined);
  const old = new KindCache();
  for (let at = 1; at <= 500; at += 1) applied(old, "a", BigInt(at), 0);
  applied(old, "a", 501n, 300_001);
  t.equal(old.subscribe(401n)?.past.length, 100);
  t.equal(old.subscribe(400n), undefined);
});

t.test(
  "a line is made once for all watchers, and a deleted object has the deletion's revision",
  async (t) => {
    const cache = new KindCache();
    applied(cache, "a", 2n);
    cache.apply("registry/x/d/a", undefined, 3n, 0);
    const [added, deleted] = cache.subscribe(0n)?.past ?? [];
    t.equal(added?.line("ADDED"), added?.line("ADDED"));
    t.match(
      Buffer.from(deleted?.line("DELETED") ?? []).toString(),
      /^\{"type":"DELETED".*"resourceVersion":"3".*\}\n$/,
    );
  },
);
