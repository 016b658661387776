import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { configMaps, pods, secrets, serviceAccounts } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog, noLog } from "#lib/log.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { unmountBelow } from "#linux/mount.ts";
import { until } from "../../agent/agent-fixture.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { testContainerd, type TestContainerd } from "../support/containerd.ts";
import { controlHere } from "../support/control-here.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";

const missing = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "docker.io/keelson/busybox:1";
const log = process.env["AGENT_LOG"] === undefined ? noLog : jsonLog("agent", "info");
t.setTimeout(240_000);

const pod = (name: string): Pod => ({
  metadata: { name, namespace: "default" },
  spec: {
    nodeName: "node-a",
    terminationGracePeriodSeconds: 1,
    volumes: [{ name: "settings", configMap: { name: "settings" } }],
    containers: [
      {
        name: "main",
        image,
        command: ["/bin/sh", "-c", "trap 'exit 0' TERM; echo $WORD; while :; do sleep 0.1; done"],
        env: [
          { name: "WORD", valueFrom: { secretKeyRef: { name: "keys", key: "word" } } },
          { name: "NONE", valueFrom: { configMapKeyRef: { name: "none", key: "none", optional: true } } },
        ],
        volumeMounts: [{ name: "settings", mountPath: "/settings" }],
      },
    ],
  },
});

