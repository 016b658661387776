import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect } from "node:net";
import type { EndpointSlice, Namespace, Service } from "#api/generated/kubernetes.ts";
import { type KubeObject, keyOf, keyText } from "#api/meta.ts";
import type { Changed } from "#api/watch-cache.ts";
import { noLog } from "#lib/log.ts";
import dnsPacket, { type DecodedPacket } from "dns-packet";
import t from "tap";
import { parseRange } from "../allocators/plan/ipv4-range.ts";
import { DnsIndex } from "./dns-index.ts";
import { serveDns } from "./dns-server.ts";
import { Forwarder } from "./forward.ts";
import { answer, type DnsAnswer } from "./plan/answer.ts";
import { parseResolvConf, parseUpstream, usableUpstreams } from "./plan/upstreams.ts";
import { Resolver } from "./resolver.ts";
import { messageReader, withLength } from "./tcp-messages.ts";

class Cache<T extends KubeObject> {
  readonly all = new Map<string, T>();
  readonly #readers: Changed<T>[] = [];
  get(key: string): T | undefined {
    return this.all.get(key);
  }
  values(): Iterable<T> {
    return this.all.values();
  }
  subscribe(changed: Changed<T>): () => void {
    this.#readers.push(changed);
    return () => {};
  }
  put(object: T): void {
    const key = keyText(keyOf(object));
    const before = this.all.get(key);
    this.all.set(key, object);
    for (const changed of this.#readers) changed(key, object, before);
  }
}

const slice = (service: string, endpoints: NonNullable<EndpointSlice["endpoints"]>): EndpointSlice => ({
  metadata: { name: `${service}-x`, namespace: "d", labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints,
});

function world() {
  const namespaces = new Cache<Namespace>();
  const services = new Cache<Service>();
  const endpointSlices = new Cache<EndpointSlice>();
  const index = new DnsIndex("Cluster.Local", { namespaces, services, endpointSlices }, [
    parseRange("10.96.0.0/16"),
    parseRange("10.244.0.0/16"),
  ]);
  namespaces.put({ metadata: { name: "d" } });
  services.put({
    metadata: { name: "web", namespace: "d" },
    spec: {
      clusterIP: "10.96.0.20",
      ports: [
        { name: "http", port: 80 },
        { name: "dns", port: 53, protocol: "UDP" },
      ],
    },
  });
  services.put({
    metadata: { name: "db", namespace: "d" },
    spec: { clusterIP: "None", ports: [{ name: "http", port: 80 }] },
  });
  endpointSlices.put(
    slice("db", [
      { addresses: ["10.244.1.5"], hostname: "db-0", conditions: { ready: true } },
      { addresses: ["10.244.1.6"], conditions: { ready: true } },
      { addresses: ["10.244.1.7"], conditions: { ready: false } },
    ]),
  );
  services.put({ metadata: { name: "none", namespace: "d" }, spec: { clusterIP: "None" } });
  services.put({
    metadata: { name: "out", namespace: "d" },
    spec: { type: "ExternalName", externalName: "www.example.com" },
  });
  services.put({
    metadata: { name: "in", namespace: "d" },
    spec: { type: "ExternalName", externalName: "web.d.svc.cluster.local" },
  });
  return { index, services, endpointSlices };
}

const cases: readonly { name: string; question: [name: string, type: string]; expected: object }[] = [
  {
    name: "a Service",
    question: ["web.d.svc.cluster.local", "A"],
    expected: { state: "found", records: [{ type: "A", data: "10.96.0.20" }] },
  },
  {
    name: "in any case of letters",
    question: ["WEB.d.SVC.cluster.LOCAL.", "A"],
    expected: { state: "found", records: [{ data: "10.96.0.20" }] },
  },
  {
    name: "a family it does not have",
    question: ["web.d.svc.cluster.local", "AAAA"],
    expected: { state: "no-data" },
  },
  {
    name: "a named port",
    question: ["_http._tcp.web.d.svc.cluster.local", "SRV"],
    expected: {
      state: "found",
      records: [{ type: "SRV", data: { port: 80, target: "web.d.svc.cluster.local" } }],
      additional: [{ type: "A", data: "10.96.0.20" }],
    },
  },
  {
    name: "a port under the wrong protocol",
    question: ["_dns._tcp.web.d.svc.cluster.local", "SRV"],
    expected: { state: "no-name" },
  },
  {
    name: "a Service that is not there",
    question: ["nope.d.svc.cluster.local", "A"],
    expected: { state: "no-name" },
  },
  { name: "a namespace", question: ["d.svc.cluster.local", "A"], expected: { state: "no-data" } },
  {
    name: "a namespace that is not there",
    question: ["x.svc.cluster.local", "A"],
    expected: { state: "no-name" },
  },
  {
    name: "a headless Service: its ready endpoints",
    question: ["db.d.svc.cluster.local", "A"],
    expected: { state: "found", records: [{ data: "10.244.1.5" }, { data: "10.244.1.6" }] },
  },
  {
    name: "an endpoint by hostname",
    question: ["db-0.db.d.svc.cluster.local", "A"],
    expected: { state: "found", records: [{ data: "10.244.1.5" }] },
  },
  {
    name: "an endpoint by address",
    question: ["10-244-1-6.db.d.svc.cluster.local", "A"],
    expected: { state: "found", records: [{ data: "10.244.1.6" }] },
  },
  {
    name: "an endpoint that is not ready",
    question: ["10-244-1-7.db.d.svc.cluster.local", "A"],
    expected: { state: "no-name" },
  },
  {
    name: "a headless Service's port",
    question: ["_http._tcp.db.d.svc.cluster.local", "SRV"],
    expected: {
      state: "found",
      records: [
        { data: { port: 8080, target: "db-0.db.d.svc.cluster.local" } },
        { data: { port: 8080, target: "10-244-1-6.db.d.svc.cluster.local" } },
      ],
    },
  },
  {
    name: "a headless Service with nobody ready",
    question: ["none.d.svc.cluster.local", "A"],
    expected: { state: "no-name" },
  },
  {
    name: "an alias",
    question: ["out.d.svc.cluster.local", "A"],
    expected: { state: "alias", target: "www.example.com" },
  },
  {
    name: "a Pod by address",
    question: ["10-244-1-9.d.pod.cluster.local", "A"],
    expected: { state: "found", records: [{ data: "10.244.1.9" }] },
  },
  {
    name: "no Pod's address",
    question: ["10-244-1.d.pod.cluster.local", "A"],
    expected: { state: "no-name" },
  },
  {
    name: "a Service backwards",
    question: ["20.0.96.10.in-addr.arpa", "PTR"],
    expected: { state: "found", records: [{ data: "web.d.svc.cluster.local" }] },
  },
  {
    name: "an endpoint backwards",
    question: ["5.1.244.10.in-addr.arpa", "PTR"],
    expected: { state: "found", records: [{ data: "db-0.db.d.svc.cluster.local" }] },
  },
  {
    name: "a free address of ours backwards",
    question: ["21.0.96.10.in-addr.arpa", "PTR"],
    expected: { state: "no-name" },
  },
  {
    name: "another's address backwards",
    question: ["1.2.0.192.in-addr.arpa", "PTR"],
    expected: { state: "foreign" },
  },
  {
    name: "the specification",
    question: ["dns-version.cluster.local", "TXT"],
    expected: { state: "found", records: [{ data: ["1.1.0"] }] },
  },
  {
    name: "the zone",
    question: ["cluster.local", "SOA"],
    expected: { state: "found", records: [{ type: "SOA" }] },
  },
  {
    name: "a name that only ends alike",
    question: ["notcluster.local", "A"],
    expected: { state: "foreign" },
  },
];
for (const { name, question, expected } of cases) {
  t.test(`answers ${name}`, async (t) => {
    const [asked, type] = question;
    const found: DnsAnswer = answer({ name: asked, type }, world().index);
    t.match(found, expected);
    if (found.state === "found" && "records" in expected && Array.isArray(expected.records))
      t.equal(found.records.length, expected.records.length);
  });
}

t.test("endpoints that are not ready show when the Service says so", async (t) => {
  const { index, services } = world();
  services.put({
    metadata: { name: "db", namespace: "d" },
    spec: { clusterIP: "None", publishNotReadyAddresses: true },
  });
  const found = answer({ name: "db.d.svc.cluster.local", type: "A" }, index);
  t.equal(found.state === "found" && found.records.length, 3);
});

t.test("an address that moved leads back to its new owner only", async (t) => {
  const { index, services, endpointSlices } = world();
  services.put({ metadata: { name: "web", namespace: "d" }, spec: { clusterIP: "10.96.0.21" } });
  endpointSlices.put(slice("db", [{ addresses: ["10.244.9.9"], conditions: {} }]));
  t.equal(answer({ name: "20.0.96.10.in-addr.arpa", type: "PTR" }, index).state, "no-name");
  t.equal(answer({ name: "21.0.96.10.in-addr.arpa", type: "PTR" }, index).state, "found");
  t.equal(answer({ name: "5.1.244.10.in-addr.arpa", type: "PTR" }, index).state, "no-name");
  t.match(answer({ name: "db.d.svc.cluster.local", type: "A" }, index), {
    records: [{ data: "10.244.9.9" }],
  });
});

t.test("servers of resolv.conf are taken, never ourselves", async (t) => {
  const all = parseResolvConf(
    "# x\nnameserver 192.0.2.1\nnameserver 10.96.0.10\n nameserver 2001:db8::1\noptions ndots:5\n",
  );
  t.same(usableUpstreams(all, ["10.96.0.10"]), [
    { address: "192.0.2.1", port: 53 },
    { address: "2001:db8::1", port: 53 },
  ]);
  t.same(parseUpstream("[2001:db8::1]:5353"), { address: "2001:db8::1", port: 5353 });
  t.equal(parseUpstream("dns.example"), undefined);
});

/** A server on loopback, and one "outside" that knows www.example.com. */
async function running(t: { teardown(f: () => unknown): unknown }) {
  const outside = createSocket("udp4");
  outside.on("message", (message, from) => {
    const query = dnsPacket.decode(message);
    const name = query.questions?.[0]?.name ?? "";
    const known = name === "www.example.com";
    outside.send(
      dnsPacket.encode({
        type: "response",
        id: query.id ?? 0,
        flags: known ? 0 : 3,
        questions: query.questions ?? [],
        answers: known ? [{ type: "A", name, ttl: 60, data: "192.0.2.80" }] : [],
      }),
      from.port,
      from.address,
    );
  });
  t.teardown(() => outside.close());
  outside.bind(0, "127.0.0.1");
  await once(outside, "listening");
  const made = world();
  const stop = new AbortController();
  const resolver = new Resolver(
    made.index,
    new Forwarder([{ address: "127.0.0.1", port: outside.address().port }]),
  );
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const serving = serveDns(resolver, { address: "127.0.0.1", port: 0 }, resolve, noLog, stop.signal);
  serving.catch(reject);
  const port = await promise;
  t.teardown(async () => {
    stop.abort();
    await serving;
  });
  const raw = async (message: Buffer): Promise<Buffer> => {
    const socket = createSocket("udp4");
    try {
      socket.send(message, port, "127.0.0.1");
      const [got] = (await once(socket, "message", { signal: AbortSignal.timeout(5_000) })) as [Buffer];
      return got;
    } finally {
      socket.close();
    }
  };
  const ask = async (name: string, type: "A" | "AAAA" | "PTR"): Promise<DecodedPacket & { rcode?: string }> =>
    dnsPacket.decode(
      await raw(
        dnsPacket.encode({
          type: "query",
          id: 77,
          flags: dnsPacket.RECURSION_DESIRED,
          questions: [{ name, type }],
        }),
      ),
    );
  return { ...made, raw, ask, port };
}

t.test(
  "over UDP: found, nothing of that type, no such name, asked of others, and an alias to each side",
  async (t) => {
    const { ask } = await running(t);
    t.match(await ask("web.d.svc.cluster.local", "A"), {
      id: 77,
      rcode: "NOERROR",
      flag_aa: true,
      flag_ra: true,
      answers: [{ type: "A", ttl: 5, data: "10.96.0.20" }],
    });
    t.match(await ask("web.d.svc.cluster.local", "AAAA"), {
      rcode: "NOERROR",
      answers: [],
      authorities: [{ type: "SOA", name: "cluster.local" }],
    });
    t.match(await ask("nope.d.svc.cluster.local", "A"), {
      rcode: "NXDOMAIN",
      authorities: [{ type: "SOA" }],
    });
    t.match(await ask("www.example.com", "A"), {
      id: 77,
      rcode: "NOERROR",
      answers: [{ data: "192.0.2.80" }],
    });
    t.match(await ask("other.example.com", "A"), { id: 77, rcode: "NXDOMAIN" });
    t.match(await ask("out.d.svc.cluster.local", "A"), {
      answers: [
        { type: "CNAME", data: "www.example.com" },
        { type: "A", data: "192.0.2.80" },
      ],
    });
    t.match(await ask("in.d.svc.cluster.local", "A"), {
      answers: [
        { type: "CNAME", data: "web.d.svc.cluster.local" },
        { type: "A", name: "web.d.svc.cluster.local", data: "10.96.0.20" },
      ],
    });
  },
);

t.test("what does not fit into UDP is cut, says so, and comes whole over TCP", async (t) => {
  const { ask, port, endpointSlices } = await running(t);
  const many = Array.from({ length: 100 }, (_, n) => ({
    addresses: [`10.244.2.${n}`],
    conditions: { ready: true },
  }));
  endpointSlices.put(slice("db", many));
  const cut = await ask("db.d.svc.cluster.local", "A");
  t.equal(cut.flag_tc, true);
  t.ok((cut.answers?.length ?? 0) < 100);
  const socket = connect(port, "127.0.0.1");
  t.teardown(() => socket.destroy());
  const { promise, resolve } = Promise.withResolvers<Buffer>();
  socket.on("data", messageReader(resolve));
  socket.write(
    withLength(
      dnsPacket.encode({ type: "query", id: 5, questions: [{ name: "db.d.svc.cluster.local", type: "A" }] }),
    ),
  );
  t.equal(dnsPacket.decode(await promise).answers?.length, 100);
});

t.test("rubbish is answered with a format error or not at all, and the server lives on", async (t) => {
  const { raw, ask } = await running(t);
  const half = Buffer.alloc(14, 0xff);
  half.writeUInt16BE(9, 0);
  half.writeUInt16BE(0, 2);
  t.equal((await raw(half)).readUInt16BE(2) & 0xf, 1);
  const status = dnsPacket.encode({
    type: "query",
    id: 3,
    flags: 2 << 11,
    questions: [{ name: "a", type: "A" }],
  });
  t.equal((await raw(status)).readUInt16BE(2) & 0xf, 4);
  t.match(await ask("web.d.svc.cluster.local", "A"), { rcode: "NOERROR" });
});
