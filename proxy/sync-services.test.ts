import t from "tap";
import type { EndpointSlice, Node, Service } from "#api/generated/kubernetes.ts";
import { ApiClient } from "#api/client.ts";
import { endpointSlices, nodes, services } from "#api/resources.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { WatchCache } from "#api/watch-cache.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { FakeIptables } from "#linux/fake-iptables.ts";
import { iptablesMode } from "./apply/iptables/iptables-mode.ts";
import { ServiceWatch } from "./observe/service-watch.ts";
import { syncServices } from "./sync-services.ts";

/** Lists what it is given once `open` is called for the path; its watches never say anything until told. */
class ListApi implements Transport {
  readonly #gates = new Map<string, PromiseWithResolvers<readonly object[]>>();
  readonly #tell = new Map<string, (line: string) => void>();
  open(plural: string, items: readonly object[]): void {
    this.#gate(plural).resolve(items);
  }
  event(plural: string, type: string, object: object): void {
    this.#tell.get(plural)?.(`${JSON.stringify({ type, object })}\n`);
  }
  async send(request: ApiRequest): Promise<ApiResponse> {
    const url = new URL(request.path, "http://x");
    const plural = url.pathname.split("/").at(-1) ?? "";
    if (url.searchParams.has("watch")) return { status: 200, headers: {}, body: this.#lines(plural) };
    const items = await this.#gate(plural).promise;
    const body = Buffer.from(JSON.stringify({ metadata: { resourceVersion: "1" }, items }));
    return {
      status: 200,
      headers: {},
      body: (async function* () {
        yield body;
      })(),
    };
  }
  reset(): void {}
  async close(): Promise<void> {}
  #gate(plural: string): PromiseWithResolvers<readonly object[]> {
    const gate = this.#gates.get(plural) ?? Promise.withResolvers<readonly object[]>();
    this.#gates.set(plural, gate);
    return gate;
  }
  async *#lines(plural: string): AsyncGenerator<Uint8Array> {
    for (;;) {
      const { promise, resolve } = Promise.withResolvers<string>();
      this.#tell.set(plural, resolve);
      yield Buffer.from(await promise);
    }
  }
}

let revision = 10;
const service = (name: string, clusterIP: string): Service => ({
  metadata: { namespace: "ns", name, uid: name, resourceVersion: String(revision++) },
  spec: { clusterIP, ports: [{ port: 80 }] },
});
const slice = (name: string, ...ips: string[]): EndpointSlice => ({
  metadata: {
    namespace: "ns",
    name,
    uid: name,
    resourceVersion: String(revision++),
    labels: { "kubernetes.io/service-name": name },
  },
  addressType: "IPv4",
  ports: [{ port: 8080, protocol: "TCP" }],
  endpoints: ips.map((ip) => ({ addresses: [ip] })),
});

function start(failures: { left: number } = { left: 0 }) {
  const api = new ListApi();
  const clock = new FakeClock();
  const kernel = new FakeIptables();
  const stop = new AbortController();
  const ports = { client: new ApiClient(api), clock, log: noLog, random: () => 0 };
  const caches = {
    services: new WatchCache<Service>(services, {}, ports),
    slices: new WatchCache<EndpointSlice>(endpointSlices, {}, ports),
    nodes: new WatchCache<Node>(nodes, {}, ports),
  };
  const running = Object.values(caches).map((cache) => cache.run(stop.signal));
  const watch = new ServiceWatch(caches, 4, "n1");
  const real = iptablesMode(kernel, {
    family: 4,
    masqueradeBit: 14,
    randomFully: true,
    tcpBeLiberal: false,
    localhostNodePorts: false,
    nodePortIps: [],
    serviceCidrs: [],
    masqueradeAll: false,
    localDetector: { by: "nothing" },
  });
  const mode: typeof real = {
    ...real,
    sync: async (...args) => {
      if (failures.left > 0) {
        failures.left -= 1;
        throw new Error("no more sockets");
      }
      return real.sync(...args);
    },
  };
  const loop = syncServices(
    {
      watch,
      mode,
      clock,
      log: noLog,
      queued: () => undefined,
      done: async () => undefined,
      failed: () => undefined,
    },
    { minSyncMs: 1_000, syncPeriodMs: 10_000 },
    stop.signal,
  );
  const settle = async () => {
    for (let i = 0; i < 10; i += 1) await clock.advance(0);
  };
  void running;
  return { api, clock, kernel, settle, loop, stop, writes: () => kernel.scripts.length };
}

