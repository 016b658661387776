import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { Container, PersistentVolumeSpec, Pod, PodSpec } from "#api/generated/kubernetes.ts";
import {
  csiDrivers,
  csiNodes,
  events,
  nodes,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  serviceAccounts,
  volumeAttachments,
} from "#api/resources.ts";
import { systemClock } from "#lib/clock.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { mountPoints } from "#linux/mount.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { attachmentName } from "../../agent/volumes/csi/plan/csi-names.ts";
import type { AgentProgram } from "../support/agent-program.ts";
import { testContainerd } from "../support/containerd.ts";
import { TestCsiDriver } from "../support/csi-driver.ts";
import { controlHere } from "../support/control-here.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { fuzzSeed, Random } from "../support/mutate.ts";
import { until } from "../support/until.ts";

const missing = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "docker.io/keelson/busybox:1";
const plain = "csi.example.com";
const attached = "attached.example.com";

function podOf(name: string, script: string, volumes: PodSpec["volumes"], more: Partial<Container>): Pod {
  return {
    metadata: { name, namespace: "default" },
    spec: {
      nodeName: "node-a",
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      ...(volumes === undefined ? {} : { volumes }),
      containers: [
        {
          name: "main",
          image,
          command: ["/bin/sh", "-c", `trap 'exit 0' TERM; ${script}; while :; do sleep 0.1; done`],
          ...more,
        },
      ],
    },
  };
}

