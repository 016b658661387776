import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { ObjectRefs } from "./object-refs.ts";

/** An API whose ConfigMaps can be listed and watched; a watch lasts until it is ended. */
class FakeMaps implements Transport {
  readonly objects: Map<string, object> = new Map();
  readonly watched: Set<string> = new Set();
  reads = 0;

  async send({ path }: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    signal.throwIfAborted();
    const query = new URL(path, "http://x").searchParams;
    const name = query.get("fieldSelector")?.replace("metadata.name=", "") ?? "";
    const { watched } = this;
    const found = this.objects.get(name);
    const list = { metadata: { resourceVersion: "1" }, items: found === undefined ? [] : [found] };
    const isWatch = query.has("watch");
    if (!isWatch) this.reads += 1;
    return {
      status: 200,
      headers: { "content-type": "application/json" },
      body: (async function* () {
        if (!isWatch) {
          yield Buffer.from(JSON.stringify(list));
          return;
        }
        signal.throwIfAborted();
        watched.add(name);
        try {
          await new Promise((_, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason), { once: true }),
          );
        } finally {
          watched.delete(name);
        }
      })(),
    };
  }

  reset(): void {}
  async close(): Promise<void> {}
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

t.test("VO7: an object that is immutable is read once and watched by nobody", async (t) => {
  const api = new FakeMaps();
  const map = (name: string, immutable: boolean): object => ({
    metadata: { name, namespace: "d", uid: name, resourceVersion: "1" },
    data: { key: name },
    immutable,
  });
  api.objects.set("fixed", map("fixed", true));
  api.objects.set("loose", map("loose", false));
  const told: string[] = [];
  const ports = { client: new ApiClient(api), clock: new FakeClock(), log: noLog, random: () => 0 };
  const refs = new ObjectRefs(ports, (uid) => told.push(uid));
  t.teardown(() => refs.close());
  const names = { configMaps: new Set(["fixed", "loose"]), secrets: new Set<string>() };
  refs.use("u1", "d", names);
  while (!api.watched.has("loose")) await turn();
  for (let turns = 0; turns < 20; turns += 1) await turn();
  t.same([...api.watched], ["loose"]);
  for (const name of ["fixed", "loose"])
    t.match(refs.configMap("d", name), { state: "found", object: { data: { key: name } } });
  t.ok(told.includes("u1"), "the Pod hears of it");
  refs.use("u2", "d", names);
  for (let turns = 0; turns < 20; turns += 1) await turn();
  t.equal(api.reads, 2, "another Pod has what is known");

  const none = { configMaps: new Set<string>(), secrets: new Set<string>() };
  refs.use("u1", "d", none);
  refs.use("u2", "d", none);
  refs.use("u3", "d", { ...names, configMaps: new Set(["fixed"]) });
  while (api.reads < 3) await turn();
  t.equal(api.reads, 3, "who comes when nobody used it any more reads it again");
});
