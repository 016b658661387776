import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import { systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { TestCsiDriver } from "../../test/support/csi-driver.ts";
import { FakeObjects } from "../../test/support/fake-objects.ts";
import { fuzzSeed, Random } from "../../test/support/mutate.ts";
import { until } from "../agent-fixture.ts";
import { messageCodec } from "../grpc/message-codec.ts";
import { CsiDrivers } from "../volumes/csi/csi-drivers.ts";
import { CsiNodeNotes } from "../volumes/csi/csi-node-notes.ts";
import { followPlugins } from "./follow-plugins.ts";
import { registrationMessages } from "./registration.ts";

const csiNode = "/apis/storage.k8s.io/v1/csinodes/node-a";
const node = "/api/v1/nodes/node-a";
const { signal } = new AbortController();

interface Registry extends AsyncDisposable {
  readonly api: FakeObjects;
  readonly drivers: CsiDrivers;
  /** The node's labels, each time they were told to have changed. */
  readonly labels: readonly (object | undefined)[];
  readonly folder: string;
  readonly directory: string;
  /** The agent ends and another begins. */
  restart(): Promise<void>;
}

async function registry(): Promise<Registry> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "csi-"));
  const directory = path.join(folder, "plugins_registry");
  const api = new FakeObjects();
  api.put(node, { metadata: { name: "node-a", uid: "n1", labels: {} } });
  const labels: (object | undefined)[] = [];
  const begin = (): { readonly drivers: CsiDrivers; readonly end: () => Promise<void> } => {
    const stop = new AbortController();
    const notes = new CsiNodeNotes(new ApiClient(api), "node-a", systemClock, ({ metadata }) =>
      labels.push(metadata?.labels),
    );
    const drivers = new CsiDrivers({ clock: systemClock, notes });
    const ports = {
      handlers: { CSIPlugin: drivers },
      clock: systemClock,
      log: noLog,
      settled: () => drivers.settle(),
    };
    const running = followPlugins(directory, ports, stop.signal);
    return {
      drivers,
      end: async () => {
        stop.abort();
        await running;
        drivers.close();
      },
    };
  };
  let one = begin();
  return {
    api,
    labels,
    folder,
    directory,
    get drivers() {
      return one.drivers;
    },
    restart: async () => {
      await one.end();
      one = begin();
    },
    [Symbol.asyncDispose]: async () => {
      await one.end();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

t.test("VO15: a driver's socket registers it, and its end lets it go", async (t) => {
  await using own = await registry();
  const { api, drivers, folder, directory } = own;
  const topology = { "example.com/zone": "z1" };
  await using driver = new TestCsiDriver({ folder, registry: directory, maxVolumes: 5, topology });
  await t.rejects(drivers.get("csi.example.com", signal), {
    message: "driver name csi.example.com not found in the list of registered CSI drivers",
  });
  await driver.start();
  await until("it is told", () => driver.registrations.length > 0, 30_000);
  t.same(driver.registrations, [""], "taken");
  t.equal((await drivers.get("csi.example.com", signal)).endpoint, driver.socket);
  t.match(api.objects.get(csiNode), {
    metadata: {
      name: "node-a",
      ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "node-a", uid: "n1" }],
    },
    spec: {
      drivers: [
        {
          name: "csi.example.com",
          nodeID: "node-id-1",
          topologyKeys: ["example.com/zone"],
          allocatable: { count: 5 },
        },
      ],
    },
  });
  t.match(api.objects.get(node), {
    metadata: {
      labels: topology,
      annotations: { "csi.volume.kubernetes.io/nodeid": '{"csi.example.com":"node-id-1"}' },
    },
  });

  t.same(own.labels, [topology], "volumes that are bound to them are usable at once");
  const writes = (): number => api.requests.filter((one) => !one.startsWith("GET")).length;
  const before = writes();
  await own.restart();
  await until("it is told by the next agent", () => driver.registrations.length > 1, 30_000);
  t.equal((await own.drivers.get("csi.example.com", signal)).name, "csi.example.com", "found again");
  t.equal(writes(), before, "what the API knows is not written again");

  await driver.stop();
  await until(
    "the CSINode forgets it",
    () => {
      const spec = api.objects.get(csiNode)?.["spec"] as { readonly drivers: readonly object[] };
      return spec.drivers.length === 0;
    },
    30_000,
  );
  await t.rejects(own.drivers.get("csi.example.com", signal), /not found in the list/);
  await until(
    "the Node forgets its id",
    () => {
      const metadata = api.objects.get(node)?.["metadata"];
      return JSON.stringify(metadata).includes('"annotations":{}');
    },
    30_000,
  );
  t.match(api.objects.get(node), { metadata: { labels: topology } }, "where the node is stays");

  driver.options.nodeId = "node-id-2";
  await driver.start();
  await until("it comes back as another", () => driver.registrations.length > 2, 30_000);
  t.match(api.objects.get(csiNode), { spec: { drivers: [{ nodeID: "node-id-2" }] } });
});

