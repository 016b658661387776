import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import t, { type Test } from "tap";
import type { Secret } from "#api/generated/kubernetes.ts";
import { systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { nodeCredentials, secretCredentials } from "../../agent/images/credentials.ts";
import { ImagePuller, type ImageWish } from "../../agent/images/image-puller.ts";
import { PullRecords, recordFolder } from "../../agent/images/pull-records.ts";
import type { ImageState } from "../../agent/model.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { testContainerd } from "../support/containerd.ts";
import { testDockerd } from "../support/dockerd.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { testRegistry } from "../support/registry.ts";

t.setTimeout(120_000);

/** Nothing runs here, so nothing needs a network. */
const noNetwork: PodNetwork = {
  ready: async () => ({ ready: true }),
  add: async () => ({ ips: [] }),
  delete: async () => undefined,
  addresses: async () => [],
};

const runtimes = [
  {
    name: "containerd",
    needs: ["/usr/bin/containerd", "/usr/bin/docker-registry", "/bin/busybox"],
    start: () => testContainerd("pull"),
    connect: (endpoint: string, signal: AbortSignal) => CriRuntime.connect(endpoint, signal),
  },
  {
    name: "Docker",
    needs: ["/usr/sbin/dockerd", "/usr/bin/docker-registry", "/bin/busybox"],
    start: () => testDockerd("pulld"),
    connect: (endpoint: string, signal: AbortSignal) => DockerRuntime.connect(endpoint, noNetwork, signal),
  },
];
for (const { name, needs, start, connect } of runtimes) {
  const missing = needs.find((file) => !existsSync(file));
  const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
  t.test(`${name} pulls from a real registry`, { skip }, async (t) => {
    const signal = AbortSignal.timeout(100_000);
    await using daemon = await start();
    enterNetns(daemon.netns);
    const runtime = await connect(daemon.endpoint, signal);
    await story(t, runtime, daemon, signal);
    await runtime.close();
  });
}

async function story(
  t: Test,
  runtime: Runtime,
  daemon: { readonly netns: string; readonly directory: string },
  signal: AbortSignal,
): Promise<void> {
  await using open = await testRegistry(daemon, { port: 5_000, withPassword: false });
  await using closed = await testRegistry(daemon, { port: 5_001, withPassword: true });
  const rootDir = `${daemon.directory}/kubelet`;
  await mkdir(rootDir);
  const records = await PullRecords.open({
    store: recordFolder(rootDir),
    clock: systemClock,
    log: noLog,
    policy: "NeverVerifyPreloadedImages",
    allowlist: [],
  });
  const puller = new ImagePuller(runtime, systemClock, { parallel: 3, perSecond: 5, burst: 10 }, records);
  const said: string[] = [];
  const wish = (image: string, secrets: readonly Secret[], rest: Partial<ImageWish> = {}) =>
    puller.ensure(
      {
        owner: `pod/${image}`,
        image,
        policy: "Always",
        runtimeHandler: "",
        podCredentials: async () => secretCredentials(image, secrets),
        nodeCredentials: () => nodeCredentials(image, rootDir),
        account: async () => undefined,
        tell: (type, reason, message) => said.push(`${type} ${reason} ${message}`),
        ...rest,
      },
      signal,
    );
  const built = busyboxImage();

  await t.test("IM1: each policy does what it says, and the events tell time and size", async (t) => {
    const image = await open.push("app", "1", built, signal);
    t.match(await wish(image, [], { policy: "Never" }), { state: "failed", reason: "ErrImageNeverPull" });
    said.splice(0);
    t.match(await wish(image, [], { policy: "IfNotPresent" }), { state: "present", ref: /^sha256:/ });
    t.equal(said[0], `Normal Pulling Pulling image "${image}"`);
    t.match(
      said[1] ?? "",
      /^Normal Pulled Successfully pulled image "\S+" in [\d.]+m?s \([\d.]+m?s including waiting\)\. Image size: [1-9]\d+ bytes\.$/,
    );
    said.splice(0);
    await wish(image, [], { policy: "IfNotPresent" });
    await wish(image, [], { policy: "Never" });
    const there = `Normal Pulled Container image "${image}" already present on machine`;
    t.same(said.splice(0), [there, there]);
    t.match(await wish(image, []), { state: "present" });
    t.match(said.splice(0), [/Pulling/, /Successfully pulled/], "Always asks again");
    t.match(await wish(`${open.host}/none:1`, []), { state: "failed", reason: "ErrImagePull" });
  });

  await t.test("IM7: an image named by its digest is pulled, and known by it", async (t) => {
    await open.push("other", "1", built, signal);
    const image = `${open.host}/other@${built.manifestDigest}`;
    const state = await wish(image, []);
    t.match(state, { state: "present" });
    const status = await runtime.imageStatus(image, signal);
    t.ok(status?.repoDigests.includes(image), String(status?.repoDigests));
    t.equal(status?.id, state.state === "present" ? state.ref : "");
    t.match(await wish(`${open.host}/other@sha256:${"0".repeat(64)}`, []), { reason: "ErrImagePull" });
  });

  await t.test(
    "IM4: pull secrets of both kinds, then the node's file, are tried until one is let in",
    async (t) => {
      const image = await closed.push("app", "1", built, signal);
      const login = (password: string) => ({
        [closed.host]: { auth: Buffer.from(`${closed.username}:${password}`).toString("base64") },
      });
      const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64");
      const modern = (password: string): Secret => ({
        type: "kubernetes.io/dockerconfigjson",
        data: { ".dockerconfigjson": encoded({ auths: login(password) }) },
      });
      const legacy: Secret = {
        type: "kubernetes.io/dockercfg",
        data: { ".dockercfg": encoded(login(closed.password)) },
      };
      const cases: readonly { name: string; secrets: readonly Secret[]; state: ImageState["state"] }[] = [
        { name: "none", secrets: [], state: "failed" },
        { name: "a wrong password", secrets: [modern("wrong")], state: "failed" },
        { name: "dockerconfigjson", secrets: [modern(closed.password)], state: "present" },
        { name: "dockercfg", secrets: [legacy], state: "present" },
        { name: "a wrong one before the right one", secrets: [modern("wrong"), legacy], state: "present" },
      ];
      for (const { name, secrets, state } of cases) t.match(await wish(image, secrets), { state }, name);
      await t.test("IM5: what a Secret fetched is not for a Pod that does not have it", async (t) => {
        const secret = (uid: string, password: string): Secret => ({
          ...modern(password),
          metadata: { uid, namespace: "team", name: "login" },
        });
        const present = { policy: "IfNotPresent" };
        const never = { policy: "Never" };
        t.match(await wish(image, [secret("1", closed.password)], present), { state: "present" });
        said.splice(0);
        t.match(await wish(image, [secret("1", closed.password)], never), { state: "present" });
        t.match(said.splice(0), [/already present/], "no registry is asked again");
        t.match(await wish(image, [], never), { reason: "ErrImageNeverPull", message: /credentials/ });
        t.match(await wish(image, [], present), { reason: "ErrImagePull" }, "the registry refuses");
        t.match(await wish(image, [secret("2", "wrong")], present), { reason: "ErrImagePull" });
        t.match(
          await wish(image, [secret("2", closed.password)], never),
          { state: "present" },
          "same content",
        );
      });
      await writeFile(`${rootDir}/config.json`, JSON.stringify({ auths: login(closed.password) }));
      t.match(await wish(image, []), { state: "present" }, "the node's file");
    },
  );
}
