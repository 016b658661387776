import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { ApiClient } from "#api/client.ts";
import { nodes, runtimeClasses, secrets } from "#api/resources.ts";
import { StatusError } from "#api/status-error.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock } from "#lib/clock.ts";
import { type Log, noLog } from "#lib/log.ts";
import { until } from "../agent-fixture.ts";
import type { PodCacheMode } from "../plan/pod-cache-text.ts";
import { testPod } from "../plan/pod-fixtures.ts";
import { type Knowledge, PodCache } from "./pod-cache.ts";

const secretPath = "/api/v1/namespaces/default/secrets/keys";
const mapPath = "/api/v1/namespaces/default/configmaps/settings";
const knowledge: Knowledge = {
  node: {
    metadata: { name: "node-a", uid: "n1" },
    status: { images: [{ names: ["busybox"] }] },
  },
  pods: [
    testPod(
      {},
      { metadata: { name: "web", namespace: "default", uid: "u1", managedFields: [{ manager: "x" }] } },
    ),
    testPod(
      {},
      {
        metadata: {
          name: "static-node-a",
          namespace: "default",
          uid: "u2",
          annotations: { "kubernetes.io/config.mirror": "h" },
        },
      },
    ),
  ],
  services: [
    { metadata: { name: "kubernetes", namespace: "default" } },
    { metadata: { name: "far", namespace: "other" } },
  ],
  refs: [
    { path: mapPath, isSecret: false, object: { metadata: { name: "settings", namespace: "default" } } },
    { path: "/api/v1/namespaces/default/configmaps/none", isSecret: false, object: null },
    { path: "/api/v1/namespaces/default/configmaps/unread", isSecret: false, object: undefined },
    { path: secretPath, isSecret: true, object: { metadata: { name: "keys", namespace: "default" } } },
  ],
  tokens: [
    { podUid: "u1", audience: "", expirationSeconds: 3_607, token: "hush", refreshAtMs: 1, expiresAtMs: 2 },
  ],
};
const listing = { view: { state: "listing" }, lastError: new Error("connection refused") };

interface Box {
  readonly folder: string;
  readonly clock: FakeClock;
  readonly said: string[];
  readonly open: (mode: PodCacheMode, nodeName?: string) => Promise<PodCache>;
  /** An agent that knows this much lives for a moment. */
  readonly live: (mode: PodCacheMode, known?: Knowledge) => Promise<void>;
}

async function box(t: Test): Promise<Box> {
  const folder = path.join(await mkdtemp(path.join(os.tmpdir(), "pod-cache-")), "cache");
  t.teardown(() => rm(path.dirname(folder), { recursive: true, force: true }));
  const clock = new FakeClock();
  const said: string[] = [];
  const log: Log = {
    ...noLog,
    warn: (event, data) => said.push(`${event}: ${String(data?.["cause"])}`),
    error: (event, data) => said.push(`${event}: ${String(data?.["cause"])}`),
  };
  const open = (mode: PodCacheMode, nodeName = "node-a"): Promise<PodCache> =>
    PodCache.open({ folder, mode, afterMs: 0, nodeName, clock, log });
  const live = async (mode: PodCacheMode, known = knowledge): Promise<void> => {
    const cache = await open(mode);
    const stop = new AbortController();
    const running = cache.run(() => known, stop.signal);
    cache.changed();
    stop.abort();
    await running;
  };
  return { folder, clock, said, open, live };
}

t.test("the next agent recalls what was known, and only while the API is out of reach", async (t) => {
  const { live, open } = await box(t);
  await live("with-secrets");
  const cache = await open("with-secrets");
  t.equal(cache.recall(mapPath), undefined, "the API has not failed yet");
  const left = await cache.whenAway(listing, AbortSignal.timeout(5_000));
  t.same(
    left?.pods.map(({ metadata }) => metadata),
    [{ name: "web", namespace: "default", uid: "u1" }],
  );
  t.same(left?.nodes, [{ metadata: { name: "node-a", uid: "n1" }, status: {} }]);
  t.same(
    left?.services.map(({ metadata }) => metadata?.name),
    ["kubernetes"],
  );
  t.match(cache.recall(mapPath), { metadata: { name: "settings" } });
  t.match(cache.recall(secretPath), { metadata: { name: "keys" } });
  t.equal(cache.recall("/api/v1/namespaces/default/configmaps/none"), null);
  t.equal(cache.recall("/api/v1/namespaces/default/configmaps/unread"), undefined);
  t.equal(cache.token("u1", "", 3_607)?.token, "hush");
  cache.back();
  t.equal(cache.recall(mapPath), undefined);
  t.equal(cache.token("u1", "", 3_607), undefined);
});

