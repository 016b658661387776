import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t, { type Test } from "tap";
import type { PersistentVolumeSpec, Pod } from "#api/generated/kubernetes.ts";
import {
  configMaps,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  secrets,
  serviceAccounts,
} from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog, noLog } from "#lib/log.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { mountAt, mountPointsBelow } from "#linux/mount.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { testContainerd } from "../support/containerd.ts";
import { testDockerd } from "../support/dockerd.ts";
import { controlHere } from "../support/control-here.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxArchive, busyboxImage } from "../support/image-tar.ts";
import { run } from "../support/run-command.ts";
import { until } from "../support/until.ts";

t.setTimeout(300_000);
const image = "docker.io/keelson/busybox:1";
const log = process.env["AGENT_LOG"] === undefined ? noLog : jsonLog("agent", "info");
const namespace = "default";

/** A runtime with the test image, in a network of its own. */
interface Ready extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly directory: string;
}

async function onContainerd(signal: AbortSignal): Promise<Ready> {
  const containerd = await testContainerd("volumes");
  enterNetns(containerd.netns);
  const runtime = await CriRuntime.connect(containerd.endpoint, signal);
  const channel = new Channel(containerd.endpoint, criCodec());
  await importImage(channel, busyboxImage(), image, signal);
  channel.close();
  return { ...containerd, runtime, [Symbol.asyncDispose]: () => containerd[Symbol.asyncDispose]() };
}

async function onDocker(signal: AbortSignal): Promise<Ready> {
  const dockerd = await testDockerd("volumesd");
  enterNetns(dockerd.netns);
  const docker = new Docker({ socketPath: dockerd.endpoint.replace("unix://", "") });
  for await (const _ of await docker.loadImage(Readable.from([busyboxArchive("keelson/busybox:1")])));
  const runtime = await DockerRuntime.connect(dockerd.endpoint, noNetwork, signal);
  return { ...dockerd, runtime, [Symbol.asyncDispose]: () => dockerd[Symbol.asyncDispose]() };
}

/** The Pod's volumes need no network. */
const noNetwork: PodNetwork = {
  ready: async () => ({ ready: true }),
  add: async () => ({ ips: ["192.0.2.9"] }),
  delete: async () => undefined,
  addresses: async () => ["192.0.2.9"],
};

