import t from "tap";
import type { Endpoint, EndpointSlice, Service } from "#api/generated/kubernetes.ts";
import { servicePorts } from "./service-ports.ts";

const metadata = { namespace: "ns", name: "web" };
const service: Service = {
  metadata,
  spec: {
    clusterIP: "10.96.0.7",
    clusterIPs: ["10.96.0.7", "fd00::7"],
    ports: [
      { name: "http", port: 80, nodePort: 30080 },
      { name: "dns", port: 53, protocol: "UDP" },
    ],
  },
};
const slice = (addresses: string[], what: Partial<Endpoint> = {}): EndpointSlice => ({
  metadata: { namespace: "ns", name: "web-1", labels: { "kubernetes.io/service-name": "web" } },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints: addresses.map((ip) => ({ addresses: [ip, "10.9.9.9"], nodeName: "n1", ...what })),
});

t.test("a Service gives one port for each of its ports, with the endpoints of the same name", async (t) => {
  const ports = servicePorts(service, [slice(["10.244.0.5", "10.244.0.4"])], 4, "n1");
  t.same(
    ports.map(({ name, protocol, port, nodePort }) => [name, protocol, port, nodePort]),
    [
      ["ns/web:http", "tcp", 80, 30080],
      ["ns/web:dns", "udp", 53, 0],
    ],
  );
  t.same(
    ports[0]?.endpoints.map(({ ip, port, local, ready, serving, terminating }) => [
      ip,
      port,
      local,
      ready,
      serving,
      terminating,
    ]),
    [
      ["10.244.0.4", 8080, true, true, true, false],
      ["10.244.0.5", 8080, true, true, true, false],
    ],
    "sorted; conditions that are not said mean ready, and only the first address counts",
  );
  t.same(ports[1]?.endpoints, []);
});
t.test("each family sees its own address", async (t) => {
  t.equal(servicePorts(service, [], 6, "n1")[0]?.clusterIp, "fd00::7");
  t.same(
    servicePorts({ metadata, spec: { clusterIP: "10.96.0.7", ports: [{ port: 80 }] } }, [], 6, "n1"),
    [],
  );
});
t.test("headless, ExternalName and another proxy's Services are left alone", async (t) => {
  const ports = [{ port: 80 }];
  t.same(servicePorts({ metadata, spec: { clusterIP: "None", ports } }, [], 4, "n1"), []);
  t.same(
    servicePorts({ metadata, spec: { clusterIP: "10.96.0.7", type: "ExternalName", ports } }, [], 4, "n1"),
    [],
  );
  t.same(
    servicePorts(
      {
        metadata: { ...metadata, labels: { "service.kubernetes.io/service-proxy-name": "x" } },
        spec: { clusterIP: "10.96.0.7", ports },
      },
      [],
      4,
      "n1",
    ),
    [],
  );
});
t.test("the same address in two slices is one endpoint, and the better news counts", async (t) => {
  const slices = [
    slice(["10.244.0.4"], { nodeName: "n2", conditions: { ready: false } }),
    slice(["10.244.0.4"]),
  ];
  const [port] = servicePorts(service, slices, 4, "n1");
  t.same(
    port?.endpoints.map(({ ip, ready, local }) => [ip, ready, local]),
    [["10.244.0.4", true, true]],
  );
});
t.test(
  "outside addresses of the other family, and those a load balancer keeps to itself, are left out",
  async (t) => {
    const [port] = servicePorts(
      {
        metadata,
        spec: {
          ...service.spec,
          externalIPs: ["1.2.3.4", "fd00::1"],
          loadBalancerSourceRanges: [" 10.0.0.0/8", "fd00::/8"],
          externalTrafficPolicy: "Local",
          healthCheckNodePort: 31000,
          sessionAffinity: "ClientIP",
        },
        status: {
          loadBalancer: {
            ingress: [{ ip: "5.6.7.8" }, { ip: "5.6.7.9", ipMode: "Proxy" }, { hostname: "lb" }],
          },
        },
      },
      [],
      4,
      "n1",
    );
    t.match(port, {
      externalIps: ["1.2.3.4"],
      loadBalancerIps: ["5.6.7.8"],
      sourceRanges: ["10.0.0.0/8"],
      externalLocal: true,
      healthCheckNodePort: 31000,
      affinitySeconds: 10_800,
    });
  },
);