t.test("files are for root alone, whatever the folder was before", async (t) => {
  const { live, folder } = await box(t);
  await mkdir(folder);
  await chmod(folder, 0o755);
  await live("with-secrets");
  t.equal((await stat(folder)).mode & 0o777, 0o700);
  for (const file of await readdir(folder))
    t.equal((await stat(path.join(folder, file))).mode & 0o777, 0o600, file);
});

t.test("without secrets none is on the disk, not even one of before", async (t) => {
  const { live, open, folder } = await box(t);
  await live("with-secrets");
  await writeFile(path.join(folder, "secrets.jsonl.broken"), "");
  await open("without-secrets");
  const left = (await readdir(folder)).toSorted();
  t.same(left, ["nodes.jsonl", "objects.jsonl", "pods.jsonl", "services.jsonl"]);
  await live("without-secrets");
  t.same((await readdir(folder)).toSorted(), left);
  for (const file of left) {
    const text = await readFile(path.join(folder, file), "utf8");
    t.notMatch(text, "hush", file);
    t.notMatch(text, secretPath, file);
  }
});

t.test("switched off it leaves no file", async (t) => {
  const { live, open, folder } = await box(t);
  await live("with-secrets");
  const cache = await open("off");
  t.notOk(await stat(folder).catch(() => undefined));
  await live("off");
  t.notOk(await stat(folder).catch(() => undefined));
  t.equal(await cache.whenAway(listing, AbortSignal.timeout(5_000)), undefined);
  t.equal(cache.away, false);
});

const spoilt: readonly {
  readonly name: string;
  readonly spoil: (text: string) => string;
  readonly why: RegExp;
}[] = [
  {
    name: "a file that is cut off is set aside and said, and the others are used",
    spoil: (text) => text.slice(0, -10),
    why: /checksum/,
  },
  {
    name: "a file that is empty is set aside and said, and the others are used",
    spoil: () => "",
    why: /not JSON/,
  },
  {
    name: "a file that is changed is set aside and said, and the others are used",
    spoil: (text) => text.replace("web", "wab"),
    why: /checksum/,
  },
  {
    name: "a file that is of a later version is set aside and said, and the others are used",
    spoil: (text) => text.replace('"version":1', '"version":2'),
    why: /has version 2, not 1/,
  },
  {
    name: "a file that is of something else is set aside and said, and the others are used",
    spoil: () => '{"kind":"Pod"}\n',
    why: /not a file of the Pod cache/,
  },
];
for (const { name, spoil, why } of spoilt) {
  t.test(name, async (t) => {
    const { live, open, folder, said } = await box(t);
    await live("with-secrets");
    const file = path.join(folder, "pods.jsonl");
    await writeFile(file, spoil(await readFile(file, "utf8")));
    const cache = await open("with-secrets");
    t.equal(said.length, 1);
    t.match(said[0], why);
    t.ok(await stat(`${file}.broken`));
    t.notOk(await stat(file).catch(() => undefined));
    const left = await cache.whenAway(listing, AbortSignal.timeout(5_000));
    t.same(left?.pods, []);
    t.ok(cache.recall(mapPath));
  });
}

t.test("a folder that is none is said, and the agent goes on", async (t) => {
  const { open, live, folder, said } = await box(t);
  await writeFile(folder, "");
  const cache = await open("without-secrets");
  t.ok(said.length > 0);
  t.same(await cache.whenAway(listing, AbortSignal.timeout(5_000)), { nodes: [], pods: [], services: [] });
  await live("without-secrets");
  t.match(said.at(-1), /cannot write the Pod cache/);
});

