import t from "tap";
import type { ClusterTrustBundleProjection, Pod, PodSpec } from "#api/generated/kubernetes.ts";
import { admissionRefusal } from "./admission.ts";
import {
  containerResources,
  cpuShares,
  cpuWeight,
  podCgroup,
  podCgroupLimits,
} from "./container-resources.ts";
import { deadOf } from "./dead-containers.ts";
import { probeGraceSeconds } from "./grace-period.ts";
import { podHostname } from "./hostname.ts";
import { hostsFile } from "./hosts-file.ts";
import { invalidImage, pullPolicyOf, registryOf } from "./image-name.ts";
import { nodeStatus, parseTaint } from "./node-status.ts";
import { endedRecord, testContainer, testPod, testRecord, testRuntime, testSandbox } from "./pod-fixtures.ts";
import { firstTally, portNumber, tally } from "./probe-verdict.ts";
import { qosClass } from "./qos.ts";
import { parseResolvConf, podDns } from "./resolv-conf.ts";
import { containerSecurity, rootRefusal } from "./security-context.ts";
import { isMirror, mirrorPod } from "./mirror-pod.ts";
import { staticPod } from "./static-pod.ts";
import { statusPatch } from "./status-patch.ts";
import { type ObjectView, volumeFiles } from "./volume-files.ts";

const limited = (limits: Record<string, string>, requests?: Record<string, string>) =>
  testPod({
    containers: [
      testContainer("web", { resources: { limits, ...(requests === undefined ? {} : { requests }) } }),
    ],
  });

