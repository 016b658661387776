import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { jsonLines } from "#api/json-lines.ts";
import { type TestApi, testApi } from "./test-api.ts";

const path = "/api/v1/namespaces/default/configmaps";
const configMap = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, labels },
});
interface Line {
  readonly type: string;
  readonly object: {
    readonly kind?: string;
    readonly message?: string;
    readonly rows?: readonly { readonly cells: readonly unknown[] }[];
    readonly columnDefinitions?: readonly unknown[];
    readonly metadata: {
      readonly name: string;
      readonly resourceVersion: string;
      readonly annotations?: object;
    };
  };
}

/** A watch whose lines are taken one by one. */
async function watch(server: TestApi, query: string, headers: Record<string, string> = {}) {
  const stop = new AbortController();
  const response = await server.api.handle(
    {
      method: "GET",
      path: `${path}?watch=1${query}`,
      headers,
      body: async () => new Uint8Array(),
      user: { name: "admin", groups: [] },
    },
    AbortSignal.any([stop.signal, server.signal]),
  );
  const body = response.body instanceof Uint8Array ? [response.body] : response.body;
  const lines = jsonLines(body as AsyncIterable<Uint8Array>) as AsyncGenerator<Line, void, undefined>;
  return {
    status: response.status,
    next: async (): Promise<Line | undefined> => (await lines.next()).value ?? undefined,
    /** `ADDED a` */
    text: async (): Promise<string> => {
      const line = (await lines.next()).value;
      return line === undefined ? "end" : `${line.type} ${line.object.metadata.name}`;
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await lines.return(undefined);
    },
  };
}

t.test("without a revision a watch begins with what is there", async (t) => {
  await using server = await testApi();
  await server.ask("POST", path, configMap("a"));
  await server.ask("POST", path, configMap("b"));
  await using watching = await watch(server, "");
  t.equal(await watching.text(), "ADDED a");
  t.equal(await watching.text(), "ADDED b");
  await server.ask("DELETE", `${path}/a`);
  const gone = await watching.next();
  t.equal(gone?.type, "DELETED");
  const now = await server.ask("GET", path);
  t.equal(
    gone?.object.metadata.resourceVersion,
    (now.json["metadata"] as { resourceVersion: string }).resourceVersion,
    "a deletion has a revision of its own",
  );
});

t.test("from a list's revision nothing is missed and nothing comes twice", async (t) => {
  await using server = await testApi();
  await server.ask("POST", path, configMap("a"));
  const list = await server.ask("GET", path);
  const { resourceVersion } = list.json["metadata"] as { resourceVersion: string };
  await server.ask("POST", path, configMap("b"));
  await using watching = await watch(server, `&resourceVersion=${resourceVersion}`);
  await server.ask("POST", path, configMap("c"));
  t.equal(await watching.text(), "ADDED b");
  t.equal(await watching.text(), "ADDED c");
  await server.ask(
    "PATCH",
    `${path}/a`,
    { data: { x: "1" } },
    { "content-type": "application/merge-patch+json" },
  );
  t.equal(await watching.text(), "MODIFIED a");
});

t.test("an object that enters the selector is added, and one that leaves is deleted", async (t) => {
  await using server = await testApi();
  await using watching = await watch(server, "&labelSelector=on%3Dyes");
  const patch = { "content-type": "application/merge-patch+json" };
  await server.ask("POST", path, configMap("a"));
  await server.ask("PATCH", `${path}/a`, { metadata: { labels: { on: "yes" } } }, patch);
  await server.ask("PATCH", `${path}/a`, { data: { x: "1" } }, patch);
  await server.ask("PATCH", `${path}/a`, { metadata: { labels: { on: "no" } } }, patch);
  await server.ask("DELETE", `${path}/a`);
  await server.ask("POST", path, configMap("b", { on: "yes" }));
  t.equal(await watching.text(), "ADDED a");
  t.equal(await watching.text(), "MODIFIED a");
  t.equal(await watching.text(), "DELETED a");
  t.equal(await watching.text(), "ADDED b");
});

