import type { Service } from "#api/generated/kubernetes.ts";
import { keyOf, keyText } from "#api/meta.ts";
import type { Changed } from "#api/watch-cache.ts";
import { FakeClock } from "#lib/clock.ts";
import t from "tap";
import { resourceTable } from "../apiserver/content/resources.ts";
import type { StoredObject } from "../model.ts";
import { nthAddress, parseRange } from "./plan/ipv4-range.ts";
import { addressBand, pickNumber, portBand } from "./plan/pick-number.ts";
import { serviceAllocator } from "./service-allocator.ts";

const signal = AbortSignal.timeout(30_000);

/** Services as the API has them; the cache may lag behind. */
function world(cidr = "10.96.0.0/16", random = () => 0) {
  const stored = new Map<string, Service>();
  const readers: Changed<Service>[] = [];
  const clock = new FakeClock();
  const plugin = serviceAllocator({
    services: {
      get: (key) => stored.get(key),
      values: () => stored.values(),
      subscribe: (changed) => {
        readers.push(changed);
        return () => {};
      },
    },
    current: (namespace, name) => Promise.resolve(stored.get(keyText({ namespace, name }))),
    range: parseRange(cidr),
    nodePorts: { first: 30_000, last: 32_767 },
    clock,
    random,
  });
  const resource = resourceTable().find((one) => one.plural === "services");
  if (resource === undefined) throw new Error("no services");
  const admit = async (name: string, spec: Service["spec"] & object): Promise<Service["spec"] & object> => {
    const object = { apiVersion: "v1", kind: "Service", metadata: { name, namespace: "d" }, spec };
    const before = stored.get(`d/${name}`);
    const admitted = await plugin.admit(
      {
        operation: before === undefined ? "CREATE" : "UPDATE",
        user: { name: "u", groups: [] },
        resource,
        subresource: "",
        namespace: "d",
        name,
        object,
        before: before as unknown as StoredObject | undefined,
        dryRun: false,
      },
      signal,
    );
    return (admitted as unknown as Service).spec ?? {};
  };
  const put = async (
    name: string,
    spec: Service["spec"] & object,
    heard = true,
  ): Promise<Service["spec"] & object> => {
    const given = await admit(name, spec);
    const service = { metadata: { name, namespace: "d" }, spec: given };
    const key = keyText(keyOf(service));
    const before = stored.get(key);
    stored.set(key, service);
    if (heard) for (const changed of readers) changed(key, service, before);
    return given;
  };
  const remove = (name: string, heard = true): void => {
    const before = stored.get(`d/${name}`);
    stored.delete(`d/${name}`);
    if (heard) for (const changed of readers) changed(`d/${name}`, undefined, before);
  };
  return { admit, put, remove, clock };
}

t.test("a Service gets an address above the static band, and no two the same", async (t) => {
  const { put, admit } = world();
  t.match(await put("a", {}), {
    clusterIP: "10.96.1.1",
    clusterIPs: ["10.96.1.1"],
    ipFamilies: ["IPv4"],
    ipFamilyPolicy: "SingleStack",
  });
  t.equal((await put("b", {})).clusterIP, "10.96.1.2");
  const [c, d] = await Promise.all([admit("c", {}), admit("d", {})]);
  t.not(c.clusterIP, d.clusterIP, "writes on their way hold their address");
});

t.test(
  "an address that is asked for is given when it is free, and refused in upstream's words",
  async (t) => {
    const { put, admit, remove } = world();
    t.equal((await put("a", { clusterIP: "10.96.0.10" })).clusterIP, "10.96.0.10");
    await t.rejects(admit("b", { clusterIP: "10.96.0.10" }), {
      code: 422,
      message:
        'Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.10"]: failed to allocate IP 10.96.0.10: provided IP is already allocated',
    });
    await t.rejects(admit("b", { clusterIP: "10.97.0.1" }), {
      message:
        /the provided IP \(10\.97\.0\.1\) is not in the valid range\. The range of valid IPs is 10\.96\.0\.0\/16/,
    });
    remove("a", false);
    t.equal(
      (await put("b", { clusterIP: "10.96.0.10" })).clusterIP,
      "10.96.0.10",
      "even before the cache heard of the delete",
    );
  },
);

