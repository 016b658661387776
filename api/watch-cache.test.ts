import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { ApiClient } from "./client.ts";
import type { ConfigMap } from "./generated/kubernetes.ts";
import { configMaps } from "./resources.ts";
import type { ApiRequest, ApiResponse, Transport } from "./transport.ts";
import { WatchCache } from "./watch-cache.ts";

/** A server with one collection, a history that can be forgotten, and a switch that makes it go away. */
class FakeServer implements Transport {
  revision = 1;
  oldest = 1;
  away = false;
  lists = 0;
  readonly objects = new Map<string, ConfigMap>();
  #history: { revision: number; line: string }[] = [];
  #wake = Promise.withResolvers<void>();

  put(name: string, value: string): void {
    this.revision += 1;
    const type = this.objects.has(name) ? "MODIFIED" : "ADDED";
    const object = {
      metadata: { name, namespace: "d", uid: name, resourceVersion: String(this.revision) },
      data: { value },
    };
    this.objects.set(name, object);
    this.#record(type, object);
  }

  remove(name: string): void {
    this.revision += 1;
    const object = this.objects.get(name);
    this.objects.delete(name);
    this.#record("DELETED", {
      ...object,
      metadata: { ...object?.metadata, resourceVersion: String(this.revision) },
    });
  }

  /** Ends every watch, and forgets what happened. */
  cut(options: { forget?: boolean } = {}): void {
    if (options.forget === true) this.oldest = this.revision + 1;
    this.#wake.reject(new Error("connection reset"));
    this.#wake.promise.catch(() => undefined);
    this.#wake = Promise.withResolvers<void>();
  }

  async send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    if (this.away) throw new Error("connection refused");
    const query = new URL(request.path, "http://x").searchParams;
    if (query.get("watch") !== "1") {
      this.lists += 1;
      return answer(200, [
        JSON.stringify({
          metadata: { resourceVersion: String(this.revision) },
          items: [...this.objects.values()],
        }),
      ]);
    }
    const from = Number(query.get("resourceVersion"));
    if (from < this.oldest - 1) {
      return answer(410, [
        JSON.stringify({ kind: "Status", code: 410, reason: "Expired", message: "too old" }),
      ]);
    }
    return { status: 200, headers: {}, body: this.#stream(from, signal) };
  }

  reset(): void {}
  async close(): Promise<void> {}

  #record(type: string, object: unknown): void {
    this.#history.push({ revision: this.revision, line: `${JSON.stringify({ type, object })}\n` });
    this.#wake.resolve();
    this.#wake = Promise.withResolvers<void>();
  }

  async *#stream(from: number, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    for (let sent = from; !signal.aborted; ) {
      const wake = this.#wake.promise;
      for (const { revision, line } of this.#history.filter((entry) => entry.revision > sent)) {
        yield Buffer.from(line);
        sent = revision;
      }
      const aborted = new Promise<never>((_, reject) =>
        signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
      );
      await Promise.race([wake, aborted]);
    }
  }
}

async function* chunks(lines: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const line of lines) yield Buffer.from(line);
}

function answer(status: number, lines: readonly string[]): ApiResponse {
  return { status, headers: {}, body: chunks(lines) };
}

function start(server: FakeServer) {
  const clock = new FakeClock();
  const stop = new AbortController();
  const cache = new WatchCache(
    configMaps,
    {},
    { client: new ApiClient(server), clock, log: noLog, random: () => 0 },
  );
  const changes: string[] = [];
  cache.subscribe((key, now, before) => {
    changes.push(`${key}: ${before?.data?.["value"] ?? "-"} -> ${now?.data?.["value"] ?? "-"}`);
  });
  const running = cache.run(stop.signal);
  const end = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  return { cache, changes, clock, end };
}

t.test("it lists, then follows", async (t) => {
  const server = new FakeServer();
  server.put("a", "1");
  const { cache, changes, clock, end } = start(server);
  t.equal(cache.view.state, "listing", "nothing can be called stale before the first list has ended");
  await clock.advance(0);
  t.equal(cache.view.state, "complete");
  server.put("a", "2");
  server.put("b", "1");
  server.remove("a");
  await clock.advance(0);
  t.same(changes, ["d/a: - -> 1", "d/a: 1 -> 2", "d/b: - -> 1", "d/a: 2 -> -"]);
  await end();
});
t.test("a broken watch resumes where it was, without a new list", async (t) => {
  const server = new FakeServer();
  const { changes, clock, end } = start(server);
  await clock.advance(0);
  server.put("a", "1");
  await clock.advance(0);
  server.cut();
  server.put("b", "1");
  await clock.advance(5_000);
  t.same(changes, ["d/a: - -> 1", "d/b: - -> 1"]);
  t.equal(server.lists, 1);
  await end();
});
t.test("a forgotten history is listed anew, and the difference is told", async (t) => {
  const server = new FakeServer();
  server.put("a", "1");
  server.put("b", "1");
  const { changes, clock, end } = start(server);
  await clock.advance(0);
  changes.length = 0;
  server.away = true;
  server.cut();
  server.remove("a");
  server.put("b", "2");
  server.cut({ forget: true });
  await clock.advance(1_000);
  t.same(changes, [], "while the server is away everything known stays");
  server.away = false;
  await clock.advance(60_000);
  t.same(changes, ["d/a: 1 -> -", "d/b: 1 -> 2"]);
  t.equal(server.lists, 2);
  await end();
});
t.test("what was known before is there while no server answers, and is not called complete", async (t) => {
  const server = new FakeServer();
  server.put("kept", "1");
  server.put("changed", "1");
  const known = [...server.objects.values()];
  const gone = {
    metadata: { name: "gone", namespace: "d", uid: "gone", resourceVersion: "1" },
    data: { value: "1" },
  };
  server.put("changed", "2");
  server.away = true;
  const { cache, changes, clock, end } = start(server);
  await clock.advance(0);
  cache.seed([...known, gone]);
  t.same(changes, ["d/kept: - -> 1", "d/changed: - -> 1", "d/gone: - -> 1"]);
  t.equal(cache.view.state, "listing");
  t.equal(cache.seeded, true);
  changes.length = 0;
  server.away = false;
  await clock.advance(60_000);
  t.same(changes, ["d/gone: 1 -> -", "d/kept: 1 -> 1", "d/changed: 1 -> 2"]);
  t.equal(cache.view.state, "complete");
  t.equal(cache.seeded, false);
  cache.seed([gone]);
  t.notOk(cache.get("d/gone"), "a server that has spoken is believed");
  await end();
});