t.test("another node's files are not used", async (t) => {
  const { live, open, said } = await box(t);
  await live("without-secrets");
  await open("without-secrets", "node-b");
  t.equal(said.length, 4);
  t.match(said[0], /written by node "node-a"/);
});

t.test("it is written once for many changes, and not while something is still unknown", async (t) => {
  const { open, folder, clock } = await box(t);
  const cache = await open("without-secrets");
  const stop = new AbortController();
  let known: Knowledge | undefined;
  let asked = 0;
  const running = cache.run(() => {
    asked += 1;
    return known;
  }, stop.signal);
  for (let change = 0; change < 100; change += 1) cache.changed();
  await clock.advance(1_000);
  t.equal(asked, 1);
  t.notOk(await stat(folder).catch(() => undefined));
  known = knowledge;
  stop.abort();
  await running;
  t.ok(await stat(path.join(folder, "pods.jsonl")));
});

t.test(
  "a change is on the disk a second later, and the next ones together four seconds after it",
  async (t) => {
    const { open, folder, clock } = await box(t);
    const cache = await open("without-secrets");
    const stop = new AbortController();
    const running = cache.run(
      () => ({ ...knowledge, node: { metadata: { name: String(clock.now()) } } }),
      stop.signal,
    );
    const file = path.join(folder, "nodes.jsonl");
    const inode = async (): Promise<number | undefined> => (await stat(file).catch(() => undefined))?.ino;
    cache.changed();
    await clock.advance(999);
    t.equal(await inode(), undefined);
    await clock.advance(1);
    await until("the first write", async () => (await inode()) !== undefined, 30_000);
    const first = await inode();
    // Only then does the pause begin that the fake clock has to reach.
    await until("it is whole", async () => (await readdir(folder)).length === 4, 30_000);
    for (let change = 0; change < 50; change += 1) {
      cache.changed();
      await clock.advance(50);
    }
    t.equal(await inode(), first);
    await until(
      "the second write",
      async () => {
        await clock.advance(500);
        return (await inode()) !== first;
      },
      30_000,
    );
    stop.abort();
    await running;
  },
);

t.test("what was known of a thing that is not read yet is kept", async (t) => {
  const { live, open } = await box(t);
  await live("with-secrets");
  const refs = knowledge.refs.map((ref) => ({ ...ref, object: undefined }));
  await live("with-secrets", { ...knowledge, refs, tokens: [] });
  const cache = await open("with-secrets");
  await cache.whenAway(listing, AbortSignal.timeout(5_000));
  t.ok(cache.recall(secretPath));
  t.equal(cache.token("u1", "", 3_607)?.token, "hush");
  // What no Pod uses any more is forgotten.
  await live("with-secrets", { ...knowledge, pods: [], refs: [], tokens: [] });
  const later = await open("with-secrets");
  await later.whenAway(listing, AbortSignal.timeout(5_000));
  t.equal(later.recall(secretPath), undefined);
  t.equal(later.token("u1", "", 3_607), undefined);
});

const answers: readonly { readonly name: string; readonly error: unknown; readonly away: boolean }[] = [
  {
    name: "when nobody listens, the API is out of reach",
    error: new Error("connection refused"),
    away: true,
  },
  {
    name: "when a balancer has no server behind it, the API is out of reach",
    error: status(503),
    away: true,
  },
  { name: "when this node is not allowed in, the API is not out of reach", error: status(403), away: false },
];
for (const { name, error, away } of answers) {
  t.test(name, async (t) => {
    const { open, clock } = await box(t);
    const cache = await open("without-secrets");
    const pods = { view: { state: "listing" }, lastError: error };
    const waiting = cache.whenAway(pods, AbortSignal.timeout(5_000));
    for (let ms = 0; ms < 30_000; ms += 100) await clock.advance(100);
    t.equal(cache.away, away);
    pods.view.state = "complete";
    await clock.advance(2_000);
    t.equal((await waiting) !== undefined, away);
  });
}

