/** The client against a real etcd, on the loopback interface. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { EtcdClient } from "#api/etcd/etcd-client.ts";
import { type WatchEvent, prefixRange, type WatchMessage } from "#api/etcd/model.ts";
import { etcdMissing, freePort, startEtcd } from "../support/etcd.ts";

const skip = etcdMissing ?? false;
const signal = AbortSignal.timeout(60_000);
const text = (value: Uint8Array | undefined): string => Buffer.from(value ?? []).toString("utf8");

t.test("one etcd", { skip }, async (t) => {
  await using etcd = await startEtcd();
  const client = new EtcdClient({ endpoints: [etcd.endpoint] });
  t.teardown(() => client.close());

  await t.test("what is put can be read, in order, in pages and as it was", async (t) => {
    const first = await client.put({ key: "/p/a", value: "1" }, signal);
    const second = await client.put({ key: "/p/a", value: "2", before: true }, signal);
    await client.put({ key: "/p/b", value: "3" }, signal);
    await client.put({ key: "/q", value: "4" }, signal);
    t.equal(text(second.before?.value), "1");
    t.equal(second.revision, first.revision + 1n);
    const all = await client.range(prefixRange("/p/"), signal);
    t.same(
      all.entries.map((entry) => [entry.key, text(entry.value), entry.version]),
      [
        ["/p/a", "2", 2n],
        ["/p/b", "3", 1n],
      ],
    );
    const page = await client.range({ ...prefixRange("/p/"), limit: 1 }, signal);
    t.match(page, { more: true, count: 2 });
    const then = await client.range({ key: "/p/a", revision: first.revision }, signal);
    t.equal(text(then.entries[0]?.value), "1");
    const last = await client.range(
      { ...prefixRange("/p/"), sort: { by: "key", descending: true }, limit: 1 },
      signal,
    );
    t.equal(last.entries[0]?.key, "/p/b");
    const removed = await client.deleteRange({ ...prefixRange("/p/"), before: true }, signal);
    t.equal(removed.deleted, 2);
    t.equal(removed.before.length, 2);
  });

  await t.test("a transaction does one side or the other", async (t) => {
    const create = (value: string) =>
      client.txn(
        {
          when: [{ key: "/t", target: "mod", op: "=", value: 0n }],
          then: [{ type: "put", key: "/t", value }],
          otherwise: [{ type: "range", key: "/t" }],
        },
        signal,
      );
    const won = await create("first");
    t.equal(won.succeeded, true);
    t.equal(won.results[0]?.type, "put");
    const lost = await create("second");
    t.equal(lost.succeeded, false);
    const found = lost.results[0];
    t.ok(found?.type === "range" && text(found.entries[0]?.value) === "first");
    const byValue = await client.txn(
      {
        when: [{ key: "/t", target: "value", op: "=", value: "first" }],
        then: [{ type: "delete", key: "/t" }],
      },
      signal,
    );
    t.match(byValue.results, [{ type: "delete", deleted: 1 }]);
  });

  await t.test("a watch tells history, then what happens, and its progress", async (t) => {
    const { revision } = await client.put({ key: "/w/a", value: "1" }, signal);
    const stop = new AbortController();
    const watch = client.watch({ ...prefixRange("/w/"), startRevision: revision, before: true }, stop.signal);
    const seen: WatchMessage[] = [];
    const events: WatchEvent[] = [];
    for await (const message of watch) {
      seen.push(message);
      if (message.type === "created") await client.put({ key: "/w/a", value: "2" }, signal);
      if (message.type === "events") {
        events.push(...message.events);
        if (events.length === 2) await client.deleteRange({ key: "/w/a" }, signal);
        if (events.length === 3) watch.requestProgress();
      }
      if (message.type === "progress") stop.abort();
    }
    t.equal(seen[0]?.type, "created");
    t.equal(seen.at(-1)?.revision, revision + 2n);
    t.same(
      events.map((event) => [
        event.type,
        text(event.entry.value),
        text(event.before?.value),
        event.entry.modRevision,
      ]),
      [
        ["put", "1", "", revision],
        ["put", "2", "1", revision + 1n],
        ["delete", "", "2", revision + 2n],
      ],
    );
  });

  await t.test("a value of many megabytes passes, and many of them", async (t) => {
    const value = Buffer.alloc(1_000_000, "x");
    for (let i = 0; i < 8; i += 1) await client.put({ key: `/big/${i}`, value }, signal);
    t.equal((await client.range(prefixRange("/big/"), signal)).entries.length, 8);
    await client.deleteRange(prefixRange("/big/"), signal);
  });

  await t.test("history that was compacted is refused by its name", async (t) => {
    const { revision } = await client.put({ key: "/c", value: "1" }, signal);
    const last = await client.put({ key: "/c", value: "2" }, signal);
    await client.compact(last.revision, { physical: true }, signal);
    await t.rejects(client.range({ key: "/c", revision }, signal), { name: "EtcdError", code: "compacted" });
    await t.rejects(client.range({ key: "/c", revision: last.revision + 100n }, signal), { code: "future" });
    await t.rejects(Array.fromAsync(client.watch({ key: "/c", startRevision: revision }, signal)), {
      code: "compacted",
      compactRevision: last.revision,
    });
  });

  await t.test("a lease lives as long as it is kept, and takes its keys along", async (t) => {
    const lease = await client.leaseGrant(60, signal);
    await client.put({ key: "/l", value: "1", lease: lease.id }, signal);
    t.same(await client.leaseKeepAlive(lease.id, signal), { ttlSeconds: 60 });
    t.match(await client.leaseTimeToLive(lease.id, { keys: true }, signal), {
      id: lease.id,
      grantedSeconds: 60,
      keys: ["/l"],
    });
    t.equal((await client.range({ key: "/l" }, signal)).entries[0]?.lease, lease.id);
    await client.leaseRevoke(lease.id, signal);
    t.equal((await client.range({ key: "/l" }, signal)).count, 0);
    await t.rejects(client.leaseRevoke(lease.id, signal), { code: "no-lease" });
    await t.rejects(client.leaseKeepAlive(lease.id, signal), { code: "no-lease" });
    t.equal((await client.leaseTimeToLive(lease.id, {}, signal)).ttlSeconds, -1);
  });

  await t.test("status tells the version", async (t) => {
    t.match((await client.status(signal)).version, /^3\.\d+\.\d+/);
  });

  await t.test("an aborted call throws the reason, and an aborted watch just ends", async (t) => {
    const stop = new AbortController();
    stop.abort(new Error("enough"));
    await t.rejects(client.range({ key: "/x" }, stop.signal), { message: "enough" });
    t.same(await Array.fromAsync(client.watch({ key: "/x" }, stop.signal)), []);
  });

  await t.test("a dead endpoint is passed over, also for writes that never left", async (t) => {
    const dead = `http://127.0.0.1:${await freePort()}`;
    const both = new EtcdClient({ endpoints: [dead, etcd.endpoint] });
    t.teardown(() => both.close());
    await both.put({ key: "/failover", value: "1" }, signal);
    t.equal((await both.range({ key: "/failover" }, signal)).count, 1);
    const none = new EtcdClient({ endpoints: [dead] });
    t.teardown(() => none.close());
    await t.rejects(none.range({ key: "/x" }, signal), { code: "unavailable" });
    await t.rejects(Array.fromAsync(none.watch({ key: "/x" }, signal)), { code: "unavailable" });
  });

  await t.test(
    "a watch ends with unavailable when etcd goes, and begins again when it is back",
    async (t) => {
      const watch = client.watch({ key: "/r" }, signal);
      await t.rejects(
        (async () => {
          for await (const message of watch) if (message.type === "created") await etcd.stop();
        })(),
        { code: "unavailable" },
      );
      await etcd.restart();
      for (let tries = 0; tries < 50; tries += 1) {
        const done = await client.put({ key: "/r", value: "1" }, signal).then(
          () => true,
          () => false,
        );
        if (done) break;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
      t.equal((await client.range({ key: "/r" }, signal)).count, 1);
    },
  );
});

t.test("with users, a password is needed and is enough", { skip }, async (t) => {
  await using etcd = await startEtcd();
  await enableAuth(etcd.endpoint);
  const stranger = new EtcdClient({ endpoints: [etcd.endpoint] });
  const wrong = new EtcdClient({ endpoints: [etcd.endpoint], auth: { username: "root", password: "no" } });
  const root = new EtcdClient({ endpoints: [etcd.endpoint], auth: { username: "root", password: "secret" } });
  t.teardown(() => [stranger, wrong, root].forEach((client) => client.close()));
  await t.rejects(stranger.range({ key: "/x" }, signal), { code: "denied" });
  await t.rejects(wrong.range({ key: "/x" }, signal), { code: "denied" });
  await root.put({ key: "/x", value: "1" }, signal);
  t.equal((await root.range({ key: "/x" }, signal)).count, 1);
});

t.test("over TLS, both sides show certificates", { skip }, async (t) => {
  const directory = mkdtempSync(path.join(tmpdir(), "keelson-etcd-tls-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = (name: string): string => path.join(directory, name);
  // One self-signed certificate serves as authority, server and client.
  execFileSync(
    "openssl",
    [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-nodes",
      "-days",
      "2",
      "-subj",
      "/CN=etcd",
      "-addext",
      "subjectAltName=IP:127.0.0.1",
      "-keyout",
      file("key.pem"),
      "-out",
      file("cert.pem"),
    ],
    { stdio: "ignore" },
  );
  const files = [
    "--cert-file",
    file("cert.pem"),
    "--key-file",
    file("key.pem"),
    "--trusted-ca-file",
    file("cert.pem"),
  ];
  const listen = `https://127.0.0.1:${await freePort()}`;
  await using _etcd = await startEtcd({ listen, args: [...files, "--client-cert-auth"] });
  const [ca, key] = ["cert.pem", "key.pem"].map((name) => readFileSync(file(name), "utf8"));
  if (ca === undefined || key === undefined) throw new Error("no certificate");
  const known = new EtcdClient({ endpoints: [listen], tls: { ca, cert: ca, key } });
  const unknown = new EtcdClient({ endpoints: [listen], tls: { ca } });
  t.teardown(() => [known, unknown].forEach((client) => client.close()));
  await known.put({ key: "/x", value: "1" }, signal);
  t.equal((await known.range({ key: "/x" }, signal)).count, 1);
  await t.rejects(unknown.range({ key: "/x" }, signal), { code: "unavailable" });
});

/** Through etcd's JSON gateway, since our client has no need for user management. */
async function enableAuth(endpoint: string): Promise<void> {
  for (const [path, body] of [
    ["auth/user/add", { name: "root", password: "secret" }],
    ["auth/role/add", { name: "root" }],
    ["auth/user/grant", { user: "root", role: "root" }],
    ["auth/enable", {}],
  ] as const) {
    const answer = await fetch(`${endpoint}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`cannot set up users: ${path}: ${await answer.text()}`);
  }
}