t.test("a node comes up with no control plane in reach", { skip, timeout: 240_000 }, async (t) => {
  const signal = AbortSignal.timeout(220_000);
  const folder = await mkdtemp("/tmp/keelson-reboot-");
  const cgroupRoot = `/${path.basename(folder)}`;
  await using machine = await testContainerd("reboot-a");
  enterNetns(machine.netns);

  await mkdir(`${folder}/manifests`);
  const startAgent = (runtime: CriRuntime, podCache: string) => {
    const own = control.client("node");
    const config = parseFlags("agent", flags, [
      "--hostname-override=node-a",
      "--fail-swap-on=false",
      "--node-ip=127.0.0.1",
      `--root-dir=${folder}/kubelet`,
      `--pod-logs-dir=${folder}/logs`,
      `--container-logs-dir=${folder}/links`,
      `--cgroup-root=${cgroupRoot}`,
      "--healthz-port=0",
      `--pod-cache=${podCache}`,
      "--pod-cache-after=1s",
    ]);
    const stop = new AbortController();
    const said: string[] = [];
    const warn = (event: string, data?: Readonly<Record<string, unknown>>): void => {
      said.push(event);
      log.warn(event, data);
    };
    const ended = runAgent(
      config,
      { log: { ...log, warn }, clock: systemClock, random: () => 0.5, client: own, runtime },
      stop.signal,
    );
    return {
      said,
      end: async (): Promise<void> => {
        stop.abort();
        await ended;
        await own.close();
      },
    };
  };
  const connect = async ({ endpoint }: TestContainerd): Promise<CriRuntime> => {
    const runtime = await CriRuntime.connect(endpoint, signal);
    const channel = new Channel(endpoint, criCodec());
    await importImage(channel, busyboxImage(), image, signal);
    channel.close();
    return runtime;
  };
  const wipe = async (runtime: CriRuntime): Promise<void> => {
    for (const { id } of await runtime.listSandboxes({}, signal)) {
      await runtime.stopSandbox(id, signal);
      await runtime.removeSandbox(id, signal);
    }
  };
  const runs = async (runtime: CriRuntime): Promise<readonly string[]> =>
    (await runtime.listContainers({}, signal))
      .filter(({ state }) => state === "running")
      .map(({ podName }) => podName)
      .toSorted();

  // The life before: three Pods run.
  let control = await controlHere(folder);
  let admin = control.client("admin");
  const get = (name: string) =>
    admin.get(pods, { namespace: "default", name }, signal).catch((cause: unknown) => {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    });
  await until(
    "the default service account",
    async () =>
      (await admin
        .get(serviceAccounts, { namespace: "default", name: "default" }, signal)
        .catch(() => undefined)) !== undefined,
    30_000,
  );
  await admin.create(
    configMaps,
    { metadata: { name: "settings", namespace: "default" }, data: { color: "green" } },
    {},
    signal,
  );
  const word = Buffer.from("hush").toString("base64");
  await admin.create(
    secrets,
    { metadata: { name: "keys", namespace: "default" }, data: { word } },
    {},
    signal,
  );
  for (const name of ["web", "gone", "ended"]) await admin.create(pods, pod(name), {}, signal);
  const first = await connect(machine);
  let agent = startAgent(first, "with-secrets");
  for (const name of ["web", "gone", "ended"])
    await until(`${name} runs`, async () => (await get(name))?.status?.phase === "Running", 30_000);
  const uid = (await get("web"))?.metadata?.uid ?? "";
  const token = (podUid = uid): string => {
    const volumes = `${folder}/kubelet/pods/${podUid}/volumes/kubernetes.io~projected`;
    return readFileSync(`${volumes}/${readdirSync(volumes)[0] ?? ""}/token`, "utf8");
  };
  const tokenBefore = token();
  // One Pod is on its way out when the machine goes down.
  await admin.patch(
    pods,
    { namespace: "default", name: "ended" },
    "merge",
    { metadata: { finalizers: ["test/hold"] } },
    {},
    signal,
  );
  await admin.delete(pods, { namespace: "default", name: "ended" }, {}, signal);
  await until("ended ends", async () => !(await runs(first)).includes("ended"), 30_000);
  await agent.end();
  await admin.delete(pods, { namespace: "default", name: "gone" }, { gracePeriodSeconds: 0 }, signal);
  await admin.close();
  await control.stop();
  await wipe(first);
  await first.close();

  const cache = `${folder}/kubelet/pod-cache`;
  await t.test("the cache is for root alone", async (t) => {
    t.equal(statSync(cache).mode & 0o777, 0o700);
    const files = readdirSync(cache).toSorted();
    t.same(files, [
      "nodes.jsonl",
      "objects.jsonl",
      "pods.jsonl",
      "secrets.jsonl",
      "services.jsonl",
      "tokens.jsonl",
    ]);
    for (const file of files) t.equal(statSync(path.join(cache, file)).mode & 0o777, 0o600, file);
  });

  // The machine comes up: no container, no tmpfs of before.
  await unmountBelow(`${folder}/kubelet`);
  await rm(`${folder}/kubelet/pods`, { recursive: true, force: true });
  await using after = await testContainerd("reboot-b");
  const second = await connect(after);
  agent = startAgent(second, "with-secrets");

  await t.test("the Pods it last had run again, with what they refer to", async (t) => {
    await until("both run", async () => (await runs(second)).join() === "gone,web", 30_000);
    const logs = readdirSync(`${folder}/links`).filter((name) => name.startsWith("web_default_main"));
    await until("it has spoken", () =>
      logs.some((name) => readFileSync(`${folder}/links/${name}`, "utf8").includes("hush")),
    );
    t.equal(
      readFileSync(`${folder}/kubelet/pods/${uid}/volumes/kubernetes.io~configmap/settings/color`, "utf8"),
      "green",
    );
    t.equal(token(), tokenBefore, "the token of before still lives");
    t.ok(agent.said.includes("the API cannot be reached; the Pods of before are run"));
  });

  await t.test(
    "when the API is back, what was deleted meanwhile ends, and the rest is reported",
    async (t) => {
      control = await controlHere(folder);
      admin = control.client("admin");
      await until("gone ends", async () => (await runs(second)).join() === "web", 60_000);
      await until(
        "the new container is told",
        async () => {
          const [running] = await second.listContainers({ podUid: uid }, signal);
          const [status] = (await get("web"))?.status?.containerStatuses ?? [];
          return status?.containerID === `containerd://${running?.id}` && status.restartCount === 1;
        },
        60_000,
      );
      t.match((await get("web"))?.status, {
        phase: "Running",
        containerStatuses: [{ lastState: { terminated: { reason: "ContainerStatusUnknown" } } }],
      });
    },
  );

  await t.test(
    "without Secrets on the disk, what needs none runs, and has its token when the API is back",
    async (t) => {
      const { metadata, spec } = pod("plain");
      const containers = (spec?.containers ?? []).map((container) => ({ ...container, env: [] }));
      await admin.create(pods, { metadata: metadata ?? {}, spec: { ...spec, containers } }, {}, signal);
      await agent.end();
      agent = startAgent(second, "without-secrets");
      await until("plain runs", async () => (await get("plain"))?.status?.phase === "Running", 30_000);
      const plainUid = (await get("plain"))?.metadata?.uid;
      await agent.end();
      await admin.close();
      await control.stop();
      t.same(readdirSync(cache).toSorted(), ["nodes.jsonl", "objects.jsonl", "pods.jsonl", "services.jsonl"]);
      await wipe(second);
      await unmountBelow(`${folder}/kubelet`);
      agent = startAgent(second, "without-secrets");
      await until("plain runs again", async () => (await runs(second)).join() === "plain", 30_000);
      t.equal(token(plainUid), "");
      t.ok(agent.said.includes("a pod begins without a service account token"));
      control = await controlHere(folder);
      admin = control.client("admin");
      await until("the other one runs", async () => (await runs(second)).join() === "plain,web", 60_000);
      await until("the token is there", () => token(plainUid).startsWith("ey"), 30_000);
    },
  );

  await t.test("switched off, nothing starts and nothing is kept", async (t) => {
    await agent.end();
    await admin.close();
    await control.stop();
    await wipe(second);
    await unmountBelow(`${folder}/kubelet`);
    t.ok(existsSync(`${cache}/pods.jsonl`));
    agent = startAgent(second, "off");
    await until(
      "it has tried the API",
      () => agent.said.filter((one) => one === "watch failed").length > 3,
      30_000,
    );
    t.same(await second.listSandboxes({}, signal), []);
    t.notOk(existsSync(cache));
    await agent.end();
  });

  await second.close();
  await unmountBelow(folder);
  await rm(folder, { recursive: true, force: true });
  await removeCgroup(await findCgroups(), cgroupRoot);
});
