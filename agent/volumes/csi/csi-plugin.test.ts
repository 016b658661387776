import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { setImmediate as setImmediatePromise } from "node:timers/promises";
import * as grpc from "@grpc/grpc-js";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { CSIDriverSpec, CSIPersistentVolumeSource, Pod, PodSpec } from "#api/generated/kubernetes.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { type CsiDriverOptions, TestCsiDriver } from "../../../test/support/csi-driver.ts";
import { FakeObjects } from "../../../test/support/fake-objects.ts";
import { fuzzSeed, Random } from "../../../test/support/mutate.ts";
import { until } from "../../agent-fixture.ts";
import { volumeFaultMessages } from "../../plan/volume-faults.ts";
import { agentMetrics, tellVolumeSizes } from "../../metrics.ts";
import { growPass } from "../grow-volumes.ts";
import { VolumeReadings } from "../volume-readings.ts";
import { ServiceAccountTokens } from "../service-account-tokens.ts";
import { Volumes } from "../volumes.ts";
import { CsiDrivers } from "./csi-drivers.ts";
import { nodeCapability } from "./csi-messages.ts";
import { CsiNodeNotes } from "./csi-node-notes.ts";
import { CsiObjects } from "./csi-objects.ts";
import { CsiPlugin } from "./csi-plugin.ts";
import { attachmentName, blockPaths, globalMountPath } from "./plan/csi-names.ts";

const { signal } = new AbortController();
const facts = {
  nodeName: "node-a",
  hostIps: [],
  podIps: [],
  allocatable: { cpuMilli: 1, memoryBytes: 1, ephemeralStorageBytes: 1 },
};
const name = "csi.example.com";

/** A node with one driver, whose agent can be started anew. */
class TestNode {
  readonly api = new FakeObjects();
  readonly clock = new FakeClock();
  readonly rootDir: string;
  readonly driver: TestCsiDriver;
  drivers: CsiDrivers;
  volumes: Volumes;
  fileLabel: string | undefined;

  constructor(rootDir: string, driver: TestCsiDriver) {
    this.rootDir = rootDir;
    this.driver = driver;
    this.api.put("/api/v1/nodes/node-a", { metadata: { name: "node-a", uid: "n1" } });
    [this.drivers, this.volumes] = this.#begin();
  }

  static async start(options: Partial<CsiDriverOptions> = {}): Promise<TestNode> {
    const rootDir = await mkdtemp(path.join(os.tmpdir(), "csi-"));
    const driver = new TestCsiDriver({
      folder: rootDir,
      registry: `${rootDir}/plugins_registry`,
      ...options,
    });
    await driver.start();
    const node = new TestNode(rootDir, driver);
    await node.register();
    return node;
  }

  async register(): Promise<void> {
    const info = { type: "CSIPlugin", name, endpoint: this.driver.socket, supportedVersions: ["1.0.0"] };
    await this.drivers.register(info, signal);
  }

  /** Another agent, which knows only what the disk and the API tell. */
  async restart(): Promise<void> {
    this.drivers.close();
    [this.drivers, this.volumes] = this.#begin();
    await this.volumes.start();
    await this.register();
  }

  object(spec: CSIDriverSpec): void {
    this.api.put(`/apis/storage.k8s.io/v1/csidrivers/${name}`, { metadata: { name }, spec });
  }

  /** A claim `c` of a PersistentVolume `pv`. */
  claim(csi: Partial<CSIPersistentVolumeSource> = {}, spec: object = {}): void {
    this.api.put("/api/v1/namespaces/d/persistentvolumeclaims/c", {
      metadata: { name: "c", uid: "c1" },
      spec: { volumeName: "pv" },
      status: { phase: "Bound" },
    });
    this.api.put("/api/v1/persistentvolumes/pv", {
      metadata: { name: "pv" },
      spec: {
        claimRef: { uid: "c1" },
        accessModes: ["ReadWriteOnce"],
        csi: { driver: name, volumeHandle: "h1", ...csi },
        ...spec,
      },
    });
  }

  /** @returns the FailedMount messages. */
  async setUp(pod: Pod): Promise<readonly string[]> {
    for (;;) {
      const outcome = await this.volumes.setUp(pod, facts, signal);
      if (outcome !== undefined) return volumeFaultMessages(outcome.faults, false);
    }
  }

  mount(uid: string, volume = "pv"): string {
    return `${this.rootDir}/pods/${uid}/volumes/kubernetes.io~csi/${volume}/mount`;
  }

  /** Everything below the places that volumes have. */
  async left(): Promise<readonly string[]> {
    const all = await Promise.all(
      ["pods", "plugins"].map((top) =>
        readdir(path.join(this.rootDir, top), { recursive: true }).catch(() => []),
      ),
    );
    return all.flat();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.volumes.close();
    this.drivers.close();
    await this.driver[Symbol.asyncDispose]();
    await rm(this.rootDir, { recursive: true, force: true });
  }