t.test("LC22 RS1: QoS classes", async (t) => {
  t.equal(qosClass(testPod()), "BestEffort");
  t.equal(qosClass(limited({ cpu: "1", memory: "1Gi" })), "Guaranteed");
  t.equal(qosClass(limited({ cpu: "1", memory: "1Gi" }, { cpu: "500m", memory: "1Gi" })), "Burstable");
  t.equal(qosClass(limited({ cpu: "1" })), "Burstable");
});
t.test(
  "init containers count for the QoS class, and the Pod's own resources before all others",
  async (t) => {
    const full = { limits: { cpu: "1", memory: "1Gi" } };
    const containers = [testContainer("web", { resources: full })];
    t.equal(qosClass(testPod({ containers, initContainers: [testContainer("init")] })), "Burstable");
    t.equal(
      qosClass(testPod({ containers, initContainers: [testContainer("init", { resources: full })] })),
      "Guaranteed",
    );
    t.equal(qosClass(testPod({ resources: full })), "Guaranteed");
    t.equal(qosClass(testPod({ containers, resources: { requests: { cpu: "1" } } })), "Burstable");
  },
);
t.test("CPU and memory in the kernel's units", async (t) => {
  t.equal(cpuShares(100), 102);
  t.equal(cpuShares(0), 2);
  t.equal(cpuWeight(1_024), 39);
  t.match(
    containerResources(
      limited({ cpu: "200m", memory: "64Mi" }),
      testContainer("web", { resources: { limits: { cpu: "200m", memory: "64Mi" } } }),
      1024 ** 3,
      -1_000,
    ),
    { cpuShares: 204, cpuQuota: 20_000, memoryLimitBytes: 64 * 1024 ** 2, oomScoreAdj: -997 },
  );
  t.equal(
    containerResources(limited({ cpu: "1", memory: "1" }), testContainer("web"), 1, 0).oomScoreAdj,
    0,
    "clamped to what this process may give",
  );
  t.same(podCgroupLimits(testPod()), { cpuShares: 2, cpuQuota: undefined, memoryBytes: undefined });
  t.equal(podCgroup(testPod(), "cgroupfs", "/"), "/kubepods/besteffort/podu1");
});
t.test("RS11: a RuntimeClass's overhead is on top of what the Pod's containers have", async (t) => {
  const overhead = { cpu: "250m", memory: "16Mi" };
  const both = limited({ cpu: "200m", memory: "64Mi" });
  t.same(
    podCgroupLimits({ ...both, spec: { ...both.spec, containers: both.spec?.containers ?? [], overhead } }),
    {
      cpuShares: cpuShares(450),
      cpuQuota: 45_000,
      memoryBytes: 80 * 1024 ** 2,
    },
  );
  t.same(podCgroupLimits(testPod({ overhead })), {
    cpuShares: cpuShares(250),
    cpuQuota: undefined,
    memoryBytes: undefined,
  });
});
t.test("the Pod's cgroup by driver", async (t) => {
  t.equal(podCgroup(testPod(), "cgroupfs", "/"), "/kubepods/besteffort/podu1");
  t.equal(
    podCgroup(testPod({}, { metadata: { uid: "a-b" } }), "systemd", "/"),
    "kubepods-besteffort-poda_b.slice",
  );
});
t.test("resolv.conf by policy", async (t) => {
  const host = parseResolvConf("nameserver 192.0.2.53\nsearch example.com # home\noptions ndots:1\n");
  const cluster = { servers: ["10.96.0.10"], domain: "cluster.local" };
  t.same(podDns(testPod(), cluster, host).dns, {
    servers: ["10.96.0.10"],
    searches: ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "example.com"],
    options: ["ndots:5"],
  });
  t.same(podDns(testPod({ hostNetwork: true }), cluster, host).dns, host);
  t.same(podDns(testPod({ dnsPolicy: "Default" }), cluster, host).dns, host);
  const onHost = testPod({ hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" });
  t.same(podDns(onHost, cluster, host).dns.servers, ["10.96.0.10"]);
  t.same(
    podDns(
      testPod({
        dnsPolicy: "None",
        dnsConfig: { nameservers: ["1.1.1.1"], options: [{ name: "timeout", value: "1" }] },
      }),
      cluster,
      host,
    ).dns,
    { servers: ["1.1.1.1"], searches: [], options: ["timeout:1"] },
  );
  t.equal(podDns(testPod(), { servers: [], domain: "" }, host).notes[0]?.reason, "MissingClusterDNS");
});
t.test(
  "resolv.conf keeps to three servers, 32 searches and 2048 characters, and says what it left out",
  async (t) => {
    const cluster = { servers: ["10.96.0.10"], domain: "" };
    const dnsOf = (dnsConfig: object) =>
      podDns(testPod({ dnsPolicy: "None", dnsConfig }), cluster, { servers: [], searches: [], options: [] });
    const four = dnsOf({ nameservers: ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"] });
    t.same(four.dns.servers, ["192.0.2.1", "192.0.2.2", "192.0.2.3"]);
    t.match(four.notes, [{ reason: "DNSConfigForming", message: /nameserver line is: 192\.0\.2\.1 .*\.3$/ }]);
    const many = dnsOf({ searches: Array.from({ length: 40 }, (_, i) => `s${i}.example`) });
    t.equal(many.dns.searches.length, 32);
    t.match(many.notes, [{ reason: "DNSConfigForming", message: /Search Line limits/ }]);
    const long = dnsOf({ searches: Array.from({ length: 20 }, (_, i) => `${"a".repeat(198)}${10 + i}`) });
    t.equal(long.dns.searches.length, 10, "ten of 200 characters and the blanks between them");
  },
);
t.test("hostname and hosts file", async (t) => {
  const pod = testPod({ hostname: "db", subdomain: "data" });
  const name = podHostname(pod, "cluster.local", "node-a");
  t.same(name, { hostname: "db", domain: "data.default.svc.cluster.local" });
  t.match(hostsFile(pod, ["10.244.0.5"], name, ""), "10.244.0.5\tdb.data.default.svc.cluster.local\tdb\n");
  t.equal(
    podHostname(testPod({}, { metadata: { name: `${"a".repeat(62)}.b` } }), "x", "n").hostname,
    "a".repeat(62),
    "cut to 63 and trimmed",
  );
});
t.test("images: policy, registry, names that are none", async (t) => {
  t.equal(pullPolicyOf("nginx", undefined), "Always");
  t.equal(pullPolicyOf("nginx:1", undefined), "IfNotPresent");
  t.equal(registryOf("nginx:1"), "docker.io");
  t.equal(registryOf("localhost:5000/nginx"), "localhost:5000");
  t.match(invalidImage("Bad Image"), /invalid reference format/);
  t.equal(invalidImage("localhost:5000/a/b@sha256:00"), undefined);
});
t.test("PR8: probes count what comes in a row", async (t) => {
  const probe = { failureThreshold: 2, successThreshold: 1 };
  let now = firstTally("liveness", undefined);
  now = tally(now, "failure", probe);
  t.equal(now.verdict, "success");
  now = tally(now, "unknown", probe);
  now = tally(now, "failure", probe);
  t.equal(now.verdict, "failure");
  t.equal(tally(now, "success", probe).verdict, "success");
  t.equal(firstTally("readiness", true).verdict, "success", "what an earlier agent found holds");
  t.equal(portNumber(testContainer("web", { ports: [{ name: "http", containerPort: 80 }] }), "http"), 80);
});
t.test("PR2: the grace period of a probe is its own, else its Pod's", async (t) => {
  const pod = testPod({ terminationGracePeriodSeconds: 20 });
  const own = testContainer("web", {
    livenessProbe: { terminationGracePeriodSeconds: 3 },
    startupProbe: {},
  });
  t.equal(probeGraceSeconds(pod, own, "liveness"), 3);
  t.equal(probeGraceSeconds(pod, own, "startup"), 20);
});
t.test("LC19 LC20 SC1 SC3 SC5 SC6 SC7: a Pod that does not fit is refused by name", async (t) => {
  const room = {
    cpuMilli: 1_000,
    memoryBytes: 1024 ** 3,
    pods: 2,
    ephemeralStorageBytes: 1024 ** 3,
    node: {
      metadata: { name: "node-a", labels: { disk: "ssd" } },
      spec: {
        taints: [
          { key: "gone", effect: "NoExecute" },
          { key: "full", effect: "NoSchedule" },
        ],
      },
      status: { allocatable: { cpu: "9", "hugepages-2Mi": "4Mi", "vendor.example/disc": "2" } },
    },
    allowedUnsafeSysctls: ["net.core.*"],
    appArmorEnabled: false,
    strictGroups: false,
  };
  const guest = (spec: Partial<PodSpec>): Pod =>
    testPod({ tolerations: [{ key: "gone", operator: "Exists" }], ...spec });
  const asks = (requests: Record<string, string>): Pod =>
    guest({ containers: [testContainer("web", { resources: { requests } })] });
  const sysctl = (name: string, more: Partial<PodSpec> = {}): Pod =>
    guest({ securityContext: { sysctls: [{ name, value: "1" }] }, ...more });
  const port = guest({
    containers: [testContainer("web", { ports: [{ containerPort: 80, hostPort: 8080 }] })],
  });
  const profile = (localhostProfile: string) => ({ type: "Localhost", localhostProfile });
  const term = (key: string, value: string) => ({
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key, operator: "In", values: [value] }] }],
      },
    },
  });
  const refusals: readonly (readonly [Pod, string | undefined, (readonly Pod[])?])[] = [
    [guest({}), undefined],
    [asks({ cpu: "600m" }), "OutOfcpu", [asks({ cpu: "600m" })]],
    [asks({ memory: "2Gi" }), "OutOfmemory"],
    [asks({ "ephemeral-storage": "2Gi" }), "OutOfephemeral-storage"],
    [asks({ "vendor.example/disc": "1" }), undefined, [asks({ "vendor.example/disc": "1" })]],
    [
      asks({ "vendor.example/disc": "2" }),
      "OutOfvendor.example/disc",
      [asks({ "vendor.example/disc": "1" })],
    ],
    [asks({ "vendor.example/unknown": "1" }), undefined],
    [asks({ "hugepages-2Mi": "6Mi" }), "OutOfhugepages-2Mi"],
    [guest({ resources: { requests: { cpu: "2" } } }), "OutOfcpu"],
    [guest({ overhead: { cpu: "2" } }), "OutOfcpu"],
    [
      guest({
        initContainers: [
          testContainer("proxy", { restartPolicy: "Always", resources: { requests: { cpu: "600m" } } }),
          testContainer("setup", { resources: { requests: { cpu: "600m" } } }),
        ],
      }),
      "OutOfcpu",
    ],
    [guest({}), "OutOfpods", [guest({}), guest({})]],
    [guest({ nodeName: "node-b" }), "NodeName"],
    [guest({ nodeSelector: { disk: "hdd" } }), "NodeAffinity"],
    [guest({ affinity: term("disk", "hdd") }), "NodeAffinity"],
    [guest({ affinity: term("disk", "ssd") }), undefined],
    [testPod(), "TaintToleration"],
    [port, "NodePorts", [port]],
    [sysctl("kernel.msgmax"), "SysctlForbidden"],
    [sysctl("net.ipv4.tcp_rmem", { hostNetwork: true }), "SysctlForbidden"],
    [sysctl("kernel.shm_rmid_forced", { hostIPC: true }), "SysctlForbidden"],
    [sysctl("kernel.shm_rmid_forced"), undefined],
    [sysctl("net/ipv4/tcp_syncookies"), undefined],
    [sysctl("net/ipv4/tcp_syncookies", { hostNetwork: true }), "SysctlForbidden"],
    [sysctl("net/core/somaxconn"), undefined],
    [guest({ securityContext: { appArmorProfile: { type: "RuntimeDefault" } } }), "AppArmor"],
    [
      guest({ securityContext: { supplementalGroupsPolicy: "Strict" } }),
      "SupplementalGroupsPolicyNotSupported",
    ],
    [guest({ securityContext: { seccompProfile: profile("a/b.json") } }), undefined],
    [guest({ securityContext: { seccompProfile: profile("../../etc/shadow") } }), "UnexpectedAdmissionError"],
    [
      guest({
        containers: [testContainer("web", { securityContext: { seccompProfile: profile("/etc/a") } })],
      }),
      "UnexpectedAdmissionError",
    ],
    [guest({ os: { name: "linux" } }), undefined],
    [guest({ os: { name: "windows" } }), "PodOSNotSupported"],
    [guest({ nodeSelector: { "kubernetes.io/os": "windows" } }), "PodOSSelectorNodeLabelDoesNotMatch"],
  ];
  for (const [pod, reason, others = []] of refusals) {
    t.equal(admissionRefusal(pod, others, room)?.reason, reason, reason ?? JSON.stringify(pod.spec));
  }
});
t.test("SC1: a group without a user goes with the image's user", async (t) => {
  const grouped = testPod({ securityContext: { runAsGroup: 7 } });
  const of = (pod: Pod, image: object) =>
    containerSecurity(pod, testContainer("web"), image, false, "/seccomp");
  t.match(of(grouped, { uid: 5 }), { runAsUser: 5, runAsGroup: 7 });
  t.match(of(grouped, { name: "www" }), { runAsUserName: "www", runAsGroup: 7 });
  t.match(of(grouped, {}), { runAsUser: 0, runAsGroup: 7 });
  t.equal(of(testPod(), { uid: 5 }).runAsUser, undefined, "the runtime knows the image's user and its group");
});
t.test("SC1: runAsNonRoot is checked against the image", async (t) => {
  const pod = testPod({ securityContext: { runAsNonRoot: true } });
  t.match(rootRefusal(pod, testContainer("web"), {}), /image will run as root/);
  t.match(rootRefusal(pod, testContainer("web"), { name: "www" }), /non-numeric user \(www\)/);
  t.equal(rootRefusal(pod, testContainer("web"), { uid: 7 }), undefined);
  t.match(
    rootRefusal(pod, testContainer("web", { securityContext: { runAsUser: 0 } }), { uid: 7 }),
    /breaks non-root policy/,
  );
});
t.test("GC1: as many ended runs are kept as the setting says, and only the newest sandbox", async (t) => {
  const runs = [
    testRecord("web", { attempt: 3 }),
    endedRecord("web", 1, { attempt: 2 }),
    endedRecord("web", 1, { attempt: 1 }),
    endedRecord("web", 1, { sandboxId: "old" }),
  ];
  const runtime = testRuntime(
    [testSandbox({ attempt: 1 }), testSandbox({ id: "old", state: "not-ready" })],
    ...runs,
  );
  t.same(deadOf(runtime, 1), { containers: ["web-1", "web-0"], sandboxes: ["old"] });
  t.same(deadOf(runtime, 0), { containers: ["web-2", "web-1", "web-0"], sandboxes: ["old"] });
  t.same(deadOf(runtime, 2).containers, ["web-0"]);
  t.same(deadOf(runtime, -1), { containers: [], sandboxes: [] }, "a kept run keeps its sandbox");
});
t.test(
  "a hostname may be the whole name or another altogether, within the kernel's 64 characters",
  async (t) => {
    const whole = { hostname: "db", subdomain: "data", setHostnameAsFQDN: true };
    t.equal(podHostname(testPod(whole), "x.example", "n").hostname, "db.data.default.svc.x.example");
    t.throws(() => podHostname(testPod(whole), `${"d".repeat(50)}.example`, "n"), /64 characters is the max/);
    const other = testPod({ ...whole, hostnameOverride: "other.example" });
    t.same(podHostname(other, "x.example", "n"), { hostname: "other.example", domain: "" });
  },
);
t.test("a Pod on the host's network has the node's hosts file and what it adds", async (t) => {
  const pod = testPod({ hostNetwork: true, hostAliases: [{ ip: "192.0.2.7", hostnames: ["one", "two"] }] });
  t.equal(
    hostsFile(pod, ["192.0.2.1"], podHostname(pod, "x", "node-a"), "127.0.0.1 localhost\n"),
    "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n\n# Entries added by HostAliases.\n192.0.2.7\tone\ttwo\n",
  );
});
const web = { kind: "file", place: "/m/web.yaml" } as const;