t.test("headless and ExternalName Services have no address", async (t) => {
  const { put } = world();
  t.match(await put("h", { clusterIP: "None" }), { clusterIP: "None", clusterIPs: ["None"] });
  const external = await put("e", { type: "ExternalName", externalName: "example.com" });
  t.notOk("clusterIP" in external);
});

t.test("changing the type frees and gives what the type has", async (t) => {
  const { put } = world();
  const ports = [{ port: 80, protocol: "TCP" }];
  const first = await put("a", { type: "NodePort", ports });
  t.match(first.ports, [{ port: 80, nodePort: 30_086 }]);
  const plain = await put("a", { ...first, type: "ClusterIP" });
  t.notOk("nodePort" in (plain.ports?.[0] ?? {}));
  t.equal(plain.clusterIP, first.clusterIP);
  const gone = await put("a", { ...plain, type: "ExternalName", externalName: "x.example" });
  t.notOk("clusterIP" in gone);
  const back = await put("a", { type: "ClusterIP", ports });
  t.equal(back.clusterIP, "10.96.1.1", "what was freed can be had again");
});

t.test("an update that leaves out address and node port keeps them", async (t) => {
  const { put } = world("10.96.0.0/16", () => 0.5);
  const first = await put("a", { type: "NodePort", ports: [{ port: 80 }] });
  const again = await put("a", { type: "NodePort", ports: [{ port: 80 }, { port: 443 }] });
  t.equal(again.clusterIP, first.clusterIP);
  t.equal(again.ports?.[0]?.nodePort, first.ports?.[0]?.nodePort);
  t.ok((again.ports?.[1]?.nodePort ?? 0) > 30_085);
});

t.test(
  "node ports: asked for, taken, out of range, shared by two protocols, and for health checks",
  async (t) => {
    const { put, admit } = world();
    const nodePort = (port: number) => ({ type: "NodePort", ports: [{ port: 80, nodePort: port }] });
    t.equal((await put("a", nodePort(30_080))).ports?.[0]?.nodePort, 30_080);
    await t.rejects(admit("b", nodePort(30_080)), {
      code: 422,
      message:
        'Service "b" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated',
    });
    await t.rejects(admit("b", nodePort(80)), { message: /The range of valid ports is 30000-32767/ });
    const dns = await put("dns", {
      type: "NodePort",
      ports: [
        { port: 53, protocol: "UDP" },
        { port: 53, protocol: "TCP" },
      ],
    });
    t.equal(dns.ports?.[0]?.nodePort, dns.ports?.[1]?.nodePort);
    const balanced = await put("lb", {
      type: "LoadBalancer",
      externalTrafficPolicy: "Local",
      ports: [{ port: 80 }],
    });
    t.ok((balanced.healthCheckNodePort ?? 0) >= 30_000);
    t.not(balanced.healthCheckNodePort, balanced.ports?.[0]?.nodePort);
  },
);

t.test("a full range says so", async (t) => {
  const { put, admit } = world("10.96.0.0/28");
  for (let n = 0; n < 14; n += 1) await put(`s${n}`, {});
  await t.rejects(admit("more", {}), { code: 500, message: /range is full/ });
});

t.test("bands and picks", async (t) => {
  t.same([addressBand(65_536), addressBand(256), addressBand(4_096)], [256, 16, 256]);
  t.equal(portBand(2_768), 86);
  t.equal(nthAddress(parseRange("10.96.0.0/16"), 10), "10.96.0.10");
  t.equal(
    pickNumber({ first: 1, last: 9, band: 4 }, (n) => n >= 5, 0.9),
    4,
    "the band last",
  );
  t.throws(() => parseRange("10.96.0.1/16"), /begins at 10\.96\.0\.0/);
});