  #begin(): [CsiDrivers, Volumes] {
    const { api, clock, rootDir } = this;
    const client = new ApiClient(api);
    const drivers = new CsiDrivers({ clock, notes: new CsiNodeNotes(client, "node-a", clock) });
    drivers.settle();
    const plugin = new CsiPlugin({
      rootDir,
      nodeName: "node-a",
      drivers,
      objects: new CsiObjects(client, "node-a", clock),
      tokens: new ServiceAccountTokens(client, clock),
      clock,
      ...(this.fileLabel === undefined ? {} : { fileLabel: this.fileLabel }),
    });
    const volumes = new Volumes({
      rootDir,
      plugins: [plugin],
      client,
      nodeName: "node-a",
      nodeLabels: () => ({}),
      clock,
      log: noLog,
      inUseChanged: () => undefined,
      warn: () => undefined,
      changed: () => undefined,
    });
    return [drivers, volumes];
  }
}

function podOf(uid: string, volume: object, more: Partial<PodSpec> = {}): Pod {
  return {
    metadata: { name: `pod-${uid}`, namespace: "d", uid },
    spec: {
      serviceAccountName: "default",
      volumes: [{ name: "data", ...volume }],
      containers: [{ name: "c", volumeMounts: [{ name: "data", mountPath: "/data" }] }],
      ...more,
    },
  };
}

const claimed = (uid: string, more: Partial<PodSpec> = {}): Pod =>
  podOf(uid, { persistentVolumeClaim: { claimName: "c" } }, more);

t.test(
  "VO15: a CSI volume is staged once, published for each Pod, and all of it undone in order",
  async (t) => {
    await using node = await TestNode.start();
    const { driver, rootDir } = node;
    node.object({ attachRequired: false });
    node.claim(
      {
        fsType: "ext4",
        volumeAttributes: { color: "green" },
        nodeStageSecretRef: { name: "s", namespace: "n" },
      },
      { mountOptions: ["noatime"] },
    );
    node.api.put("/api/v1/namespaces/n/secrets/s", { metadata: { name: "s" }, data: { key: "aHVzaA==" } });
    t.same(await node.setUp(claimed("u1")), []);
    const global = globalMountPath(rootDir, name, "h1");
    t.match(global, /plugins\/kubernetes\.io\/csi\/csi\.example\.com\/[0-9a-f]{64}\/globalmount$/);
    const capability = {
      mount: { fsType: "ext4", mountFlags: ["noatime"], volumeMountGroup: "" },
      block: null,
      accessMode: { mode: 1 },
    };
    t.same(driver.calls, [
      {
        method: "NodeStageVolume",
        request: {
          volumeId: "h1",
          publishContext: {},
          stagingTargetPath: global,
          volumeCapability: capability,
          secrets: { key: "hush" },
          volumeContext: { color: "green" },
        },
      },
      {
        method: "NodePublishVolume",
        request: {
          volumeId: "h1",
          publishContext: {},
          stagingTargetPath: global,
          targetPath: node.mount("u1"),
          volumeCapability: capability,
          readonly: false,
          secrets: {},
          volumeContext: { color: "green" },
        },
      },
    ]);
    t.equal(node.volumes.of("u1").get("data")?.mounted.hostPath, node.mount("u1"));
    t.equal(
      await readFile(`${path.dirname(global)}/vol_data.json`, "utf8"),
      '{"driverName":"csi.example.com","volumeHandle":"h1"}\n',
      "the kubelet's form",
    );
    t.equal(
      await readFile(`${path.dirname(node.mount("u1"))}/vol_data.json`, "utf8"),
      `{"attachmentID":"${attachmentName("h1", name, "node-a")}","driverName":"csi.example.com","nodeName":"node-a",` +
        '"specVolID":"pv","volumeHandle":"h1","volumeLifecycleMode":"Persistent"}\n',
    );
    t.same(await node.setUp(claimed("u2")), []);
    t.same(driver.methods.slice(2), ["NodePublishVolume"], "staged once");
    await node.volumes.remove("u1", signal);
    t.same(driver.methods.slice(3), ["NodeUnpublishVolume"], "the other Pod still has it");
    await node.volumes.remove("u2", signal);
    t.same(driver.methods.slice(4), ["NodeUnpublishVolume", "NodeUnstageVolume"]);
    t.same(driver.last("NodeUnstageVolume"), { volumeId: "h1", stagingTargetPath: global });
    t.same(
      (await node.left()).filter((file) => /csi\.example|pods|u\d/.test(file) && !file.endsWith(name)),
      [],
    );
  },
);