t.test("PS4 PS6: a static Pod is named after its node and changes its uid with its text", async (t) => {
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web" },
    spec: { containers: [{ name: "web", image: "a" }] },
  };
  const pod = staticPod(manifest, web, "node-a", 0);
  t.match(pod, {
    metadata: {
      name: "web-node-a",
      namespace: "default",
      annotations: { "kubernetes.io/config.source": "file" },
    },
    spec: { nodeName: "node-a", restartPolicy: "Always" },
  });
  t.equal(staticPod(manifest, web, "node-a", 9).metadata?.uid, pod.metadata?.uid);
  t.not(
    staticPod({ ...manifest, spec: { containers: [{ name: "web", image: "b" }] } }, web, "node-a", 0).metadata
      ?.uid,
    pod.metadata?.uid,
  );
  t.ok(isMirror(mirrorPod(pod, { name: "node-a", uid: "n" })));
  t.throws(
    () =>
      staticPod(
        { ...manifest, spec: { ...manifest.spec, volumes: [{ name: "x", secret: { secretName: "s" } }] } },
        web,
        "n",
        0,
      ),
    /may not reference secrets/,
  );
  t.throws(() => staticPod({ kind: "Service" }, web, "n", 0), /not a v1 Pod/);
});
t.test("PS2: a manifest that is wrong in one field is refused with that field", async (t) => {
  const pod = (spec: object, metadata: object = {}): object => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", ...metadata },
    spec: { containers: [{ name: "a", image: "x" }], ...spec },
  });
  const cases: readonly (readonly [object, RegExp])[] = [
    [pod({ containers: [null] }), /: spec\.containers\[0\] is no object/],
    [pod({ containers: [{ name: "a", env: {} }] }), /: spec\.containers\[0\]\.env is no list/],
    [pod({ hostNetwork: "yes" }), /: spec\.hostNetwork is neither true nor false/],
    [pod({ terminationGracePeriodSeconds: 1.5 }), /: spec\.terminationGracePeriodSeconds is no number/],
    [pod({ volumes: [{ name: "../../etc" }] }), /: spec\.volumes\[0\]\.name "\.\.\/\.\.\/etc" is no name/],
    [pod({ initContainers: [{ name: "a" }] }), /: spec\.containers\[0\]\.name "a" is there twice/],
    [pod({}, { namespace: "../.." }), /: metadata\.namespace/],
    [pod({}, { uid: "../.." }), /: metadata\.uid/],
  ];
  for (const [manifest, message] of cases) t.throws(() => staticPod(manifest, web, "node-a", 0), { message });
});

