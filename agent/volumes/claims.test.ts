import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { Pod } from "#api/generated/kubernetes.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { type VolumeFault, volumeFaultMessages } from "../plan/volume-faults.ts";
import { hostPathPlugin } from "./plugins/host-path.ts";
import type { VolumePlugin } from "./volume-plugin.ts";
import { Volumes } from "./volumes.ts";

const { signal } = new AbortController();
const facts = {
  nodeName: "node-a",
  hostIps: [],
  podIps: [],
  allocatable: { cpuMilli: 1, memoryBytes: 1, ephemeralStorageBytes: 1 },
};
const claims = "/api/v1/namespaces/d/persistentvolumeclaims";

/** An API of objects by path; it counts what is read. */
class FakeObjects implements Transport {
  readonly objects: Map<string, object> = new Map();
  reads = 0;

  async send({ path: place }: ApiRequest): Promise<ApiResponse> {
    this.reads += 1;
    const object = this.objects.get(place);
    const body = object ?? {
      kind: "Status",
      status: "Failure",
      reason: "NotFound",
      message: `${place} not found`,
      code: 404,
    };
    return {
      status: object === undefined ? 404 : 200,
      headers: { "content-type": "application/json" },
      body: (async function* () {
        yield Buffer.from(JSON.stringify(body));
      })(),
    };
  }

  reset(): void {}
  async close(): Promise<void> {}
}

function podWith(volume: object): Pod {
  return {
    metadata: { name: "p", namespace: "d", uid: "u1" },
    spec: {
      volumes: [
        { name: "data", ...volume },
        { name: "unused", nfs: { server: "", path: "" } },
      ],
      containers: [{ name: "c", volumeMounts: [{ name: "data", mountPath: "/data" }] }],
    },
  };
}

/** A driver whose volumes are attached first, and which writes down what it did. */
class FakeDriver implements VolumePlugin {
  readonly name = "example.com/disk";
  readonly refreshes = false;
  readonly calls: string[] = [];
  serves: VolumePlugin["serves"] = (source) =>
    source.from === "claim" && source.volume.spec?.csi !== undefined;
  attachedName = async (): Promise<string> => "example.com/disk^1";
  attachedNameAt = async (): Promise<string> => "example.com/disk^1";
  setUp: VolumePlugin["setUp"] = async ({ place, devicePath }) => {
    this.calls.push(`set up ${devicePath}`);
    await mkdir(place.directory, { recursive: true });
    await writeFile(path.join(place.directory, "file"), "content");
    return { hostPath: place.directory };
  };
  tearDown: VolumePlugin["tearDown"] = async ({ directory }) => {
    this.calls.push("tear down");
    await rm(directory, { recursive: true, force: true });
  };
}

function volumesOf(
  rootDir: string,
  plugins: readonly VolumePlugin[],
  clock: FakeClock = new FakeClock(),
): { api: FakeObjects; volumes: Volumes } {
  const api = new FakeObjects();
  const volumes = new Volumes({
    rootDir,
    plugins,
    client: new ApiClient(api),
    nodeName: "node-a",
    nodeLabels: () => ({ zone: "a" }),
    clock,
    log: noLog,
    inUseChanged: () => undefined,
    warn: () => undefined,
    changed: () => undefined,
  });
  return { api, volumes };
}

/** The faults of a set-up that has ended: one that goes on has none to tell, which is not the same as none. */
async function faultsOf(volumes: Volumes, pod: Pod): Promise<readonly VolumeFault[]> {
  const outcome = await volumes.setUp(pod, facts, signal);
  if (outcome === undefined) throw new Error("the set-up has not ended");
  return outcome.faults;
}

const textOf = (faults: readonly VolumeFault[], isTimeUp: boolean): readonly string[] =>
  volumeFaultMessages(faults, isTimeUp);

