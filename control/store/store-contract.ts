import type { Test } from "tap";
import type { Change, Store } from "./store.ts";
import { StoreError } from "./store.ts";

const encode = (text: string): Uint8Array => Buffer.from(text);
const decode = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : Buffer.from(value).toString("utf8");

/**
 * What every store does, as tests. Runs on SQLite beside the code and on a real etcd in `test/netns/`.
 * @param open gives a store; the contract keeps to keys of its own, so the store need not be empty.
 */
export function storeContract(t: Test, name: string, open: () => Promise<Store>): void {
  const signal = new AbortController().signal;
  let last = 0;
  /** A prefix nobody else used. */
  const fresh = (): string => `contract/${Date.now()}-${(last += 1)}/`;
  const create = async (store: Store, key: string, value: string): Promise<bigint> => {
    const result = await store.put(key, encode(value), 0n, signal);
    if (result.state !== "written") throw new Error(`"${key}" exists`);
    return result.revision;
  };

  t.test(`${name}: a key is created once, changed by who knows its revision, and deleted`, async (t) => {
    const store = await open();
    const key = `${fresh()}a`;
    const first = await create(store, key, "1");
    const again = await store.put(key, encode("other"), 0n, signal);
    t.equal(again.state, "conflict");
    t.equal(
      again.state === "conflict" && decode(again.current?.value),
      "1",
      "the one in the way is returned",
    );
    const second = await store.put(key, encode("2"), first, signal);
    t.equal(second.state, "written");
    t.equal((await store.put(key, encode("3"), first, signal)).state, "conflict", "a stale revision");
    const entry = await store.get(key, signal);
    t.equal(decode(entry?.value), "2");
    t.equal(entry?.createRevision, first);
    t.equal(entry?.modRevision, second.state === "written" && second.revision);
    t.equal((await store.delete(key, first, signal)).state, "conflict");
    t.equal((await store.delete(key, entry?.modRevision ?? 0n, signal)).state, "written");
    t.equal(await store.get(key, signal), undefined);
    t.equal((await store.delete(key, 5n, signal)).state, "conflict", "nothing to delete");
    await store.close();
  });

  t.test(`${name}: of many writers with the same revision one wins`, async (t) => {
    const store = await open();
    const key = `${fresh()}a`;
    const first = await create(store, key, "0");
    const results = await Promise.all(
      Array.from({ length: 20 }, (_, at) => store.put(key, encode(String(at)), first, signal)),
    );
    t.equal(results.filter(({ state }) => state === "written").length, 1);
    const revisions = await Promise.all(
      Array.from({ length: 20 }, (_, at) => create(store, `${key}${at}`, "x")),
    );
    t.equal(new Set(revisions).size, 20, "every write has a revision of its own");
    await store.close();
  });

  t.test(`${name}: a range is ordered, paged, counted, and can be read as it was`, async (t) => {
    const store = await open();
    const prefix = fresh();
    for (const key of ["b", "a", "d", "c"]) await create(store, prefix + key, key);
    const names = (entries: readonly { readonly key: string }[]): string[] =>
      entries.map(({ key }) => key.slice(prefix.length));
    const all = await store.range(prefix, {}, signal);
    t.same(names(all.entries), ["a", "b", "c", "d"]);
    t.equal(all.more, false);
    t.equal(all.count, 4);
    t.equal(all.revision, await store.revision(signal));
    const page = await store.range(prefix, { limit: 2 }, signal);
    t.same(names(page.entries), ["a", "b"]);
    t.equal(page.more, true);
    t.equal(page.count, 4);
    const b = all.entries[1];
    await store.put(`${prefix}b`, encode("changed"), b?.modRevision ?? 0n, signal);
    await store.delete(`${prefix}c`, all.entries[2]?.modRevision ?? 0n, signal);
    await create(store, `${prefix}cc`, "new");
    const rest = await store.range(
      prefix,
      { limit: 9, start: `${prefix}b\0`, revision: page.revision },
      signal,
    );
    t.same(names(rest.entries), ["c", "d"], "the second page shows what the first page's revision held");
    const past = await store.range(prefix, { revision: page.revision }, signal);
    t.same(
      past.entries.map(({ value }) => decode(value)),
      ["a", "b", "c", "d"],
    );
    t.same(names((await store.range(prefix, {}, signal)).entries), ["a", "b", "cc", "d"]);
    await t.rejects(store.range(prefix, { revision: (await store.revision(signal)) + 100n }, signal), {
      code: "future",
    });
    await store.close();
  });

  t.test(`${name}: a watch gives history, then what happens, without a gap and in order`, async (t) => {
    const store = await open();
    const prefix = fresh();
    const from = await create(store, `${prefix}a`, "1");
    const second = await store.put(`${prefix}a`, encode("2"), from, signal);
    await create(store, `${fresh()}elsewhere`, "x");
    const stop = new AbortController();
    const seen: Exclude<Change, { readonly type: "progress" }>[] = [];
    const reading = (async () => {
      for await (const change of store.watch(prefix, from, stop.signal)) {
        if (change.type !== "progress") seen.push(change);
        if (seen.length === 5) stop.abort();
      }
    })();
    const revision = second.state === "written" ? second.revision : 0n;
    for (const key of ["b", "c"]) await create(store, prefix + key, key);
    await store.delete(`${prefix}a`, revision, signal);
    await create(store, `${prefix}a`, "reborn");
    await reading;
    t.same(
      seen.map(
        (change) => `${change.type} ${(change.type === "put" ? change.entry.key : change.key).slice(-1)}`,
      ),
      ["put a", "put b", "put c", "delete a", "put a"],
    );
    const [changed, , , deleted, reborn] = seen;
    t.equal(changed?.type === "put" && decode(changed.entry.value), "2");
    t.equal(changed?.type === "put" && decode(changed.before?.value), "1");
    t.equal(deleted?.type === "delete" && decode(deleted.before.value), "2");
    t.equal(reborn?.type === "put" && reborn.before, undefined);
    const order = seen.map((change) => (change.type === "put" ? change.entry.modRevision : change.revision));
    t.same(
      order,
      [...order].sort((a, b) => Number(a - b)),
      "revisions only rise",
    );
    await store.close();
  });

  t.test(`${name}: history that is compacted is refused, and the rest still read`, async (t) => {
    const store = await open();
    const prefix = fresh();
    const first = await create(store, `${prefix}a`, "1");
    const second = await create(store, `${prefix}b`, "1");
    const third = await create(store, `${prefix}c`, "1");
    await create(store, `${prefix}d`, "1");
    await store.compact(third, signal);
    await t.rejects(store.range(prefix, { revision: first }, signal), { code: "compacted" });
    const watching = (async () => {
      for await (const change of store.watch(prefix, first, signal)) return change;
      return undefined;
    })();
    await t.rejects(watching, { code: "compacted" });
    t.ok(second < third);
    t.equal((await store.range(prefix, { revision: third }, signal)).entries.length, 3);
    for await (const change of store.watch(prefix, third, signal)) {
      t.equal(change.type === "put" && change.entry.key, `${prefix}d`);
      break;
    }
    await store.close();
  });

  t.test(`${name}: a closed store refuses`, async (t) => {
    const store = await open();
    await store.close();
    const refused = await store.get("x", signal).catch((cause: unknown) => cause);
    t.ok(refused instanceof StoreError && ["closed", "unavailable"].includes(refused.code));
  });
}