t.test("PS2: a null in a static Pod's manifest is a field that is absent", async (t) => {
  const containers = [{ name: "web", image: "a", resources: null, env: null }];
  const volumes = [{ name: "x", secret: null, emptyDir: {} }];
  const manifest = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web", creationTimestamp: null, annotations: null },
    spec: { priority: null, restartPolicy: null, containers, volumes },
  };
  const { spec, metadata } = staticPod(manifest, web, "node-a", 0);
  t.match(spec, { restartPolicy: "Always", containers: [{ name: "web" }] });
  t.notMatch(JSON.stringify({ spec, metadata }), /null/);
});
t.test("LC4: a status patch says only what differs", async (t) => {
  const pod = testPod();
  t.equal(statusPatch(pod, { phase: "Running", podIPs: [] }, { phase: "Running" }), undefined);
  t.same(statusPatch(pod, { phase: "Running", reason: "x" }, { phase: "Failed" }), {
    metadata: { uid: "u1" },
    status: { phase: "Failed", reason: null },
  });
  const resizing = { type: "PodResizeInProgress", status: "True" };
  const foreign = { type: "example.com/Gate", status: "True" };
  t.same(
    statusPatch(pod, { conditions: [resizing, foreign] }, { conditions: [] }),
    {
      metadata: { uid: "u1" },
      status: { conditions: [{ $patch: "delete", type: "PodResizeInProgress" }] },
    },
    "a condition of ours goes, one of others stays",
  );
  t.same(statusPatch(pod, { podIPs: [{ ip: "a" }] }, { podIPs: [{ ip: "b" }] }), {
    metadata: { uid: "u1" },
    status: { podIPs: [{ $patch: "replace" }, { ip: "b" }] },
  });
});
t.test("VO7: volume files: items, modes, what is missing", async (t) => {
  const facts = {
    nodeName: "n",
    hostIps: [],
    podIps: [],
    allocatable: { cpuMilli: 0, memoryBytes: 0, ephemeralStorageBytes: 0 },
  };
  const sources = {
    configMap: (name: string) =>
      name === "a"
        ? ({ state: "found", object: { data: { k: "v" } } } as const)
        : ({ state: "absent" } as const),
    secret: () => ({ state: "absent" }) as const,
    token: () => "tok",
    trustBundle: () => ({ state: "absent" }) as const,
    facts,
  };
  const files = (volume: Parameters<typeof volumeFiles>[1]) => volumeFiles(testPod(), volume, sources);
  t.same(
    [
      ...(files({ name: "x", configMap: { name: "a", items: [{ key: "k", path: "d/f", mode: 0o400 }] } }) ??
        []),
    ].map(([name, { data, mode }]) => [name, Buffer.from(data).toString(), mode]),
    [["d/f", "v", 0o400]],
  );
  t.throws(() => files({ name: "x", configMap: { name: "b" } }), { message: 'configmap "b" not found' });
  t.equal(files({ name: "x", configMap: { name: "b", optional: true } })?.size, 0);
  t.throws(
    () => files({ name: "x", configMap: { name: "a", items: [{ key: "z", path: "z" }] } }),
    /non-existent config key: z/,
  );
  t.throws(
    () => files({ name: "x", configMap: { name: "a", items: [{ key: "k", path: "../z" }] } }),
    /invalid path/,
  );
  t.equal(
    Buffer.from(
      files({ name: "x", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } })?.get("token")
        ?.data ?? [],
    ).toString(),
    "tok",
  );
});
t.test("VO7: binary data is told as bytes, and beside text", async (t) => {
  const object = {
    data: { text: "grün" },
    binaryData: { bytes: Buffer.from([0xff, 0, 0xfe]).toString("base64") },
  };
  const sources = {
    configMap: () => ({ state: "found", object }) as const,
    secret: () => ({ state: "found", object: { data: { key: object.binaryData.bytes } } }) as const,
    token: () => "",
    trustBundle: () => ({ state: "absent" }) as const,
    facts: {
      nodeName: "n",
      hostIps: [],
      podIps: [],
      allocatable: { cpuMilli: 0, memoryBytes: 0, ephemeralStorageBytes: 0 },
    },
  };
  const bytes = (volume: Parameters<typeof volumeFiles>[1]): Readonly<Record<string, string>> =>
    Object.fromEntries(
      [...(volumeFiles(testPod(), volume, sources) ?? [])].map(([name, { data, mode }]) => [
        name,
        `${mode.toString(8)} ${Buffer.from(data).toString("hex")}`,
      ]),
    );
  const text = Buffer.from("grün").toString("hex");
  t.same(bytes({ name: "x", configMap: { name: "a" } }), { text: `644 ${text}`, bytes: "644 ff00fe" });
  t.same(
    bytes({ name: "x", configMap: { name: "a", defaultMode: 0o440, items: [{ key: "bytes", path: "b" }] } }),
    {
      b: "440 ff00fe",
    },
  );
  t.same(bytes({ name: "x", secret: { secretName: "a", defaultMode: 0o400 } }), { key: "400 ff00fe" });
});

