import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { Pod } from "#api/generated/kubernetes.ts";
import { pods } from "#api/resources.ts";
import { type Changed, WatchCache } from "#api/watch-cache.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { LiveTable } from "./live-table.ts";

/** A cache that hears what the test tells it instead of a server. */
class TestCache extends WatchCache<Pod> {
  readonly known = new Map<string, Pod>();
  #changed: Changed<Pod> = () => {};

  override subscribe(changed: Changed<Pod>): () => void {
    this.#changed = changed;
    return () => {};
  }

  override get(key: string): Pod | undefined {
    return this.known.get(key);
  }

  hear(key: string, now: Pod | undefined): void {
    const before = this.known.get(key);
    if (now === undefined) this.known.delete(key);
    else this.known.set(key, now);
    this.#changed(key, now, before);
  }
}

function table(): { readonly cache: TestCache; readonly live: LiveTable<Pod>; readonly clock: FakeClock } {
  const clock = new FakeClock();
  const transport = {
    send: () => Promise.reject(new Error("no server")),
    reset: () => {},
    close: () => Promise.resolve(),
  };
  const cache = new TestCache(
    pods,
    {},
    { client: new ApiClient(transport), clock, log: noLog, random: () => 0 },
  );
  return { cache, live: new LiveTable(cache, clock), clock };
}

const pod = (resourceVersion: string, node: string, uid = "u1"): Pod => ({
  metadata: { name: "p", namespace: "d", uid, resourceVersion },
  spec: { nodeName: node, containers: [] },
});
const nodeOf = (live: LiveTable<Pod>): string | undefined => live.get("d/p")?.spec?.nodeName;

t.test("what we wrote is there before the watch says so, and an older word does not undo it", async (t) => {
  const { cache, live } = table();
  cache.hear("d/p", pod("1", "a"));
  live.wrote(pod("5", "b"));
  t.equal(nodeOf(live), "b");
  cache.hear("d/p", pod("3", "c"));
  t.equal(nodeOf(live), "b", "the watch is behind");
  cache.hear("d/p", pod("7", "d"));
  t.equal(nodeOf(live), "d");
});

t.test("the answer to a create that comes after the deletion brings nothing back", async (t) => {
  const { cache, live } = table();
  cache.hear("d/p", pod("1", "a"));
  cache.hear("d/p", undefined);
  live.wrote(pod("1", "a"));
  t.equal(live.size, 0);
});

t.test("a new object of the same name takes the place of the old one", async (t) => {
  const { cache, live } = table();
  cache.hear("d/p", pod("9", "a"));
  cache.hear("d/p", pod("3", "b", "u2"));
  t.equal(nodeOf(live), "b");
});

t.test("an object that the watch never shows is dropped after a while", async (t) => {
  const { live, clock } = table();
  live.wrote(pod("5", "b"));
  await clock.advance(29_999);
  t.equal(live.size, 1);
  await clock.advance(1);
  t.equal(live.size, 0);
});

t.test("a delete of ours counts at once", async (t) => {
  const { cache, live } = table();
  cache.hear("d/p", pod("1", "a"));
  live.deleting(pod("1", "a"));
  t.type(live.get("d/p")?.metadata?.deletionTimestamp, "string");
});

t.test("an index follows every change", async (t) => {
  const { cache, live } = table();
  const byNode = live.index("by-node", (each) => [each.spec?.nodeName ?? ""]);
  cache.hear("d/p", pod("1", "a"));
  t.equal(byNode.size("a"), 1);
  live.wrote(pod("2", "b"));
  t.same([byNode.size("a"), byNode.size("b")], [0, 1]);
  t.equal(byNode.of("b")[0]?.metadata?.resourceVersion, "2");
  cache.hear("d/p", undefined);
  t.equal(byNode.size("b"), 0);
});
