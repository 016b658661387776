import t from "tap";
import type { Container, Service } from "#api/generated/kubernetes.ts";
import { type EnvSources, environment } from "./environment.ts";
import { expand } from "./expand.ts";
import { testContainer, testPod } from "./pod-fixtures.ts";

const kubernetes: Service = {
  metadata: { name: "kubernetes", namespace: "default" },
  spec: { clusterIP: "10.96.0.1", ports: [{ name: "https", port: 443, protocol: "TCP" }] },
};
const db: Service = {
  metadata: { name: "my-db", namespace: "apps" },
  spec: { clusterIP: "10.96.0.7", ports: [{ port: 53, protocol: "UDP" }] },
};
const sources: EnvSources = {
  configMap: (name) => (name === "settings" ? { data: { COLOR: "green", WORD: "map" } } : undefined),
  secret: (name) =>
    name === "keys" ? { data: { WORD: Buffer.from("hush").toString("base64") } } : undefined,
  file: (volume, path) => {
    if (path === "spoilt.env") throw new Error("value must be enclosed in single quotes at line 1");
    return volume === "run" && path === "app.env"
      ? new Map([
          ["TOKEN", "t"],
          ["EMPTY", ""],
        ])
      : undefined;
  },
  services: [kubernetes, db],
  facts: {
    nodeName: "node-a",
    hostIps: ["192.0.2.1"],
    podIps: ["10.244.0.5"],
    allocatable: { cpuMilli: 2_000, memoryBytes: 1024, ephemeralStorageBytes: 0 },
  },
};
function env(container: Partial<Container>, namespace = "apps"): Readonly<Record<string, string>> {
  const pod = testPod(
    { containers: [testContainer("web", container)] },
    { metadata: { name: "web", namespace, uid: "u1", labels: { app: "web" } } },
  );
  return Object.fromEntries(
    environment(pod, testContainer("web", container), sources).map(({ name, value }) => [name, value]),
  );
}

t.test("variables expand what stands before them, and only that", async (t) => {
  const known = (name: string): string | undefined => (name === "A" ? "1" : undefined);
  t.equal(expand("$(A) $$(A) $(B) $A $$$(A)", known), "1 $(A) $(B) $A $1");
  t.match(
    env({
      env: [
        { name: "A", value: "a" },
        { name: "B", value: "$(A)-$(C)-$(MY_DB_SERVICE_HOST)" },
      ],
    }),
    { B: "a-$(C)-10.96.0.7" },
  );
});
t.test("Services of the namespace and the API server are told, in every form", async (t) => {
  const got = env({});
  t.match(got, {
    KUBERNETES_SERVICE_HOST: "10.96.0.1",
    KUBERNETES_SERVICE_PORT: "443",
    KUBERNETES_SERVICE_PORT_HTTPS: "443",
    KUBERNETES_PORT: "tcp://10.96.0.1:443",
    KUBERNETES_PORT_443_TCP_ADDR: "10.96.0.1",
    MY_DB_PORT_53_UDP: "udp://10.96.0.7:53",
    MY_DB_PORT_53_UDP_PROTO: "udp",
  });
  t.equal(env({}, "other")["MY_DB_SERVICE_HOST"], undefined);
});
t.test("env wins over envFrom, and later sources over earlier ones", async (t) => {
  const got = env({
    envFrom: [
      { configMapRef: { name: "settings" } },
      { secretRef: { name: "keys" }, prefix: "K_" },
      { secretRef: { name: "keys" } },
    ],
    env: [{ name: "COLOR", value: "red" }],
  });
  t.match(got, { COLOR: "red", WORD: "hush", K_WORD: "hush" });
});
t.test("the Pod tells of itself", async (t) => {
  const ref = (fieldPath: string) => ({ name: "X", valueFrom: { fieldRef: { fieldPath } } });
  t.equal(env({ env: [ref("status.podIP")] })["X"], "10.244.0.5");
  t.equal(env({ env: [ref("metadata.labels['app']")] })["X"], "web");
  t.equal(
    env({ env: [{ name: "X", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } }] })["X"],
    "2",
  );
  t.equal(
    env({
      resources: { limits: { memory: "1500" } },
      env: [{ name: "X", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1k" } } }],
    })["X"],
    "2",
  );
});
t.test("what is missing is named in the words users know, unless it is optional", async (t) => {
  t.throws(
    () => env({ env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "settings", key: "none" } } }] }),
    { message: "couldn't find key none in ConfigMap apps/settings" },
  );
  t.throws(() => env({ envFrom: [{ secretRef: { name: "none" } }] }), { message: 'secret "none" not found' });
  t.same(env({ envFrom: [{ secretRef: { name: "none", optional: true } }] })["X"], undefined);
});

t.test("EN1: a variable comes from a file in a volume", async (t) => {
  const ref = (path: string, key: string, optional?: boolean) => ({
    env: [
      {
        name: "X",
        valueFrom: {
          fileKeyRef: { volumeName: "run", path, key, ...(optional === undefined ? {} : { optional }) },
        },
      },
    ],
  });
  t.equal(env(ref("app.env", "TOKEN"))["X"], "t");
  t.equal(env(ref("app.env", "EMPTY"))["X"], "");
  t.equal(env(ref("app.env", "NONE", true))["X"], undefined);
  t.equal(env(ref("none.env", "TOKEN", true))["X"], undefined);
  t.throws(() => env(ref("app.env", "NONE")), {
    name: "EnvError",
    message: 'environment variable key "NONE" not found in file "app.env"',
  });
  t.throws(() => env(ref("none.env", "TOKEN")), {
    name: "EnvError",
    message: /failed to open .* no such file$/,
  });
  t.throws(() => env(ref("spoilt.env", "TOKEN", true)), {
    name: "EnvError",
    message: "couldn't parse env file: value must be enclosed in single quotes at line 1",
  });
});

t.test(
  "EN1: every resource of a container can be a variable, and the node's room stands in for a limit",
  async (t) => {
    const ref = (resource: string, divisor?: string) => ({
      resources: {
        limits: { cpu: "1500m", memory: "0", "hugepages-2Mi": "8Mi" },
        requests: { cpu: "250m", "ephemeral-storage": "3Ki" },
      },
      env: [
        {
          name: "X",
          valueFrom: { resourceFieldRef: { resource, ...(divisor === undefined ? {} : { divisor }) } },
        },
      ],
    });
    const cases = [
      ["limits.cpu", undefined, "2"],
      ["limits.cpu", "1m", "1500"],
      ["requests.cpu", "1m", "250"],
      ["limits.memory", undefined, "1024"],
      ["requests.ephemeral-storage", "1Ki", "3"],
      ["limits.hugepages-2Mi", "1Mi", "8"],
      ["requests.hugepages-2Mi", "2Mi", "4"],
      ["limits.hugepages-1Gi", undefined, "0"],
    ] as const;
    for (const [resource, divisor, want] of cases) t.equal(env(ref(resource, divisor))["X"], want, resource);
    t.throws(() => env(ref("limits.example.com/gpu")), {
      message: "unsupported container resource : limits.example.com/gpu",
    });
  },
);