t.test("VO9: a trust bundle is a file of the Pod's own, empty when it may be missing", async (t) => {
  const absent = () => ({ state: "absent" }) as const;
  const facts = {
    nodeName: "n",
    hostIps: [],
    podIps: [],
    allocatable: { cpuMilli: 0, memoryBytes: 0, ephemeralStorageBytes: 0 },
  };
  const files = (
    clusterTrustBundle: ClusterTrustBundleProjection,
    view: ObjectView<string>,
    pod: Pod = testPod(),
  ) =>
    volumeFiles(
      pod,
      { name: "x", projected: { sources: [{ clusterTrustBundle }] } },
      { configMap: absent, secret: absent, token: () => "", trustBundle: () => view, facts },
    );
  const found = { state: "found", object: "PEM" } as const;
  const own = testPod({ securityContext: { runAsUser: 5 } });
  t.same(files({ name: "b", path: "a/ca.pem" }, found)?.get("a/ca.pem"), {
    data: Buffer.from("PEM"),
    mode: 0o644,
  });
  t.match(files({ name: "b", path: "ca.pem" }, found, own)?.get("ca.pem"), { mode: 0o600, owner: 5 });
  t.throws(() => files({ name: "b", path: "ca.pem" }, absent()), {
    message: 'clustertrustbundle.certificates.k8s.io "b" not found',
  });
  const optional = files({ signerName: "s", path: "ca.pem", optional: true }, absent())?.get("ca.pem");
  t.same(optional?.data, Buffer.alloc(0));
  t.throws(() => files({ name: "b", path: "x", optional: true }, { state: "loading", why: "not yet" }), {
    message: "not yet",
  });
  t.throws(() => files({ name: "b", path: "../x" }, found), /invalid path/);
});