t.test("a watch of one name sees that name only", async (t) => {
  await using server = await testApi();
  await using watching = await watch(server, "&fieldSelector=metadata.name%3Db&resourceVersion=1");
  await server.ask("POST", path, configMap("a"));
  await server.ask("POST", path, configMap("b"));
  t.equal(await watching.text(), "ADDED b");
});

t.test("history that is gone is answered with 410", async (t) => {
  await using first = await testApi();
  for (const name of ["a", "b"]) await first.ask("POST", path, configMap(name));
  // A server that starts on this store knows nothing older than the store's revision then.
  const { ApiServer } = await import("./api-server.ts");
  const second = new ApiServer(first.api.engine.ports);
  await second.start(first.signal);
  const response = await second.handle(
    {
      method: "GET",
      path: `${path}?watch=1&resourceVersion=2`,
      headers: {},
      body: async () => new Uint8Array(),
      user: { name: "x", groups: [] },
    },
    first.signal,
  );
  t.equal(response.status, 410);
});

t.test("bookmarks come every minute to those who ask, and before the end", async (t) => {
  const clock = new FakeClock();
  await using server = await testApi({ clock });
  await using watching = await watch(server, "&allowWatchBookmarks=true&timeoutSeconds=90");
  const first = watching.next();
  await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(60_000);
  t.match(await first, {
    type: "BOOKMARK",
    object: { kind: "ConfigMap", metadata: { resourceVersion: /^\d+$/ } },
  });
  const last = watching.next();
  await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(30_000);
  t.match(await last, { type: "BOOKMARK" });
  t.equal(await watching.next(), undefined, "timeoutSeconds ends it");
});

t.test("a streamed list ends with an annotated bookmark", async (t) => {
  await using server = await testApi();
  await server.ask("POST", path, configMap("a"));
  const query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
  await using watching = await watch(server, query);
  t.equal(await watching.text(), "ADDED a");
  t.match(await watching.next(), {
    type: "BOOKMARK",
    object: { metadata: { annotations: { "k8s.io/initial-events-end": "true" } } },
  });
  await using refused = await watch(server, "&sendInitialEvents=true");
  t.equal(refused.status, 422);
});

t.test("a watch of tables names the columns once", async (t) => {
  await using server = await testApi();
  await using watching = await watch(server, "", { accept: "application/json;as=Table;v=v1;g=meta.k8s.io" });
  await server.ask("POST", path, configMap("a"));
  await server.ask("POST", path, configMap("b"));
  const first = await watching.next();
  const second = await watching.next();
  t.equal(first?.object.columnDefinitions?.length, 3);
  t.equal(second?.object.columnDefinitions?.length, 0);
  t.equal(second?.object.rows?.[0]?.cells[0], "b");
});

t.test("the paths of old clients still watch", async (t) => {
  await using server = await testApi();
  await server.ask("POST", path, configMap("a"));
  const response = await server.api.handle(
    {
      method: "GET",
      path: "/api/v1/watch/namespaces/default/configmaps/a",
      headers: {},
      body: async () => new Uint8Array(),
      user: { name: "x", groups: [] },
    },
    server.signal,
  );
  for await (const line of jsonLines(response.body as AsyncIterable<Uint8Array>)) {
    t.match(line, { type: "ADDED", object: { metadata: { name: "a" } } });
    break;
  }
});

t.test("a watcher that does not read loses its watch, not the server its memory", async (t) => {
  await using server = await testApi();
  await using watching = await watch(server, "&resourceVersion=1");
  const first = watching.text();
  await server.ask("POST", path, configMap("a"));
  await first;
  const kind = server.api.engine.cache.kind("registry/configmaps");
  t.equal(kind.watchers, 1);
  const { CachedObject } = await import("./cache/cached-object.ts");
  for (let at = 0; at < 10_001; at += 1) {
    const object = new CachedObject("registry/configmaps/default/x", configMap("x"), BigInt(1_000 + at));
    kind.apply(object.key, object, object.revision, 0);
  }
  t.equal(await watching.text(), "end");
  t.equal(kind.watchers, 0);
});