t.test(
  "VO15: a volume that is attached waits for it, and its attachment's words reach the driver",
  async (t) => {
    await using node = await TestNode.start();
    const { driver, api } = node;
    node.claim();
    t.same(await node.setUp(claimed("u1")), [], "waiting is no fault");
    t.same(driver.methods, []);
    const attached = `kubernetes.io/csi/${name}^h1`;
    t.same(node.volumes.inUse(), [attached]);
    const status = { volumesInUse: [attached], volumesAttached: [{ name: attached, devicePath: "" }] };
    api.put("/api/v1/nodes/node-a", { metadata: { name: "node-a", uid: "n1" }, status });
    await node.clock.advance(1_100);
    const attachment = attachmentName("h1", name, "node-a");
    t.match(await node.setUp(claimed("u1")), [
      new RegExp(
        `^MountVolume.WaitForAttach failed for volume "pv" : volume h1 has GET error for volume attachment ${attachment}: .*not found$`,
      ),
    ]);
    const place = `/apis/storage.k8s.io/v1/volumeattachments/${attachment}`;
    const failed = { attached: false, attachError: { message: "no such disk" } };
    api.put(place, { metadata: { name: attachment }, status: failed });
    t.same(await node.setUp(claimed("u1")), [
      'MountVolume.WaitForAttach failed for volume "pv" : no such disk',
    ]);
    api.put(place, {
      metadata: { name: attachment },
      status: { attached: true, attachmentMetadata: { lun: "7" } },
    });
    t.same(await node.setUp(claimed("u1")), []);
    t.match(driver.last("NodeStageVolume"), { publishContext: { lun: "7" } });
    t.match(driver.last("NodePublishVolume"), { publishContext: { lun: "7" } });
    await node.restart();
    t.same(node.volumes.inUse(), [attached], "found from the disk");
  },
);

t.test("VO15: a volume written in the Pod is published with what the driver asks of the Pod", async (t) => {
  await using node = await TestNode.start();
  const { driver, api } = node;
  const inline = { csi: { driver: name, volumeAttributes: { a: "b" }, nodePublishSecretRef: { name: "p" } } };
  t.same(await node.setUp(podOf("u1", inline)), [
    `MountVolume.NewMounter initialization failed for volume "data" : volume mode "Ephemeral" not supported by driver ${name} (no CSIDriver object)`,
  ]);
  node.object({
    volumeLifecycleModes: ["Ephemeral"],
    podInfoOnMount: true,
    requiresRepublish: true,
    tokenRequests: [{ audience: "vault" }, { audience: "", expirationSeconds: 3_600 }],
  });
  await node.clock.advance(1_100);
  t.match(await node.setUp(podOf("u1", inline)), [
    /^MountVolume.SetUp failed for volume "data" : fetching NodePublishSecretRef d\/p failed: kubernetes.io\/csi: failed to find the secret p in the namespace d with error: /,
  ]);
  api.put("/api/v1/namespaces/d/secrets/p", { metadata: { name: "p" }, data: { k: "aHVzaA==" } });
  t.same(await node.setUp(podOf("u1", inline)), []);
  t.same(driver.methods, ["NodePublishVolume"], "it is not staged");
  const publish = driver.last("NodePublishVolume");
  t.match(publish, {
    volumeId: /^csi-[0-9a-f]{64}$/,
    stagingTargetPath: "",
    secrets: { k: "hush" },
    volumeContext: {
      a: "b",
      "csi.storage.k8s.io/pod.name": "pod-u1",
      "csi.storage.k8s.io/pod.namespace": "d",
      "csi.storage.k8s.io/pod.uid": "u1",
      "csi.storage.k8s.io/serviceAccount.name": "default",
      "csi.storage.k8s.io/ephemeral": "true",
    },
  });
  const tokens = (request: Record<string, unknown>): string =>
    (request["volumeContext"] as Record<string, string>)["csi.storage.k8s.io/serviceAccount.tokens"] ?? "";
  const first = JSON.parse(tokens(publish)) as Record<string, { readonly token: string }>;
  t.match(first, {
    "": { token: /^token--\d$/, expirationTimestamp: /Z$/ },
    vault: { token: /^token-vault-\d$/ },
  });

  t.same(await node.setUp(podOf("u1", inline)), []);
  t.equal(driver.calls.length, 1, "not yet due");
  await node.clock.advance(61_000);
  t.same(await node.setUp(podOf("u1", inline)), []);
  t.same(driver.methods, ["NodePublishVolume", "NodePublishVolume"], "a minute later it is published again");
  driver.faults.set("NodePublishVolume", { code: grpc.status.INTERNAL, message: "vault is sealed" });
  await node.clock.advance(61_000);
  t.same(await node.setUp(podOf("u1", inline)), [
    'MountVolume.SetUp failed for volume "data" : rpc error: code = Internal desc = vault is sealed',
  ]);
  t.ok(node.volumes.of("u1").has("data"), "the Pod keeps what it has");
  await node.volumes.remove("u1", signal);
  t.same(driver.methods.slice(3), ["NodeUnpublishVolume"]);
  t.same(driver.last("NodeUnpublishVolume"), {
    volumeId: publish["volumeId"],
    targetPath: node.mount("u1", "data"),
  });
});

