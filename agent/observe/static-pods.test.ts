import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { once } from "node:events";
import os from "node:os";
import path from "node:path";
import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { until } from "../agent-fixture.ts";
import { followStaticPods } from "./static-pods.ts";
import { StaticSources } from "./static-sources.ts";
import { followStaticUrl } from "./static-url.ts";

const manifest = (name: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { containers: [{ name: "main", image: "busybox" }] },
});
const names = (pods: readonly Pod[] | undefined): readonly (string | undefined)[] | undefined =>
  pods?.map(({ metadata }) => metadata?.name);

t.test("PS2: hidden files and folders are passed over, and a broken edit stops nothing", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "static-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(path.join(folder, "web.json"), JSON.stringify(manifest("web")));
  await writeFile(path.join(folder, ".web.json.swp"), JSON.stringify(manifest("hidden")));
  await mkdir(path.join(folder, "sub"));
  await writeFile(path.join(folder, "sub/deep.json"), JSON.stringify(manifest("deep")));
  const stop = new AbortController();
  let found: readonly Pod[] | undefined;
  const changed = (pods: readonly Pod[]): void => {
    found = pods;
  };
  const ports = { nodeName: "n", clock: systemClock, log: noLog, changed };
  const following = followStaticPods(folder, 60_000, ports, stop.signal);
  await until("the first look", () => found !== undefined);
  t.same(names(found), ["web-n"]);
  await writeFile(path.join(folder, "web.json"), "{");
  await writeFile(path.join(folder, "more.json"), JSON.stringify(manifest("more")));
  await until("the watch tells of a new file", () => found?.length === 2);
  t.same(names(found), ["more-n", "web-n"]);
  stop.abort();
  await following;
});

t.test("PS2: a folder that is made later is found by the next full look", async (t) => {
  const parent = await mkdtemp(path.join(os.tmpdir(), "static-"));
  t.teardown(() => rm(parent, { recursive: true, force: true }));
  const folder = path.join(parent, "manifests");
  const clock = new FakeClock();
  const stop = new AbortController();
  const looks: (readonly Pod[])[] = [];
  const ports = {
    nodeName: "n",
    clock,
    log: noLog,
    changed: (pods: readonly Pod[]) => void looks.push(pods),
  };
  const following = followStaticPods(folder, 20_000, ports, stop.signal);
  await until("the first look", () => looks.length === 1);
  t.same(looks[0], []);
  await mkdir(folder);
  await writeFile(path.join(folder, "web.json"), JSON.stringify(manifest("web")));
  await until("the second look", () => {
    void clock.advance(20_000);
    return (looks.at(-1)?.length ?? 0) > 0;
  });
  t.same(names(looks.at(-1)), ["web-n"]);
  stop.abort();
  await following;
});

t.test("PS3 PS4: a URL serves a Pod or a list; what it cannot serve changes nothing", async (t) => {
  let answer = { status: 200, body: JSON.stringify(manifest("web")) };
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers["x-node"]?.toString());
    response.writeHead(answer.status).end(answer.body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const address = server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const stop = new AbortController();
  const clock = new FakeClock();
  const told: (readonly Pod[])[] = [];
  const following = followStaticUrl(
    { url: `http://127.0.0.1:${port}/pods`, headers: { "x-node": "n" } },
    20_000,
    { nodeName: "n", clock, log: noLog, changed: (pods) => void told.push(pods) },
    stop.signal,
  );
  /** Waits for one more question, from the moment the follower sleeps. */
  const next = async (): Promise<void> => {
    const before = asked.length;
    await until("another question", () => {
      void clock.advance(20_000);
      return asked.length > before;
    });
  };
  await until("the first answer", () => told.length === 1);
  t.match(told[0]?.[0]?.metadata, {
    name: "web-n",
    annotations: { "kubernetes.io/config.source": "http" },
  });
  t.equal(asked[0], "n");
  await next();
  t.equal(told.length, 1, "the same bytes are no news");
  for (const body of ["", "{}", "not: [yaml", JSON.stringify({ kind: "PodList", items: 3 })]) {
    answer = { status: 200, body };
    await next();
  }
  answer = { status: 500, body: JSON.stringify(manifest("other")) };
  await next();
  answer = { status: 200, body: " ".repeat(10 * 1024 * 1024 + 1) };
  await next();
  t.equal(told.length, 1, "nothing of that is used");
  const { kind: _kind, ...item } = { ...manifest("two"), kind: "" };
  answer = { status: 200, body: JSON.stringify({ kind: "PodList", items: [manifest("one"), item] }) };
  await next();
  await until("the list", () => told.length === 2);
  t.same(names(told[1]), ["one-n", "two-n"]);
  stop.abort();
  await following;
});

t.test("PS7: no source may be missing before anything is cleaned up", async (t) => {
  const told: (readonly [number, boolean])[] = [];
  const sources = new StaticSources(["file", "http"], (pods, completes) =>
    told.push([pods.length, completes]),
  );
  const pod: Pod = {};
  t.notOk(sources.complete);
  sources.tell("file", [pod]);
  t.notOk(sources.complete);
  sources.tell("http", [pod, pod]);
  t.ok(sources.complete);
  sources.tell("file", []);
  t.same(told, [
    [1, false],
    [3, true],
    [2, false],
  ]);
  t.ok(new StaticSources([], () => undefined).complete, "a node without static Pods waits for nobody");
});