t.test("VO1: a claim leads to its volume, and says why when it does not", async (t) => {
  const folder = t.testdir({ disk: { file: "content" } });
  const { api, volumes } = volumesOf(folder, [hostPathPlugin]);
  const pod = podWith({ persistentVolumeClaim: { claimName: "c" } });
  const said = async (one: Pod = pod): Promise<readonly string[]> =>
    textOf(await faultsOf(volumes, one), false);
  const words = (why: string): string =>
    `Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]: ${why}`;
  t.match(await said(), [/error processing PVC d\/c: failed to fetch PVC from API server: .*not found/]);
  const claim = {
    metadata: { name: "c", uid: "c1" },
    spec: { volumeName: "" },
    status: { phase: "Pending" },
  };
  api.objects.set(`${claims}/c`, claim);
  t.same(await said(), [words("error processing PVC d/c: PVC is not bound")]);
  const bound = { ...claim, spec: { volumeName: "pv" }, status: { phase: "Bound" } };
  api.objects.set(`${claims}/c`, {
    ...bound,
    metadata: { ...bound.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" },
  });
  t.same(await said(), [words("error processing PVC d/c: PVC is being deleted")]);
  api.objects.set(`${claims}/c`, bound);
  const spec = { claimRef: { uid: "other" }, hostPath: { path: `${folder}/disk`, type: "Directory" } };
  api.objects.set("/api/v1/persistentvolumes/pv", { metadata: { name: "pv" }, spec });
  t.match(await said(), [/is not bound to the claim c1/]);
  api.objects.set("/api/v1/persistentvolumes/pv", {
    metadata: { name: "pv" },
    spec: { ...spec, claimRef: { uid: "c1" }, volumeMode: "Block" },
  });
  t.same(await said(), [words("volume data has volumeMode Block, but is specified in volumeMounts")]);
  api.objects.set("/api/v1/persistentvolumes/pv", {
    metadata: { name: "pv" },
    spec: { ...spec, claimRef: { uid: "c1" } },
  });
  t.same(await said(), []);
  t.equal(volumes.of("u1").get("data")?.mounted.hostPath, `${folder}/disk`);
  t.equal(volumes.of("u1").size, 1, "a volume that no container uses is left alone");
  const { reads } = api;
  t.same(await said(), []);
  t.equal(api.reads, reads, "what is set up is not read again");
  await volumes.remove("u1", signal);
  t.equal(await readFile(`${folder}/disk/file`, "utf8"), "content", "the node's own files stay");
});

t.test(
  "VO1: a volume of another node, or with options that its kind does not take, is refused",
  async (t) => {
    const folder = t.testdir({ disk: {} });
    const driver = new FakeDriver();
    const { api, volumes } = volumesOf(folder, [hostPathPlugin, driver]);
    const pod = podWith({ persistentVolumeClaim: { claimName: "c" } });
    api.objects.set(`${claims}/c`, {
      metadata: { name: "c", uid: "c1" },
      spec: { volumeName: "pv" },
      status: { phase: "Bound" },
    });
    const csi = { driver: "example.com/disk", volumeHandle: "1" };
    const said = async (spec: object): Promise<readonly string[]> => {
      api.objects.set("/api/v1/persistentvolumes/pv", {
        metadata: { name: "pv" },
        spec: { claimRef: { uid: "c1" }, ...spec },
      });
      return textOf(await faultsOf(volumes, pod), false);
    };
    const only = (key: string, ...values: readonly string[]): object => ({
      required: { nodeSelectorTerms: [{ matchExpressions: [{ key, operator: "In", values }] }] },
    });
    const elsewhere = `MountVolume.NodeAffinity check failed for volume "pv" : no matching NodeSelectorTerms`;
    t.same(await said({ csi, nodeAffinity: only("zone", "b", "c") }), [elsewhere]);
    t.same(await said({ csi, nodeAffinity: { required: { nodeSelectorTerms: [] } } }), [elsewhere]);
    t.same(volumes.inUse(), [], "it is not attached either");
    const hostPath = { path: `${folder}/disk` };
    t.same(await said({ hostPath, mountOptions: ["noatime"] }), [
      `MountVolume.MountOptionSupport check failed for volume "pv" : ` + "Mount options are not supported",
    ]);
    t.same(await said({ hostPath, nodeAffinity: only("zone", "a", "b") }), []);
    t.same(driver.calls, []);
  },
);

t.test("VO1: a generic ephemeral volume takes the claim that its Pod owns, and no other", async (t) => {
  const folder = t.testdir({ disk: {} });
  const { api, volumes } = volumesOf(folder, [hostPathPlugin]);
  const pod = podWith({ ephemeral: { volumeClaimTemplate: { spec: {} } } });
  const claim = {
    metadata: { name: "p-data", uid: "c1" },
    spec: { volumeName: "pv" },
    status: { phase: "Bound" },
  };
  api.objects.set(`${claims}/p-data`, claim);
  api.objects.set("/api/v1/persistentvolumes/pv", {
    metadata: { name: "pv" },
    spec: { claimRef: { uid: "c1" }, hostPath: { path: `${folder}/disk` } },
  });
  t.equal(
    (await faultsOf(volumes, pod))[0]?.message,
    "PVC d/p-data was not created for pod d/p (pod is not owner)",
  );
  const ownerReferences = [{ apiVersion: "v1", kind: "Pod", name: "p", uid: "u1", controller: true }];
  api.objects.set(`${claims}/p-data`, { ...claim, metadata: { ...claim.metadata, ownerReferences } });
  t.same(await faultsOf(volumes, pod), []);
});

t.test(
  "VO2 VO3: a volume is mounted once it is attached, and a new agent takes it down from the disk",
  async (t) => {
    const folder = t.testdir();
    const driver = new FakeDriver();
    const clock = new FakeClock();
    const { api, volumes } = volumesOf(folder, [driver], clock);
    api.objects.set(`${claims}/c`, {
      metadata: { name: "c", uid: "c1" },
      spec: { volumeName: "pv" },
      status: { phase: "Bound" },
    });
    api.objects.set("/api/v1/persistentvolumes/pv", {
      metadata: { name: "pv" },
      spec: { claimRef: { uid: "c1" }, csi: { driver: "example.com/disk", volumeHandle: "1" } },
    });
    const status = { volumesInUse: ["example.com/disk^1"] };
    api.objects.set("/api/v1/nodes/node-a", { metadata: { name: "node-a" }, status });
    const pod = podWith({ persistentVolumeClaim: { claimName: "c" } });
    const waiting = await faultsOf(volumes, pod);
    t.match(waiting, [{ volume: "data", name: "pv", stage: "attach" }]);
    t.same(textOf(waiting, false), [], "waiting is no fault");
    t.same(
      textOf(waiting, true),
      [
        "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data], " +
          "failed to process volumes=[]: context deadline exceeded",
      ],
      "until it takes too long",
    );
    t.same(volumes.inUse(), ["example.com/disk^1"], "in use before it is mounted");
    const volumesAttached = [{ name: "example.com/disk^1", devicePath: "/dev/sdz" }];
    api.objects.set("/api/v1/nodes/node-a", {
      metadata: { name: "node-a" },
      status: { ...status, volumesAttached },
    });
    t.match(await faultsOf(volumes, pod), [{ stage: "attach" }], "the Node is read once a second");
    await clock.advance(1_000);
    t.same(await faultsOf(volumes, pod), []);
    t.same(driver.calls, ["set up /dev/sdz"]);
    const place = `${folder}/pods/u1/volumes/example.com~disk/pv`;
    t.ok((await stat(`${place}/file`)).isFile(), "a claim's directory has the name of its PersistentVolume");

    const again = volumesOf(folder, [driver]).volumes;
    await again.start();
    t.same(again.inUse(), ["example.com/disk^1"], "found from the directories");
    await again.remove("u1", signal);
    t.same(driver.calls, ["set up /dev/sdz", "tear down"]);
    t.same(again.inUse(), []);
    await t.rejects(stat(`${folder}/pods/u1`), { code: "ENOENT" });
  },
);