t.test("Pods have volumes of CSI drivers on containerd", { skip, timeout: 240_000 }, async (t) => {
  await using containerd = await testContainerd("csi");
  enterNetns(containerd.netns);
  const signal = AbortSignal.timeout(230_000);
  const channel = new Channel(containerd.endpoint, criCodec());
  await importImage(channel, busyboxImage(), image, signal);
  channel.close();
  const folder = containerd.directory;
  const stop = new AbortController();
  const control = await controlHere(folder);
  const admin = control.client("admin");
  await mkdir(`${folder}/manifests`);
  const startAgent = () => {
    const program: AgentProgram = {
      endpoint: containerd.endpoint,
      folder,
      dieAt: 0,
      dieWhen: "before",
      kubeconfig: `${folder}/config/node.kubeconfig`,
    };
    const child = fork(path.join(import.meta.dirname, "../support/agent-program.ts"), [
      JSON.stringify(program),
    ]);
    const ended = once(child, "exit");
    return {
      kill: async (): Promise<void> => {
        child.kill("SIGKILL");
        await ended;
      },
    };
  };
  const registry = `${folder}/kubelet/plugins_registry`;
  await using driver = new TestCsiDriver({
    folder: `${folder}/driver`,
    registry,
    backing: "mounts",
    maxVolumes: 9,
  });
  await using other = new TestCsiDriver({
    folder: `${folder}/driver`,
    registry,
    backing: "mounts",
    name: attached,
  });
  await driver.start();
  await other.start();
  let agent = startAgent();
  const get = (name: string) =>
    admin.get(pods, { namespace: "default", name }, signal).catch(() => undefined);
  const running = (name: string): Promise<true> =>
    until(`${name} runs`, async () => (await get(name))?.status?.phase === "Running");
  const gone = (name: string): Promise<true> =>
    until(`${name} is gone`, async () => (await get(name)) === undefined);
  const remove = async (name: string): Promise<void> => {
    await admin.delete(pods, { namespace: "default", name }, {}, signal);
  };
  /** A claim that is bound, as the controller of volumes would leave it. */
  const claim = async (name: string, spec: PersistentVolumeSpec): Promise<void> => {
    const common = {
      accessModes: ["ReadWriteOnce"],
      ...(spec.volumeMode === undefined ? {} : { volumeMode: spec.volumeMode }),
    };
    const made = await admin.create(
      persistentVolumeClaims,
      {
        metadata: { name, namespace: "default" },
        spec: { ...common, volumeName: name, resources: { requests: { storage: "1Mi" } } },
      },
      {},
      signal,
    );
    const claimRef = { namespace: "default", name, uid: made.metadata?.uid ?? "" };
    await admin.create(
      persistentVolumes,
      { metadata: { name }, spec: { ...common, capacity: { storage: "1Mi" }, claimRef, ...spec } },
      {},
      signal,
    );
    const status = { status: { phase: "Bound", capacity: { storage: "1Mi" } } };
    const place = { namespace: "default", name };
    await admin.patch(persistentVolumeClaims, place, "merge", status, { subresource: "status" }, signal);
  };
  const ofClaim = (claimName: string): PodSpec["volumes"] => [
    { name: "data", persistentVolumeClaim: { claimName } },
  ];
  const mounted = { volumeMounts: [{ name: "data", mountPath: "/data" }] };

  await t.test("VO15: the CSINode tells of the drivers", async (t) => {
    await until("both drivers", async () => {
      const found = await admin
        .get(csiNodes, { namespace: "", name: "node-a" }, signal)
        .catch(() => undefined);
      return found?.spec.drivers.length === 2;
    });
    const { spec, metadata } = await admin.get(csiNodes, { namespace: "", name: "node-a" }, signal);
    t.match(
      spec.drivers.find(({ name }) => name === plain),
      { nodeID: "node-id-1", allocatable: { count: 9 } },
    );
    t.match(metadata?.ownerReferences, [{ kind: "Node", name: "node-a" }]);
    await until("the driver is told", () => driver.registrations[0] === "");
  });

  const inline = { csi: { driver: plain, volumeAttributes: { a: "b" } } };
  await admin.create(
    csiDrivers,
    {
      metadata: { name: plain },
      spec: {
        attachRequired: false,
        podInfoOnMount: true,
        volumeLifecycleModes: ["Persistent", "Ephemeral"],
        tokenRequests: [{ audience: "vault" }],
      },
    },
    {},
    signal,
  );
  await until("the default service account", async () =>
    admin.get(serviceAccounts, { namespace: "default", name: "default" }, signal).then(
      () => true,
      () => false,
    ),
  );

  await t.test(
    "VO15: an agent that is killed between stage and publish is followed by one that mounts",
    async (t) => {
      await claim("one", { csi: { driver: plain, volumeHandle: "h1", fsType: "ext4" } });
      const killed = Promise.withResolvers<void>();
      driver.before = async (method) => {
        if (method !== "NodePublishVolume") return;
        driver.before = async () => {};
        await agent.kill();
        killed.resolve();
      };
      const pod = podOf(
        "first",
        "echo hello >/data/file; cat /inline/tokens >/data/tokens",
        [...(ofClaim("one") ?? []), { name: "inline", ...inline }],
        {
          volumeMounts: [...mounted.volumeMounts, { name: "inline", mountPath: "/inline" }],
        },
      );
      await admin.create(pods, pod, {}, signal);
      await killed.promise;
      agent = startAgent();
      await running("first");
      const global = driver.staged.get("h1") ?? "";
      await until("the container writes into the volume", () => existsSync(`${global}/tokens`));
      t.equal(readFileSync(`${global}/file`, "utf8"), "hello\n", "what is published is what was staged");
      const tokens: unknown = JSON.parse(readFileSync(`${global}/tokens`, "utf8"));
      t.match(tokens, { vault: { token: /^ey[\w-]+\./ } });
      t.match(driver.last("NodePublishVolume"), {
        volumeContext: { "csi.storage.k8s.io/pod.name": "first" },
      });
      t.ok((await mountPoints()).includes(global));
    },
  );

  await t.test("VO15: two Pods share what is staged once, and the last takes it down", async (t) => {
    const before = driver.methods.filter((method) => method === "NodeStageVolume").length;
    const script = "cat /data/file >/data/copy";
    await admin.create(pods, podOf("second", script, ofClaim("one"), mounted), {}, signal);
    await running("second");
    const global = driver.staged.get("h1") ?? "";
    await until("it reads what the first wrote", () => existsSync(`${global}/copy`));
    t.equal(driver.methods.filter((method) => method === "NodeStageVolume").length, before);
    await remove("first");
    await gone("first");
    t.ok(driver.staged.has("h1"), "the second still has it");
    t.equal(readFileSync(`${global}/file`, "utf8"), "hello\n");
    await agent.kill();
    agent = startAgent();
    await remove("second");
    await gone("second");
    await until("nothing is left of it", () => !existsSync(path.dirname(global)));
    t.equal(driver.published.size + driver.staged.size, 0);
    t.same(
      (await mountPoints()).filter((point) => point.startsWith(`${folder}/kubelet`)),
      [],
    );
  });

  await t.test("VO15 VO2: a volume that has to be attached waits for its VolumeAttachment", async (t) => {
    await admin.create(
      csiDrivers,
      { metadata: { name: attached }, spec: { attachRequired: true } },
      {},
      signal,
    );
    await claim("two", { csi: { driver: attached, volumeHandle: "h2" } });
    await admin.create(pods, podOf("third", "echo hi >/data/file", ofClaim("two"), mounted), {}, signal);
    const name = `kubernetes.io/csi/${attached}^h2`;
    const node = { namespace: "", name: "node-a" };
    await until("the node tells that it uses it", async () =>
      ((await admin.get(nodes, node, signal)).status?.volumesInUse ?? []).includes(name),
    );
    t.same(other.methods, [], "it is not called before");
    const attachment = attachmentName("h2", attached, "node-a");
    await admin.create(
      volumeAttachments,
      {
        metadata: { name: attachment },
        spec: { attacher: attached, nodeName: "node-a", source: { persistentVolumeName: "two" } },
      },
      {},
      signal,
    );
    const status = { status: { attached: true, attachmentMetadata: { lun: "7" } } };
    const place = { namespace: "", name: attachment };
    await admin.patch(volumeAttachments, place, "merge", status, { subresource: "status" }, signal);
    const volumesAttached = { status: { volumesAttached: [{ name, devicePath: "" }] } };
    await admin.patch(nodes, node, "merge", volumesAttached, { subresource: "status" }, signal);
    await running("third");
    t.match(other.last("NodePublishVolume"), { publishContext: { lun: "7" } });
    await remove("third");
    await gone("third");
    await until("unstaged", () => other.staged.size === 0);
    t.same(other.methods.slice(-2), ["NodeUnpublishVolume", "NodeUnstageVolume"]);
    await until(
      "the node tells that it does not use it any more",
      async () => !((await admin.get(nodes, node, signal)).status?.volumesInUse ?? []).includes(name),
    );
  });

  await t.test("VO14: a container writes to the device of its block volume", async (t) => {
    await claim("three", { volumeMode: "Block", csi: { driver: plain, volumeHandle: "h3" } });
    const pod = podOf(
      "fourth",
      "printf written | dd of=/dev/xvda conv=notrunc,fsync && sync",
      ofClaim("three"),
      { volumeDevices: [{ name: "data", devicePath: "/dev/xvda" }] },
    );
    await admin.create(pods, pod, {}, signal);
    await running("fourth");
    const [device = ""] = [...driver.published.keys()];
    t.ok(statSync(device).isBlockDevice());
    await until("the device has what the container wrote", () =>
      readFileSync(`${folder}/driver/h3.img`).subarray(0, 7).equals(Buffer.from("written")),
    );
    await remove("fourth");
    await gone("fourth");
    await until("unstaged", () => driver.staged.size === 0);
    t.same(driver.methods.slice(-2), ["NodeUnpublishVolume", "NodeUnstageVolume"]);
  });

  await t.test(
    "VO15: agents that are killed again and again mount what is wanted, and leave nothing",
    async (t) => {
      await claim("four", { csi: { driver: plain, volumeHandle: "h4" } });
      const random = new Random(fuzzSeed);
      let deaths = 0;
      /** One agent after another, each with a little more time, until it holds. */
      const killUntil = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
        const deadline = Date.now() + 30_000;
        while (!(await holds())) {
          if (Date.now() > deadline) throw new Error(`it did not come to this: ${what}`);
          await agent.kill();
          deaths += 1;
          agent = startAgent();
          const aliveMs = 400 + random.below(600) + 40 * deaths;
          for (const endsAt = Date.now() + aliveMs; Date.now() < endsAt && !(await holds()); )
            await systemClock.sleep(20, signal);
        }
      };
      const volumes = [...(ofClaim("four") ?? []), { name: "inline", ...inline }];
      const both = { volumeMounts: [...mounted.volumeMounts, { name: "inline", mountPath: "/inline" }] };
      for (const name of ["sixth", "seventh"])
        await admin.create(pods, podOf(name, `echo ran >>/data/${name}`, volumes, both), {}, signal);
      await killUntil("both run", async () =>
        (await Promise.all([get("sixth"), get("seventh")])).every((pod) => pod?.status?.phase === "Running"),
      );
      const global = driver.staged.get("h4") ?? "";
      for (const name of ["sixth", "seventh"]) {
        await until(`${name} has written`, () => existsSync(`${global}/${name}`));
        // A container whose start was cut off by a death may have begun: it runs again.
        t.match(readFileSync(`${global}/${name}`, "utf8"), /^(ran\n)+$/);
      }
      for (const name of ["sixth", "seventh"]) await remove(name);
      await killUntil("all is taken down", () => driver.published.size + driver.staged.size === 0);
      // A quick machine needs no more than one agent after it for each half.
      t.ok(deaths >= 2, `${deaths} deaths`);
      for (const name of ["sixth", "seventh"]) await gone(name);
      await until("nothing is left", () => !existsSync(path.dirname(global)));
      const points = (await mountPoints()).filter((point) => point.startsWith(`${folder}/kubelet`));
      t.same(points, []);
    },
  );

  await t.test("VO15: a Pod whose driver is not there is told so", async (t) => {
    await driver.stop();
    await until("the CSINode forgets it", async () =>
      (await admin.get(csiNodes, { namespace: "", name: "node-a" }, signal)).spec.drivers.every(
        ({ name }) => name !== plain,
      ),
    );
    const pod = podOf("fifth", "true", [{ name: "data", ...inline }], mounted);
    await admin.create(pods, pod, {}, signal);
    const words =
      'MountVolume.SetUp failed for volume "data" : kubernetes.io/csi: mounter.SetUpAt failed to get CSI client: ' +
      `driver name ${plain} not found in the list of registered CSI drivers`;
    await until("the event", async () =>
      (await admin.list(events, { namespace: "default" }, signal)).items.some(
        ({ reason, message }) => reason === "FailedMount" && message === words,
      ),
    );
    await driver.start();
    await running("fifth");
    await remove("fifth");
    await gone("fifth");
    await until("unpublished", () => driver.published.size === 0);
    t.pass();
  });

  await until("no directory is left", () => readdirSync(`${folder}/kubelet/pods`).length === 0);
  await agent.kill();
  stop.abort();
  await control.stop();
  await admin.close();
  await removeCgroup(await findCgroups(), `/${path.basename(folder)}`);
});