t.test("nothing is written until Services and EndpointSlices are both known", async (t) => {
  const { api, settle, writes, kernel } = start();
  api.open("services", [service("web", "10.96.0.7")]);
  await settle();
  t.equal(writes(), 0);
  api.open("endpointslices", [slice("web", "10.1.0.1")]);
  await settle();
  t.equal(writes(), 1);
  t.match(kernel.rules("nat", "KUBE-SERVICES")?.join("\n"), /ns\/web cluster IP/);
  t.same(kernel.rules("filter", "KUBE-SERVICES"), [], "no refusal was written on the way");
});
t.test("the first change is written at once, a burst after it together", async (t) => {
  const { api, clock, settle, writes } = start();
  api.open("services", [service("web", "10.96.0.7")]);
  api.open("endpointslices", [slice("web", "10.1.0.1")]);
  await settle();
  await clock.advance(5_000);
  api.event("endpointslices", "MODIFIED", slice("web", "10.1.0.2"));
  await settle();
  t.equal(writes(), 2);
  for (const ip of ["10.1.0.3", "10.1.0.4", "10.1.0.5"]) {
    api.event("endpointslices", "MODIFIED", slice("web", ip));
    await settle();
  }
  t.equal(writes(), 2, "within the shortest time between two writes");
  await clock.advance(1_000);
  t.equal(writes(), 3);
});
t.test("a write that failed is tried again until it holds", async (t) => {
  const { api, clock, settle, writes, kernel } = start();
  kernel.failNext = "another program holds the lock";
  api.open("services", [service("web", "10.96.0.7")]);
  api.open("endpointslices", []);
  await settle();
  t.equal(writes(), 0);
  await clock.advance(100);
  t.equal(writes(), 1);
});
t.test("flushed rules come back without any change in the cluster", async (t) => {
  const { api, clock, settle, kernel } = start();
  api.open("services", [service("web", "10.96.0.7")]);
  api.open("endpointslices", [slice("web", "10.1.0.1")]);
  await settle();
  kernel.flush("nat");
  kernel.failNext = "busy";
  await clock.advance(10_000);
  await clock.advance(100);
  t.match(kernel.rules("nat", "KUBE-SERVICES")?.join("\n"), /ns\/web cluster IP/);
});
t.test("a Service that goes takes its rules along", async (t) => {
  const { api, clock, settle, kernel } = start();
  const web = service("web", "10.96.0.7");
  api.open("services", [web, service("api", "10.96.0.8")]);
  api.open("endpointslices", [slice("web", "10.1.0.1")]);
  await settle();
  await clock.advance(1_000);
  api.event("services", "DELETED", web);
  await settle();
  t.equal(
    kernel.chains("nat").filter((chain) => chain.startsWith("KUBE-S") && chain !== "KUBE-SERVICES").length,
    0,
  );
  t.match(kernel.rules("filter", "KUBE-SERVICES")?.join("\n"), /ns\/api has no endpoints/);
});

t.test("a change whose write failed is not lost", async (t) => {
  const failures = { left: 0 };
  const { api, clock, settle, kernel } = start(failures);
  api.open("services", [service("web", "10.96.0.7")]);
  api.open("endpointslices", [slice("web", "10.1.0.1")]);
  await settle();
  await clock.advance(1_000);
  failures.left = 2;
  api.event("endpointslices", "MODIFIED", slice("web"));
  await settle();
  t.equal(failures.left, 1);
  t.same(kernel.rules("filter", "KUBE-SERVICES"), []);
  await clock.advance(500);
  t.match(kernel.rules("filter", "KUBE-SERVICES")?.join("\n"), /ns\/web has no endpoints/);
});