t.test("VO9: a token belongs to the one user of its Pod, or to its group, or to all", async (t) => {
  const facts = {
    nodeName: "n",
    hostIps: [],
    podIps: [],
    allocatable: { cpuMilli: 0, memoryBytes: 0, ephemeralStorageBytes: 0 },
  };
  const absent = () => ({ state: "absent" }) as const;
  const sources = { configMap: absent, secret: absent, token: () => "tok", trustBundle: absent, facts };
  const volume = {
    name: "x",
    projected: { defaultMode: 0o444, sources: [{ serviceAccountToken: { path: "token" } }] },
  };
  const user = (name: string, runAsUser?: number) =>
    testContainer(name, runAsUser === undefined ? {} : { securityContext: { runAsUser } });
  const cases: readonly { readonly name: string; readonly pod: Pod; readonly is: object }[] = [
    { name: "no user is named", pod: testPod(), is: { mode: 0o444 } },
    {
      name: "the Pod's user",
      pod: testPod({ securityContext: { runAsUser: 5 } }),
      is: { mode: 0o600, owner: 5 },
    },
    {
      name: "all containers have the same",
      pod: testPod({ initContainers: [user("i", 7)], containers: [user("a", 7), user("b", 7)] }),
      is: { mode: 0o600, owner: 7 },
    },
    {
      name: "they differ",
      pod: testPod({ containers: [user("a", 7), user("b", 8)] }),
      is: { mode: 0o444 },
    },
    {
      name: "one of them names none",
      pod: testPod({ containers: [user("a", 7), user("b")] }),
      is: { mode: 0o444 },
    },
    {
      name: "a group, and users that differ",
      pod: testPod({ securityContext: { fsGroup: 9 }, containers: [user("a", 7), user("b", 8)] }),
      is: { mode: 0o600 },
    },
    {
      name: "a group and one user",
      pod: testPod({ securityContext: { fsGroup: 9, runAsUser: 5 } }),
      is: { mode: 0o600, owner: 5 },
    },
  ];
  for (const { name, pod, is } of cases) {
    const { data, ...rights } = volumeFiles(pod, volume, sources)?.get("token") ?? { data: "" };
    t.equal(Buffer.from(data).toString(), "tok");
    t.same(rights, is, name);
  }
});