t.test("an API that is only slower than the node is waited for", async (t) => {
  const { folder, clock } = await box(t);
  const ports = { folder, mode: "without-secrets", nodeName: "node-a", clock, log: noLog } as const;
  for (const lastError of [undefined, new Error("connection refused")]) {
    const cache = await PodCache.open({ ...ports, afterMs: 30_000 });
    const pods = { view: { state: "listing" }, lastError };
    const waiting = cache.whenAway(pods, AbortSignal.timeout(5_000));
    for (let ms = 0; ms < 29_900; ms += 100) await clock.advance(100);
    t.equal(cache.away, false);
    await clock.advance(200);
    t.ok(await waiting);
    t.equal(cache.away, true);
  }
  const cache = await PodCache.open({ ...ports, afterMs: 30_000 });
  const pods = { view: { state: "listing" }, lastError: new Error("connection refused") };
  const waiting = cache.whenAway(pods, AbortSignal.timeout(5_000));
  await clock.advance(20_000);
  pods.view.state = "complete";
  await clock.advance(100);
  t.equal(await waiting, undefined);
});

t.test("objects read one by one are remembered, and forgotten when they are gone", async (t) => {
  const { open } = await box(t);
  const server = new OneObject();
  const client = new ApiClient(server);
  const cache = await open("without-secrets");
  const place = { namespace: "", name: "fast" };
  const stop = new AbortController();
  const running = cache.run(() => knowledge, stop.signal);
  t.match(await cache.reader(client).get(runtimeClasses, place, AbortSignal.timeout(5_000)), {
    handler: "h",
  });
  stop.abort();
  await running;

  const next = await open("without-secrets");
  server.answer = undefined;
  await t.rejects(
    next.reader(client).get(runtimeClasses, place, AbortSignal.timeout(5_000)),
    /refused/,
    "nobody is away yet",
  );
  await next.whenAway(listing, AbortSignal.timeout(5_000));
  t.match(await next.reader(client).get(runtimeClasses, place, AbortSignal.timeout(5_000)), { handler: "h" });
  await t.rejects(
    next.reader(client).get(nodes, place, AbortSignal.timeout(5_000)),
    /refused/,
    "what was never read is asked for",
  );

  server.answer = 404;
  next.back();
  const last = new AbortController();
  const writing = next.run(() => knowledge, last.signal);
  await t.rejects(next.reader(client).get(runtimeClasses, place, AbortSignal.timeout(5_000)), { code: 404 });
  last.abort();
  await writing;
  const after = await open("without-secrets");
  await after.whenAway(listing, AbortSignal.timeout(5_000));
  server.answer = undefined;
  await t.rejects(after.reader(client).get(runtimeClasses, place, AbortSignal.timeout(5_000)), /refused/);
});

t.test("a Secret that is read by itself is one too", async (t) => {
  const { open, folder } = await box(t);
  const client = new ApiClient(new OneObject());
  for (const mode of ["without-secrets", "with-secrets"] as const) {
    const cache = await open(mode);
    const stop = new AbortController();
    const running = cache.run(() => ({ ...knowledge, refs: [] }), stop.signal);
    await cache
      .reader(client)
      .get(secrets, { namespace: "default", name: "fast" }, AbortSignal.timeout(5_000));
    cache.changed();
    stop.abort();
    await running;
    const text = async (file: string): Promise<string> =>
      await readFile(path.join(folder, file), "utf8").catch(() => "");
    t.notMatch(await text("objects.jsonl"), "/secrets/fast");
    t.equal(/\/secrets\/fast/.test(await text("secrets.jsonl")), mode === "with-secrets", mode);
  }
});

/** A server with one object, or none, or nobody there. */
class OneObject implements Transport {
  answer: 200 | 404 | undefined = 200;

  async send(_: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    if (this.answer === undefined) throw new Error("connection refused");
    const found = { metadata: { name: "fast" }, handler: "h" };
    const missing = { kind: "Status", code: 404, reason: "NotFound" };
    const text = JSON.stringify(this.answer === 200 ? found : missing);
    return { status: this.answer, headers: {}, body: lines(text) };
  }

  reset(): void {}
  async close(): Promise<void> {}
}

async function* lines(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

function status(code: number): StatusError {
  return new StatusError({ code, reason: "Unknown", message: String(code) });
}