/** Every kind of volume that the agent makes or mounts by itself, in one Pod of a user that is not root. */
const manyVolumes: Pod = {
  metadata: { name: "many", namespace, labels: { colour: "green" } },
  spec: {
    nodeName: "node-a",
    terminationGracePeriodSeconds: 1,
    securityContext: { runAsUser: 1_000, fsGroup: 4_242 },
    volumes: [
      { name: "settings", configMap: { name: "settings" } },
      { name: "keys", secret: { secretName: "keys", defaultMode: 0o400 } },
      {
        name: "about",
        downwardAPI: { items: [{ path: "labels", fieldRef: { fieldPath: "metadata.labels" } }] },
      },
      { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
      { name: "scratch", emptyDir: {} },
      { name: "disk", persistentVolumeClaim: { claimName: "disk" } },
      { name: "device", persistentVolumeClaim: { claimName: "device" } },
    ],
    containers: [
      {
        name: "main",
        image,
        command: ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
        env: [{ name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
        // A device belongs to the node's root: this one reads it by right of its capability.
        securityContext: { runAsUser: 0 },
        volumeMounts: [
          { name: "settings", mountPath: "/settings" },
          { name: "settings", mountPath: "/one", subPath: "text" },
          { name: "keys", mountPath: "/keys" },
          { name: "about", mountPath: "/about" },
          { name: "disk", mountPath: "/disk" },
        ],
        volumeDevices: [{ name: "device", devicePath: "/dev/xvda" }],
      },
      {
        name: "user",
        image,
        command: ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
        env: [{ name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
        volumeMounts: [
          { name: "keys", mountPath: "/keys" },
          { name: "memory", mountPath: "/memory" },
          { name: "scratch", mountPath: "/own", subPathExpr: "of/$(POD_NAME)" },
          { name: "disk", mountPath: "/disk" },
        ],
      },
    ],
  },
};

const runtimes = [
  {
    name: "containerd",
    needs: ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"],
    open: onContainerd,
  },
  { name: "Docker", needs: ["/usr/sbin/dockerd", "/bin/busybox"], open: onDocker },
];
for (const { name, needs, open } of runtimes) {
  const missing = [...needs, "/dev/loop-control"].find((file) => !existsSync(file));
  const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
  t.test(`volumes of every kind on a real ${name}`, { skip, timeout: 200_000 }, async (t) => {
    const signal = AbortSignal.timeout(150_000);
    await using ready = await open(signal);
    await story(t, ready, signal);
  });
}

async function story(t: Test, { runtime, directory: folder }: Ready, signal: AbortSignal): Promise<void> {
  const image1 = `${folder}/device.img`;
  await writeFile(image1, "what is on the device");
  await truncate(image1, 1_048_576);
  const device = (await run("losetup", "--find", "--show", image1)).trim();
  t.teardown(async () => void (await run("losetup", "--detach", device)));
  await mkdir(`${folder}/disk`);
  await writeFile(`${folder}/disk/file`, "of the node");
  const cgroupRoot = `/${path.basename(folder)}`;
  const stop = new AbortController();
  const control = await controlHere(folder);
  const admin = control.client("admin");
  const own = control.client("node");
  const config = parseFlags("agent", flags, [
    "--hostname-override=node-a",
    "--fail-swap-on=false",
    "--node-ip=127.0.0.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    `--cgroup-root=${cgroupRoot}`,
    "--cluster-dns=10.96.0.10",
    "--healthz-port=0",
  ]);
  const agent = runAgent(
    config,
    { log, clock: systemClock, random: () => 0.5, client: own, runtime },
    stop.signal,
  );
  const get = (podName: string) =>
    admin.get(pods, { namespace, name: podName }, signal).catch((cause: unknown) => {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    });
  const inside = async (container: string, script: string): Promise<string> => {
    const status = (await get("many"))?.status?.containerStatuses?.find((one) => one.name === container);
    const id = status?.containerID?.replace(/^.*:\/\//, "") ?? "";
    const limits = { timeoutMs: 10_000, maxOutputBytes: 10_000 };
    const { stdout, stderr } = await runtime.execSync(id, ["/bin/sh", "-c", script], limits, signal);
    return `${stdout.toString()}${stderr.toString()}`.trim();
  };
  const bound = async (claim: string, spec: PersistentVolumeSpec): Promise<void> => {
    const volumeMode = spec.volumeMode ?? "Filesystem";
    const common = { accessModes: ["ReadWriteOnce"], storageClassName: "" };
    const wanted = {
      ...common,
      volumeMode,
      volumeName: `pv-${claim}`,
      resources: { requests: { storage: "1Mi" } },
    };
    const made = await admin.create(
      persistentVolumeClaims,
      { metadata: { name: claim, namespace }, spec: wanted },
      {},
      signal,
    );
    const uid = made.metadata?.uid ?? "";
    await admin.create(
      persistentVolumes,
      {
        metadata: { name: `pv-${claim}` },
        spec: {
          ...common,
          capacity: { storage: "1Mi" },
          claimRef: { kind: "PersistentVolumeClaim", namespace, name: claim, uid },
          nodeAffinity: {
            required: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: ["node-a"] }] },
              ],
            },
          },
          ...spec,
        },
      },
      {},
      signal,
    );
    // As the controller that binds would.
    const status = { status: { phase: "Bound", capacity: { storage: "1Mi" } } };
    const place = { namespace, name: claim };
    await admin.patch(persistentVolumeClaims, place, "merge", status, { subresource: "status" }, signal);
  };

  await bound("disk", { local: { path: `${folder}/disk` } });
  await bound("device", { local: { path: device }, volumeMode: "Block" });
  await until(
    "the default service account",
    async () =>
      (await admin.get(serviceAccounts, { namespace, name: "default" }, signal).catch(() => undefined)) !==
      undefined,
  );
  const settings = {
    data: { text: "plain" },
    binaryData: { bytes: Buffer.from([0xff, 0, 1]).toString("base64") },
  };
  await admin.create(configMaps, { metadata: { name: "settings", namespace }, ...settings }, {}, signal);
  const data = { word: Buffer.from("hush").toString("base64") };
  await admin.create(secrets, { metadata: { name: "keys", namespace }, data }, {}, signal);
  await admin.create(pods, manyVolumes, {}, signal);
  await until("it runs", async () => {
    const statuses = (await get("many"))?.status?.containerStatuses ?? [];
    return statuses.length === 2 && statuses.every(({ state }) => state?.running !== undefined);
  });
  const uid = (await get("many"))?.metadata?.uid ?? "";
  const volumes = `${folder}/kubelet/pods/${uid}/volumes`;
  const token =
    (await get("many"))?.spec?.volumes?.find(({ name }) => name.startsWith("kube-api"))?.name ?? "";

  await t.test("VO14: the device of a block volume is in the container, and no other", async (t) => {
    t.equal(await inside("main", "head -c 21 /dev/xvda"), "what is on the device");
    await inside("main", "echo written | dd of=/dev/xvda conv=notrunc");
    t.match((await readFile(image1)).subarray(0, 8).toString(), "written");
    t.match(
      await inside("main", `head -c 1 ${device}`),
      /No such file/,
      "it has the name that the Pod gives it",
    );
    t.match(await inside("user", "head -c 1 /dev/xvda"), /No such file/, "the other container has none");
  });
  await t.test("VO6: secrets and tokens are in memory, the rest is on disk", async (t) => {
    t.match(await mountAt(`${volumes}/kubernetes.io~secret/keys`), { type: "tmpfs" });
    t.match(await mountAt(`${volumes}/kubernetes.io~projected/${token}`), { type: "tmpfs" });
    t.equal(await mountAt(`${volumes}/kubernetes.io~configmap/settings`), undefined);
    t.match(await inside("main", "echo x >/keys/new"), /Read-only file system/);
    t.equal(await inside("main", "cat /keys/word"), "hush");
  });
  await t.test("VO7: binary data is as it was, and a mode holds for the group too", async (t) => {
    const sum = createHash("md5")
      .update(Buffer.from([0xff, 0, 1]))
      .digest("hex");
    t.equal(await inside("main", "md5sum </settings/bytes; cat /settings/text"), `${sum}  -\nplain`);
    const { mode, gid } = await stat(`${volumes}/kubernetes.io~secret/keys/word`);
    t.same([(mode & 0o777).toString(8), gid], ["440", 4_242]);
    t.equal(
      await inside("user", "cat /keys/word"),
      "hush",
      "a user that is not its owner reads it by its group",
    );
  });
  await t.test("VO9: a token is its Pod's alone", async (t) => {
    const { mode, gid } = await stat(`${volumes}/kubernetes.io~projected/${token}/token`);
    t.same([(mode & 0o777).toString(8), gid], ["640", 4_242]);
    const file = "/var/run/secrets/kubernetes.io/serviceaccount/token";
    t.equal(
      await inside("user", `cat ${file}`),
      readFileSync(`${volumes}/kubernetes.io~projected/${token}/token`, "utf8"),
    );
  });
  await t.test("VO13: a user that is not root writes where its group may", async (t) => {
    t.equal(
      await inside("user", "echo mine >/disk/new && stat -c '%u %g' /disk/new && cat /disk/file"),
      "1000 4242\nof the node",
    );
    t.equal(await inside("user", "echo mine >/own/new && stat -c '%u %g' /own/new"), "1000 4242");
  });
  await t.test("VO4: an emptyDir in memory ends at its limit", async (t) => {
    t.match(
      await inside("user", "dd if=/dev/zero of=/memory/big bs=1024 count=2000"),
      /No space left on device/,
    );
  });
  await t.test("VO11: subPathExpr shows the Pod's own part", async (t) => {
    t.ok(existsSync(`${volumes}/kubernetes.io~empty-dir/scratch/of/many/new`));
    t.equal((await mountPointsBelow(`${folder}/kubelet/pods/${uid}/volume-subpaths`)).length, 2);
  });
  await t.test("VO10: a label that changes reaches the file", async (t) => {
    t.match(await inside("main", "cat /about/labels"), /colour="green"/);
    const labels = { metadata: { labels: { colour: "blue" } } };
    await admin.patch(pods, { namespace, name: "many" }, "merge", labels, {}, signal);
    await until("the new label", async () => /colour="blue"/.test(await inside("main", "cat /about/labels")));
  });
  await t.test("VO7: what changes reaches a volume, and not a file that is shown by subPath", async (t) => {
    t.equal(await inside("main", "cat /one"), "plain");
    const change = { data: { text: "changed" } };
    await admin.patch(configMaps, { namespace, name: "settings" }, "merge", change, {}, signal);
    await until("the new text", async () => (await inside("main", "cat /settings/text")) === "changed");
    t.equal(await inside("main", "cat /one"), "plain");
  });
  await t.test("VO3: nothing of the volumes is left when the Pod is gone, and their data is", async (t) => {
    await admin.delete(pods, { namespace, name: "many" }, {}, signal);
    await until("gone from the API", async () => (await get("many")) === undefined);
    await until("no directory left", () => readdirSync(`${folder}/kubelet/pods`).length === 0);
    t.same(await mountPointsBelow(`${folder}/kubelet`), []);
    t.equal(await readFile(`${folder}/disk/new`, "utf8"), "mine\n");
  });

  stop.abort();
  await agent;
  await control.stop();
  await Promise.all([admin.close(), own.close(), runtime.close()]);
  await removeCgroup(await findCgroups(), cgroupRoot);
}