t.test("the node says why it is not ready", async (t) => {
  const report = {
    nodeName: "n",
    addresses: ["192.0.2.1"],
    maxPods: 110,
    reservedMemoryBytes: 0,
    port: 10250,
    runtimeVersion: "containerd://1",
    kubeletVersion: "v1",
    images: [],
    notReady: ["network"],
    volumesInUse: [],
    handlers: [{ name: "", recursiveReadOnly: true, userNamespaces: false }],
    strictGroups: true,
    facts: {
      machineId: "",
      systemUuid: "",
      bootId: "",
      kernelVersion: "",
      osImage: "",
      architecture: "amd64",
      cpus: 2,
      memoryBytes: 2 * 1024 ** 3,
      swapBytes: 0,
      maxPids: 1_000,
      hugePages: [],
    },
    use: {
      memoryAvailableBytes: 1024 ** 3,
      diskCapacityBytes: 100,
      diskAvailableBytes: 50,
      inodes: 100,
      inodesFree: 50,
      pids: 1,
    },
  };
  const status = nodeStatus(report, undefined, 0);
  t.match(
    status.conditions?.map(({ type }) => type),
    ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"],
  );
  t.match(status.conditions?.at(-1), { status: "False", reason: "KubeletNotReady", message: "network" });
  t.equal(status.allocatable?.["memory"], `${(2 * 1024 - 100) * 1024}Ki`);
  t.same(parseTaint("a=b:NoSchedule"), { key: "a", value: "b", effect: "NoSchedule" });
  t.throws(() => parseTaint("a=b"), /key=value:effect/);
});