t.test("VO15: tokens go among the secrets of a driver that wants them there", async (t) => {
  await using node = await TestNode.start();
  node.object({
    volumeLifecycleModes: ["Ephemeral"],
    serviceAccountTokenInSecrets: true,
    tokenRequests: [{ audience: "vault" }],
  });
  t.same(await node.setUp(podOf("u1", { csi: { driver: name } })), []);
  t.match(node.driver.last("NodePublishVolume"), {
    secrets: { "csi.storage.k8s.io/serviceAccount.tokens": /^\{"vault":\{"token":/ },
    volumeContext: {},
  });
});

t.test("VO15: what goes wrong is told in the kubelet's words, and is tried again", async (t) => {
  await using node = await TestNode.start();
  const { driver } = node;
  node.object({ attachRequired: false });
  node.claim({ driver: "other.example.com" });
  t.same(await node.setUp(claimed("u0")), [], "without an object it is waited for until it is attached");
  node.api.put("/apis/storage.k8s.io/v1/csidrivers/other.example.com", {
    metadata: { name: "other.example.com" },
    spec: { attachRequired: false },
  });
  await node.clock.advance(1_100);
  t.same(await node.setUp(claimed("u0")), [
    'MountVolume.MountDevice failed for volume "pv" : kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: driver name other.example.com not found in the list of registered CSI drivers',
  ]);
  node.claim();
  driver.faults.set("NodeStageVolume", { code: grpc.status.NOT_FOUND, message: "no volume h1" });
  t.same(await node.setUp(claimed("u1")), [
    'MountVolume.MountDevice failed for volume "pv" : rpc error: code = NotFound desc = no volume h1',
  ]);
  const global = globalMountPath(node.rootDir, name, "h1");
  await t.rejects(stat(global), "a final answer leaves no directory");
  driver.faults.set("NodeStageVolume", { code: grpc.status.ABORTED, message: "in progress" });
  t.match(await node.setUp(claimed("u1")), [/rpc error: code = Aborted desc = in progress$/]);
  t.ok((await stat(global)).isDirectory(), "nobody knows what the driver has done");
  driver.faults.delete("NodeStageVolume");
  driver.faults.set("NodePublishVolume", { code: grpc.status.FAILED_PRECONDITION, message: "no" });
  t.same(await node.setUp(claimed("u1")), [
    'MountVolume.SetUp failed for volume "pv" : rpc error: code = FailedPrecondition desc = no',
  ]);
  driver.faults.delete("NodePublishVolume");
  t.same(await node.setUp(claimed("u1")), []);
  driver.faults.set("NodeUnpublishVolume", { code: grpc.status.INTERNAL, message: "busy" });
  await t.rejects(node.volumes.remove("u1", signal), {
    message: /kubernetes.io\/csi: Unmounter.TearDownAt failed: rpc error: code = Internal desc = busy/,
  });
  t.ok((await stat(node.mount("u1"))).isDirectory());
  driver.faults.delete("NodeUnpublishVolume");
  driver.faults.set("NodeUnstageVolume", { code: grpc.status.INTERNAL, message: "busy" });
  await t.rejects(node.volumes.remove("u1", signal), /busy/);
  await node.restart();
  driver.faults.delete("NodeUnstageVolume");
  await node.volumes.remove("u1", signal);
  t.equal(driver.staged.size, 0, "a new agent still knows that it has to be unstaged");
  t.equal(driver.published.size, 0);
});

t.test("VO15: access modes are told as the driver can tell them apart", async (t) => {
  const cases = [
    { mode: "ReadWriteOnce", tells: false, wire: 1 },
    { mode: "ReadWriteOnce", tells: true, wire: 7 },
    { mode: "ReadWriteOncePod", tells: false, wire: 1 },
    { mode: "ReadWriteOncePod", tells: true, wire: 6 },
    { mode: "ReadOnlyMany", tells: true, wire: 3 },
    { mode: "ReadWriteMany", tells: true, wire: 5 },
  ];
  for (const { mode, tells, wire } of cases) {
    const capabilities = tells ? [nodeCapability.singleNodeMultiWriter] : [];
    await using node = await TestNode.start({ capabilities });
    node.object({ attachRequired: false });
    node.claim({}, { accessModes: [mode] });
    t.same(await node.setUp(claimed("u1")), []);
    t.same(node.driver.methods, ["NodePublishVolume"], "a driver that does not stage is not asked to");
    t.match(node.driver.last("NodePublishVolume"), {
      stagingTargetPath: "",
      volumeCapability: { accessMode: { mode: wire } },
    });
    await node.volumes.remove("u1", signal);
    t.same(node.driver.methods, ["NodePublishVolume", "NodeUnpublishVolume"]);
    t.same(
      (await node.left()).filter((file) => file.includes("globalmount")),
      [],
    );
  }
});

t.test(
  "VO13: a driver's object says whether the files are given to the Pod's group, and the driver may do it",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    const cases = [
      { policy: undefined, fsType: "ext4", mode: "ReadWriteOnce", given: true },
      { policy: "ReadWriteOnceWithFSType", fsType: "", mode: "ReadWriteOnce", given: false },
      { policy: "ReadWriteOnceWithFSType", fsType: "ext4", mode: "ReadWriteMany", given: false },
      { policy: "File", fsType: "", mode: "ReadWriteMany", given: true },
      { policy: "None", fsType: "ext4", mode: "ReadWriteOnce", given: false },
      { policy: "File", fsType: "ext4", mode: "ReadWriteOnce", given: false, delegates: true },
    ];
    for (const { policy, fsType, mode, given, delegates = false } of cases) {
      const capabilities = [
        nodeCapability.stageUnstage,
        ...(delegates ? [nodeCapability.volumeMountGroup] : []),
      ];
      await using node = await TestNode.start({ capabilities });
      node.object({ attachRequired: false, ...(policy === undefined ? {} : { fsGroupPolicy: policy }) });
      node.claim({ fsType }, { accessModes: [mode] });
      t.same(await node.setUp(claimed("u1", { securityContext: { fsGroup: 1234 } })), []);
      const words = `${policy} ${fsType} ${mode} ${delegates}`;
      t.equal((await stat(node.mount("u1"))).gid, given ? 1234 : 0, words);
      const group = delegates ? "1234" : "";
      for (const method of ["NodeStageVolume", "NodePublishVolume"])
        t.match(
          node.driver.last(method),
          { volumeCapability: { mount: { volumeMountGroup: group } } },
          words,
        );
      await node.volumes.remove("u1", signal);
    }
  },
);

t.test(
  "VO15: an agent that ends at any call is followed by one that finishes, and nothing is left",
  async (t) => {
    const methods = ["NodeStageVolume", "NodePublishVolume", "NodeUnpublishVolume", "NodeUnstageVolume"];
    for (const method of methods) {
      for (const when of ["before", "after"] as const) {
        await using node = await TestNode.start();
        const { driver } = node;
        node.object({ attachRequired: false });
        node.claim();
        const isUp = method.startsWith("NodeUn");
        if (isUp) t.same(await node.setUp(claimed("u1")), []);
        // The agent never hears of this call again: it is cut off while the driver works, or before.
        const reached = Promise.withResolvers<void>();
        const go = Promise.withResolvers<void>();
        driver.before = async (called) => {
          if (called !== method) return;
          if (when === "after") driver.before = async () => {};
          reached.resolve();
          if (when === "before") await go.promise;
        };
        const cut = new AbortController();
        const dying = node.volumes;
        const work = isUp
          ? dying.remove("u1", cut.signal).catch(() => undefined)
          : dying.setUp(claimed("u1"), facts, cut.signal).catch(() => undefined);
        await reached.promise;
        driver.before = async () => {};
        if (when === "after") await work;
        else {
          cut.abort();
          await dying.close();
          go.resolve();
        }
        await node.restart();
        const words = `${when} ${method}`;
        if (!isUp) {
          // A driver still at work on what it was asked sends the next call away.
          const isSetUp = async (): Promise<boolean> => (await node.setUp(claimed("u1"))).length === 0;
          await until(`it is set up ${words}`, isSetUp, 30_000);
          t.equal(driver.published.size, 1, words);
        }
        const isRemoved = async (): Promise<boolean> =>
          await node.volumes.remove("u1", signal).then(
            () => true,
            (cause: unknown) => {
              if (!/under way/.test(String(cause))) throw cause;
              return false;
            },
          );
        await until(`it is taken down ${words}`, isRemoved, 30_000);
        t.equal(driver.published.size + driver.staged.size, 0, `${words}: nothing is published or staged`);
        const left = (await node.left()).filter((file) => /u1|globalmount|vol_data/.test(file));
        t.same(left, [], `${words}: nothing is left on the disk`);
      }
    }
  },
);

t.test(
  "VO15: a Pod that goes while its volume is published waits for the driver, and then takes it down",
  async (t) => {
    await using node = await TestNode.start();
    const { driver } = node;
    node.object({ attachRequired: false });
    node.claim();
    const reached = Promise.withResolvers<void>();
    const go = Promise.withResolvers<void>();
    driver.before = async (method) => {
      if (method !== "NodePublishVolume") return;
      reached.resolve();
      await go.promise;
    };
    const setUp = node.volumes.setUp(claimed("u1"), facts, signal);
    await reached.promise;
    const removed = node.volumes.remove("u1", signal);
    await setUp;
    t.same(driver.methods, ["NodeStageVolume", "NodePublishVolume"], "nothing is asked beside a call");
    go.resolve();
    await removed;
    t.same(driver.methods.slice(2), ["NodeUnpublishVolume", "NodeUnstageVolume"]);
    t.equal(driver.published.size + driver.staged.size, 0);
  },
);

t.test(
  "VO15: on a node with SELinux a volume of one Pod is mounted with its label, if the driver can",
  async (t) => {
    const level = "s0:c10,c20";
    const label = `system_u:object_r:container_file_t:${level}`;
    const security = { seLinuxOptions: { level } };
    const other = { name: "d", volumeMounts: [{ name: "data", mountPath: "/data" }] };
    const cases = [
      { is: "mounted so", gets: `context="${label}"` },
      { is: "without a level: the runtime's is not known", security: { seLinuxOptions: { type: "t" } } },
      { is: "of several Pods", modes: ["ReadWriteOnce"] },
      { is: "of a driver that cannot", can: false },
      {
        is: "of a Pod that wants its files labelled",
        security: { ...security, seLinuxChangePolicy: "Recursive" },
      },
      { is: "on a node without SELinux", fileLabel: undefined },
    ];
    const fileLabel = "system_u:object_r:container_file_t:s0";
    for (const one of cases) {
      await using node = await TestNode.start();
      node.fileLabel = "fileLabel" in one ? undefined : fileLabel;
      await node.restart();
      node.object({ attachRequired: false, seLinuxMount: one.can ?? true });
      node.claim({}, { accessModes: one.modes ?? ["ReadWriteOncePod"], mountOptions: ["noatime"] });
      t.same(await node.setUp(claimed("u1", { securityContext: one.security ?? security })), [], one.is);
      const mountFlags = ["noatime", ...(one.gets === undefined ? [] : [one.gets])];
      for (const method of ["NodeStageVolume", "NodePublishVolume"])
        t.match(node.driver.last(method), { volumeCapability: { mount: { mountFlags } } }, one.is);
      const data = await readFile(`${path.dirname(node.mount("u1"))}/vol_data.json`, "utf8");
      t.equal(data.includes(`"seLinuxMountContext":"${label}"`), one.gets !== undefined, one.is);
    }
    await using node = await TestNode.start();
    node.fileLabel = fileLabel;
    await node.restart();
    node.object({ attachRequired: false, seLinuxMount: true });
    node.claim({}, { accessModes: ["ReadWriteOncePod"] });
    const [main] = claimed("u1").spec?.containers ?? [];
    const containers = main === undefined ? [] : [{ ...main, securityContext: security }, other];
    t.same(await node.setUp(claimed("u1", { containers })), [
      `MountVolume.MountDevice failed for volume "pv" : multiple SELinux labels found: ${label},`,
    ]);
  },
);

t.test("VO15: Pods that come and go together never let two calls of a volume meet", async (t) => {
  await using node = await TestNode.start();
  const { driver } = node;
  node.object({ attachRequired: false });
  node.claim();
  const random = new Random(fuzzSeed);
  const refused: string[] = [];
  let most = 0;
  const live = async (uid: string): Promise<void> => {
    for (let lives = 0; lives < 6; lives += 1) {
      const setUp = node.setUp(claimed(uid)).then((messages) => refused.push(...messages));
      // Some go while they are still being set up.
      if (random.below(3) > 0) await setUp;
      most = Math.max(most, driver.published.size);
      for (let turns = random.below(20); turns > 0; turns -= 1) await setImmediatePromise();
      await node.volumes.remove(uid, signal).catch((cause: unknown) => refused.push(String(cause)));
      await setUp;
    }
  };
  await Promise.all(["u1", "u2", "u3", "u4", "u5"].map(live));
  const words = `FUZZ_SEED=${fuzzSeed}`;
  t.same(
    refused.filter((message) => !/This operation was aborted/.test(message)),
    [],
    `${words}: no call was sent away`,
  );
  t.ok(most > 1, `${words}: ${most} at once`);
  t.equal(driver.published.size + driver.staged.size, 0, words);
  t.same(
    (await node.left()).filter((file) => /u\d|globalmount|vol_data/.test(file)),
    [],
    words,
  );
});

t.test("VO15: what a killed agent left half written does not keep a volume", async (t) => {
  await using node = await TestNode.start();
  node.object({ attachRequired: false });
  node.claim();
  t.same(await node.setUp(claimed("u1")), []);
  const global = path.dirname(globalMountPath(node.rootDir, name, "h1"));
  for (const place of [global, path.dirname(node.mount("u1"))])
    await writeFile(`${place}/.vol_data.json.0a1b2c3d`, "{");
  await node.volumes.remove("u1", signal);
  t.same(
    (await node.left()).filter((file) => /u1|vol_data|globalmount/.test(file)),
    [],
  );
});

t.test("VO15: a vol_data.json that makes no sense keeps the volume and says which file it is", async (t) => {
  await using node = await TestNode.start();
  const place = path.dirname(node.mount("u1"));
  for (const text of ["", "{", "[]", '{"driverName":7}', '{"driverName":"x"}', '{"volumeHandle":"x"}']) {
    await mkdir(place, { recursive: true });
    await writeFile(`${place}/vol_data.json`, text);
    await t.rejects(
      node.volumes.remove("u1", signal),
      { message: new RegExp(`${place}/vol_data.json`) },
      text,
    );
    t.ok((await stat(place)).isDirectory());
  }
});

t.test(
  "VO17: a driver's numbers and its word on the volume's health are told; others have none",
  async (t) => {
    const { stageUnstage, volumeStats, volumeCondition } = nodeCapability;
    await using node = await TestNode.start({ capabilities: [stageUnstage, volumeStats, volumeCondition] });
    const { driver } = node;
    node.object({ attachRequired: false });
    node.claim();
    t.same(await node.setUp(claimed("u1")), []);
    const events: string[] = [];
    const metrics = agentMetrics();
    const readings = new VolumeReadings({
      clock: node.clock,
      log: noLog,
      volumes: () => node.volumes.all(),
      periodMs: 60_000,
      changed: (all) => tellVolumeSizes(metrics, all),
      took: (source, seconds) => metrics.volumeReadSeconds.observe({ metric_source: source }, seconds),
      abnormal: (...words) => events.push(words.join(" ")),
    });
    driver.condition = { abnormal: true, message: "the disk is worn" };
    await readings.pass(signal);
    t.match(readings.of("u1"), [
      {
        volume: "data",
        claim: { namespace: "d", name: "c" },
        stats: {
          capacityBytes: 4_096_000,
          usedBytes: 1_024_000,
          availableBytes: 3_072_000,
          inodes: 100,
          inodesUsed: 7,
          inodesFree: 93,
        },
      },
    ]);
    t.same(events, ["u1 data the disk is worn"]);
    const text = await metrics.registry.metrics();
    for (const line of [
      'kubelet_volume_stats_capacity_bytes{namespace="d",persistentvolumeclaim="c"} 4096000',
      'kubelet_volume_stats_inodes_used{namespace="d",persistentvolumeclaim="c"} 7',
      'kubelet_volume_stats_health_status_abnormal{namespace="d",persistentvolumeclaim="c"} 1',
    ])
      t.ok(text.includes(`${line}\n`), line);
    await node.clock.advance(61_000);
    await readings.pass(signal);
    t.equal(events.length, 1, "told once for as long as it is the same");
    driver.condition = { abnormal: false, message: "" };
    await node.clock.advance(61_000);
    await readings.pass(signal);
    t.match(
      await metrics.registry.metrics(),
      /health_status_abnormal\{namespace="d",persistentvolumeclaim="c"\} 0/,
    );
    await node.volumes.remove("u1", signal);
    await readings.pass(signal);
    t.same(readings.of("u1"), []);
    t.notMatch(await metrics.registry.metrics(), /persistentvolumeclaim="c"/);

    await using silent = await TestNode.start();
    silent.object({ attachRequired: false });
    silent.claim();
    t.same(await silent.setUp(claimed("u1")), []);
    const known = silent.volumes.of("u1").get("data");
    t.equal(known && (await known.plugin.stats?.(known.place, known.mounted, signal)), undefined);
  },
);

t.test("VO15: a claim that has grown is grown on the node, and its status and the Pod tell so", async (t) => {
  const { stageUnstage, expand } = nodeCapability;
  await using node = await TestNode.start({ capabilities: [stageUnstage, expand] });
  const { api, driver } = node;
  node.object({ attachRequired: false });
  const claims = "/api/v1/namespaces/d/persistentvolumeclaims/c";
  const grown = async (size: string, has: string): Promise<readonly string[]> => {
    node.claim({ nodeExpandSecretRef: { name: "e", namespace: "n" } }, { capacity: { storage: size } });
    api.put("/api/v1/namespaces/n/secrets/e", { metadata: { name: "e" }, data: { k: "aHVzaA==" } });
    api.put(claims, {
      metadata: { name: "c", uid: "c1" },
      spec: { volumeName: "pv" },
      status: {
        phase: "Bound",
        capacity: { storage: has },
        conditions: [
          { type: "FileSystemResizePending", status: "True" },
          { type: "Other", status: "True" },
        ],
        allocatedResourceStatuses: { storage: "NodeResizePending" },
      },
    });
    if (!node.volumes.of("u1").has("data")) t.same(await node.setUp(claimed("u1")), []);
    return await again();
  };
  const again = async (): Promise<readonly string[]> => {
    const events: string[] = [];
    await growPass(
      {
        client: new ApiClient(api),
        nodeName: "node-a",
        clock: node.clock,
        log: noLog,
        volumes: () => node.volumes.all(),
        event: (...words) => events.push(words.join(" ")),
      },
      new Map(),
      signal,
    );
    return events;
  };
  t.same(await grown("1Gi", "1Gi"), [], "it has its size");
  t.equal(driver.sizes.size, 0);
  t.same(await grown("2Gi", "1Gi"), [
    'u1 Normal FileSystemResizeSuccessful MountVolume.NodeExpandVolume succeeded for volume "pv" node-a',
  ]);
  t.match(driver.last("NodeExpandVolume"), {
    volumeId: "h1",
    volumePath: node.mount("u1"),
    stagingTargetPath: globalMountPath(node.rootDir, name, "h1"),
    capacityRange: { requiredBytes: 2 ** 31, limitBytes: 0 },
    secrets: { k: "hush" },
    volumeCapability: { accessMode: { mode: 1 } },
  });
  t.same(api.objects.get(claims)?.["status"], {
    phase: "Bound",
    capacity: { storage: "2Gi" },
    conditions: [{ type: "Other", status: "True" }],
    allocatedResourceStatuses: {},
  });
  driver.faults.set("NodeExpandVolume", { code: grpc.status.INTERNAL, message: "no room" });
  t.same(await grown("3Gi", "2Gi"), [
    'u1 Warning VolumeResizeFailed NodeExpandVolume.NodeExpandVolume failed for volume "pv" : rpc error: code = Internal desc = no room',
  ]);
  t.match(
    api.objects.get(claims),
    {
      status: {
        capacity: { storage: "2Gi" },
        allocatedResourceStatuses: { storage: "NodeResizeInProgress" },
      },
    },
    "it is tried again",
  );
  driver.faults.set("NodeExpandVolume", { code: grpc.status.OUT_OF_RANGE, message: "never" });
  t.match(await grown("3Gi", "2Gi"), [/VolumeResizeFailed .* code = OutOfRange desc = never$/]);
  t.match(api.objects.get(claims), {
    status: { allocatedResourceStatuses: { storage: "NodeResizeInfeasible" } },
  });
  const asked = driver.calls.length;
  t.same(await again(), [], "and it is not asked again");
  t.equal(driver.calls.length, asked);
  api.objects.delete(claims);
  t.same(await again(), [], "an API that does not tell is no news of the volume");
});

t.test(
  "VO14: a block volume of a CSI driver is a device for the container, and is taken down by a new agent",
  { skip: process.getuid?.() !== 0 && "needs root" },
  async (t) => {
    await using node = await TestNode.start();
    const { driver, rootDir } = node;
    node.object({ attachRequired: false });
    node.claim({}, { volumeMode: "Block" });
    const block = (uid: string): Pod =>
      claimed(uid, {
        containers: [{ name: "c", volumeDevices: [{ name: "data", devicePath: "/dev/xvda" }] }],
      });
    driver.faults.set("NodeStageVolume", { code: grpc.status.INTERNAL, message: "no" });
    t.same(await node.setUp(block("u1")), [
      'MapVolume.SetUpDevice failed for volume "pv" : rpc error: code = Internal desc = no',
    ]);
    driver.faults.delete("NodeStageVolume");
    t.same(await node.setUp(block("u1")), []);
    const paths = blockPaths(rootDir, "pv");
    const device = node.volumes.of("u1").get("data")?.mounted.hostPath ?? "";
    t.equal(device, `${paths.publish}/u1`);
    t.ok((await stat(device)).isBlockDevice());
    t.ok((await stat(`${rootDir}/pods/u1/volumeDevices/kubernetes.io~csi/pv`)).isBlockDevice(), "linked");
    t.ok((await stat(`${paths.global}/u1`)).isBlockDevice(), "bound where the kubelet looks for it");
    t.match(driver.last("NodeStageVolume"), {
      stagingTargetPath: `${rootDir}/plugins/kubernetes.io/csi/volumeDevices/staging/pv`,
      volumeCapability: { block: {}, mount: null },
    });
    t.match(JSON.parse(await readFile(`${paths.data}/vol_data.json`, "utf8")), {
      specVolID: "pv",
      volumeHandle: "h1",
      driverName: name,
      nodeName: "node-a",
    });
    t.same(await node.setUp(block("u2")), []);
    await node.restart();
    t.same(
      driver.methods.filter((method) => method === "NodeStageVolume").length,
      2,
      "once, after the failure",
    );
    await node.volumes.remove("u1", signal);
    t.ok((await stat(`${paths.publish}/u2`)).isBlockDevice());
    t.equal(driver.staged.size, 1);
    await node.volumes.remove("u2", signal);
    t.equal(driver.staged.size + driver.published.size, 0);
    t.same(
      (await node.left()).filter((file) => /pv|u\d/.test(file)),
      [],
    );
  },
);