t.test("VO15: a driver that cannot be used is told why, and is tried again", async (t) => {
  await using own = await registry();
  const { folder, directory, drivers } = own;
  const cases = [
    {
      name: "old.example.com",
      versions: ["0.3.0"],
      says: /None of the versions specified \["0.3.0"\] are supported/,
    },
    { name: "mute.example.com", versions: [], says: /Plugin returned an empty list for supported versions/ },
    { name: "nobody.example.com", nodeId: "", says: /NodeGetInfo makes no sense: node_id is empty/ },
    { name: "many.example.com", maxVolumes: -1, says: /max_volumes_per_node is -1/ },
  ];
  const all = cases.map((options) => new TestCsiDriver({ folder, registry: directory, ...options }));
  for (const driver of all) await driver.start();
  for (const [place, { name, says }] of cases.entries()) {
    const driver = all[place];
    await until(`${name} is refused`, () => (driver?.registrations.length ?? 0) > 0, 30_000);
    t.match(
      driver?.registrations[0],
      /^RegisterPlugin error -- plugin (validation|registration) failed with err: /,
    );
    t.match(driver?.registrations[0], says);
    await t.rejects(drivers.get(name, signal), /not found in the list of registered CSI drivers/);
  }
  const [, , nobody] = all;
  if (nobody !== undefined) nobody.options.nodeId = "somebody";
  await until("it is taken at last", () => nobody?.registrations.at(-1) === "", 30_000);
  t.equal((await drivers.get("nobody.example.com", signal)).name, "nobody.example.com");
  for (const driver of all) await driver.stop();
});

t.test("VO15: a driver that ends and comes back at once registers anew", async (t) => {
  await using own = await registry();
  const { folder, directory, api } = own;
  await using driver = new TestCsiDriver({ folder, registry: directory });
  await driver.start();
  await until("taken", () => driver.registrations.length === 1, 30_000);
  await driver.start(); // new sockets in the place of the old
  await until("taken again", () => driver.registrations.length === 2, 30_000);
  t.same(driver.registrations, ["", ""]);
  t.match(api.objects.get(csiNode), { spec: { drivers: [{ name: "csi.example.com" }] } });
});

t.test("a plugin of a type that nothing here takes is told so", async (t) => {
  const folder = await mkdtemp(path.join(os.tmpdir(), "csi-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await using driver = new TestCsiDriver({ folder, registry: path.join(folder, "plugins_registry") });
  await driver.start();
  const stop = new AbortController();
  const ports = { handlers: {}, clock: systemClock, log: noLog, settled: () => undefined };
  const running = followPlugins(path.join(folder, "plugins_registry"), ports, stop.signal);
  await until("it is told", () => driver.registrations.length > 0, 30_000);
  t.same(driver.registrations, [
    `RegisterPlugin error -- no handler registered for plugin type: CSIPlugin at socket ${driver.registrationSocket}`,
  ]);
  stop.abort();
  await running;
});

t.test(
  "VO15: no description of a plugin does harm: it is taken, or it is refused and another goes on",
  async (t) => {
    await using own = await registry();
    const { folder, directory } = own;
    const random = new Random(fuzzSeed);
    const good = messageCodec(registrationMessages).encode("PluginInfo", {
      type: "CSIPlugin",
      name: "fuzz.example.com",
      endpoint: `${folder}/fuzz.example.com.sock`,
      supportedVersions: ["1.0.0"],
    });
    const all = Array.from({ length: 60 }, (_, place) => {
      const driver = new TestCsiDriver({ folder, registry: directory, name: `fuzz${place}.example.com` });
      const bytes = place % 3 === 0 ? [] : [...good];
      for (let changes = 1 + random.below(8); changes > 0; changes -= 1)
        bytes.splice(random.below(bytes.length + 1), random.below(2), random.below(256));
      driver.raw.set("GetInfo", Buffer.from(bytes));
      return driver;
    });
    for (const driver of all) await driver.start();
    await using plain = new TestCsiDriver({ folder, registry: directory });
    await plain.start();
    await until(`FUZZ_SEED=${fuzzSeed}: the good one is taken`, () => plain.registrations.length > 0, 30_000);
    t.same(plain.registrations, [""]);
    for (const driver of all) {
      const said = driver.registrations.every(
        (words) => words === "" || words.startsWith("RegisterPlugin error -- "),
      );
      t.ok(said, String(driver.registrations));
      await driver.stop();
    }
  },
);
