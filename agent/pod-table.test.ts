import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { annotation } from "./plan/names.ts";
import { testContainer, testPod } from "./plan/pod-fixtures.ts";
import { staticPod } from "./plan/static-pod.ts";
import { PodTable } from "./pod-table.ts";

const key = "default/web";
const web = (more: Partial<Pod> = {}, metadata: Pod["metadata"] = {}): Pod =>
  testPod(
    {},
    {
      ...more,
      metadata: { name: "web", namespace: "default", uid: "u1", resourceVersion: "5", ...metadata },
    },
  );
const manifest = (image: string): Pod =>
  staticPod(
    {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "web" },
      spec: { containers: [{ name: "web", image }] },
    },
    { kind: "file", place: "/m/web.yaml" },
    "node-a",
    0,
  );

function set() {
  const dirty: string[] = [];
  const mirrors: string[] = [];
  const table = new PodTable({
    now: () => Date.UTC(2026, 0, 1),
    dirty: (uid) => dirty.push(uid),
    mirrorChanged: (name) => mirrors.push(name),
  });
  /** What a change asks for, and nothing of before. */
  const after = (change: () => void): { dirty: readonly string[]; mirrors: readonly string[] } => {
    dirty.length = 0;
    mirrors.length = 0;
    change();
    return { dirty: [...dirty], mirrors: [...mirrors] };
  };
  return { table, after };
}

const ready = { conditions: [{ type: "Ready", status: "True" }] };
const gate = { conditions: [{ type: "example.com/gate", status: "True" }] };
const changes: readonly {
  readonly name: string;
  readonly now: Pod | undefined;
  readonly asks: boolean;
  readonly gone?: boolean;
}[] = [
  {
    name: "PS7 UPDATE: another image asks for a look",
    now: web({ spec: { containers: [testContainer("web", { image: "b" })] } }),
    asks: true,
  },
  { name: "PS7 UPDATE: a label asks for a look", now: web({}, { labels: { a: "b" } }), asks: true },
  {
    name: "PS7 RECONCILE: our own status that comes back asks for none",
    now: web({ status: ready }),
    asks: false,
  },
  {
    name: "PS7 RECONCILE: a condition of somebody else asks for a look",
    now: web({ status: gate }),
    asks: true,
  },
  {
    name: "PS7 DELETE: a deletion asks for a look, and the Pod is still there",
    now: web({}, { deletionTimestamp: "2026-01-01T00:00:00Z" }),
    asks: true,
  },
  { name: "PS7 REMOVE: what the API no longer has is gone", now: undefined, asks: true, gone: true },
  { name: "PS7: the same once more asks for nothing", now: web({}, { resourceVersion: "6" }), asks: false },
];
for (const { name, now, asks, gone = false } of changes) {
  t.test(name, async (t) => {
    const { table, after } = set();
    t.same(after(() => table.apiChanged(key, web(), undefined)).dirty, ["u1"], "ADD");
    t.same(after(() => table.apiChanged(key, now, web())).dirty, asks ? ["u1"] : []);
    t.equal(table.entries.get("u1")?.gone, gone);
  });
}

t.test("PS7 REMOVE: a source lets go of its own Pods only", async (t) => {
  const { table, after } = set();
  table.apiChanged(key, web(), undefined);
  const file = manifest("a");
  table.staticChanged([file]);
  t.same(after(() => table.staticChanged([])).dirty, [file.metadata?.uid]);
  t.equal(table.entries.get("u1")?.gone, false);
});

t.test("PS7: a Pod made anew under its name is another one, and the old one ends", async (t) => {
  const { table, after } = set();
  table.apiChanged(key, web(), undefined);
  const anew = web({}, { uid: "u2" });
  t.same(after(() => table.apiChanged(key, anew, web())).dirty, ["u1", "u2"]);
  t.equal(table.entries.get("u1")?.gone, true);
  t.equal(table.entries.get("u2")?.gone, false);
});

t.test("PS4: a Pod of the API is marked with its source, and since when it is known", async (t) => {
  const { table } = set();
  table.apiChanged(key, web({}, { annotations: { a: "b" } }), undefined);
  const marks = { [annotation.source]: "api", [annotation.sourceSeen]: "2026-01-01T00:00:00.000Z" };
  t.same(table.entries.get("u1")?.pod.metadata?.annotations, { a: "b", ...marks });
  table.apiChanged(key, web({}, { annotations: { a: "c", [annotation.source]: "file" } }), web());
  t.same(table.entries.get("u1")?.pod.metadata?.annotations, { a: "c", ...marks });
});

t.test("PS5: a mirror is never run, and its changes are told under its name", async (t) => {
  const { table, after } = set();
  const mirror = web({}, { uid: "m1", annotations: { [annotation.mirror]: "h" } });
  t.same(
    after(() => table.apiChanged(key, mirror, undefined)),
    { dirty: [], mirrors: [key] },
  );
  t.same([...table.entries], []);
  t.same(
    after(() => table.apiChanged(key, undefined, mirror)),
    { dirty: [], mirrors: [key] },
  );
  t.equal(table.mirrors.size, 0);
});

t.test("PS2: a static Pod whose manifest changed begins when the old one has ended", async (t) => {
  const { table, after } = set();
  const [old, next] = [manifest("a"), manifest("b")];
  table.staticChanged([old]);
  t.same(after(() => table.staticChanged([next])).dirty, [old.metadata?.uid]);
  const entry = table.entries.get(old.metadata?.uid ?? "");
  t.equal(entry?.gone, true);
  t.same(after(() => entry && table.forget(entry)).dirty, [next.metadata?.uid]);
});
