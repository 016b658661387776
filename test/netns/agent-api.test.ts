import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { Container, Pod, PodSpec } from "#api/generated/kubernetes.ts";
import { configMaps, events, leases, nodes, pods, secrets, serviceAccounts } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog, noLog } from "#lib/log.ts";
import { findCgroups, readCgroup, readWorkingSet, removeCgroup } from "#linux/cgroup.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { testContainerd } from "../support/containerd.ts";
import { controlHere } from "../support/control-here.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { until } from "../support/until.ts";

const missing = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "docker.io/keelson/busybox:1";
t.setTimeout(300_000);
const log = process.env["AGENT_LOG"] === undefined ? noLog : jsonLog("agent", "info");

const web: Pod = {
  metadata: { name: "web", namespace: "default", labels: { app: "web" } },
  spec: {
    nodeName: "node-a",
    terminationGracePeriodSeconds: 2,
    volumes: [
      { name: "settings", configMap: { name: "settings" } },
      { name: "keys", secret: { secretName: "keys", defaultMode: 0o400 } },
    ],
    containers: [
      {
        name: "web",
        image,
        command: [
          "/bin/sh",
          "-c",
          "trap 'exit 0' TERM; echo $WORD $KUBERNETES_SERVICE_HOST; touch /tmp/ready; while :; do sleep 0.1; done",
        ],
        env: [{ name: "WORD", valueFrom: { secretKeyRef: { name: "keys", key: "word" } } }],
        volumeMounts: [
          { name: "settings", mountPath: "/settings" },
          { name: "keys", mountPath: "/keys" },
        ],
        readinessProbe: {
          exec: { command: ["/bin/cat", "/tmp/ready"] },
          periodSeconds: 1,
          failureThreshold: 1,
        },
      },
    ],
  },
};

t.test("Pods of an API run on containerd, and their story is told", { skip, timeout: 300_000 }, async (t) => {
  await using containerd = await testContainerd("agentapi");
  enterNetns(containerd.netns);
  const signal = AbortSignal.timeout(200_000);
  const runtime = await CriRuntime.connect(containerd.endpoint, signal);
  const channel = new Channel(containerd.endpoint, criCodec());
  await importImage(channel, busyboxImage(), image, signal);
  channel.close();
  const folder = containerd.directory;
  const cgroupRoot = `/${path.basename(folder)}`;
  const stop = new AbortController();
  const control = await controlHere(folder);
  const admin = control.client("admin");
  const own = control.client("node");
  await mkdir(`${folder}/manifests`);
  const config = parseFlags("agent", flags, [
    "--hostname-override=node-a",
    "--fail-swap-on=false",
    "--node-ip=127.0.0.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-manifest-path=${folder}/manifests`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    `--cgroup-root=${cgroupRoot}`,
    "--cluster-dns=10.96.0.10",
    "--healthz-port=0",
  ]);
  const startAgent = () => {
    const stopAgent = new AbortController();
    const either = AbortSignal.any([stop.signal, stopAgent.signal]);
    const ports = { log, clock: systemClock, random: () => 0.5, client: own, runtime };
    const ended = runAgent(config, ports, either);
    return {
      ended,
      end: async (): Promise<void> => {
        stopAgent.abort();
        await ended;
      },
    };
  };
  let agent = startAgent();
  const get = (name: string) =>
    admin.get(pods, { namespace: "default", name }, signal).catch((cause: unknown) => {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    });
  const condition = async (name: string, type: string) =>
    (await get(name))?.status?.conditions?.find((one) => one.type === type);

  await t.test("ND1 ND2: the node registers, is Ready and beats", async (t) => {
    await until("node Ready", async () => {
      const node = await admin.get(nodes, { namespace: "", name: "node-a" }, signal).catch(() => undefined);
      return node?.status?.conditions?.find(({ type }) => type === "Ready")?.status === "True";
    });
    const node = await admin.get(nodes, { namespace: "", name: "node-a" }, signal);
    t.match(node.status?.nodeInfo?.containerRuntimeVersion, /^containerd:\/\/1\./);
    t.equal(node.metadata?.labels?.["kubernetes.io/hostname"], "node-a");
    const lease = { namespace: "kube-node-lease", name: "node-a" };
    await until(
      "a heartbeat",
      async () =>
        (await admin.get(leases, lease, signal).catch(() => undefined))?.spec?.renewTime !== undefined,
    );
  });

  await until(
    "the default service account",
    async () =>
      (await admin
        .get(serviceAccounts, { namespace: "default", name: "default" }, signal)
        .catch(() => undefined)) !== undefined,
  );
  await t.test("PS1 EN4 VO6: a Pod waits for its ConfigMap, then runs and becomes Ready", async (t) => {
    await admin.create(
      secrets,
      {
        metadata: { name: "keys", namespace: "default" },
        data: { word: Buffer.from("hush").toString("base64") },
      },
      {},
      signal,
    );
    await admin.create(pods, web, {}, signal);
    await until("a FailedMount event", async () =>
      (await admin.list(events, { namespace: "default" }, signal)).items.some(
        ({ reason, message }) =>
          reason === "FailedMount" &&
          message === 'MountVolume.SetUp failed for volume "settings" : configmap "settings" not found',
      ),
    );
    // A status that soon may be another comes a little later than the event.
    await until(
      "its status says what it waits for",
      async () =>
        (await get("web"))?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "ContainerCreating",
    );
    await admin.create(
      configMaps,
      { metadata: { name: "settings", namespace: "default" }, data: { color: "green" } },
      {},
      signal,
    );
    await until("Ready", async () => (await condition("web", "Ready"))?.status === "True");
    const pod = await get("web");
    t.equal(pod?.status?.phase, "Running");
    t.match(pod?.status?.podIP, /^10\.88\.7\./);
    t.match(pod?.status?.containerStatuses?.[0]?.containerID, /^containerd:\/\//);
    t.equal(pod?.status?.qosClass, "BestEffort");
    const line = readFileSync(
      `${folder}/links/${readdirSync(`${folder}/links`).find((name) => name.startsWith("web_default_web")) ?? ""}`,
      "utf8",
    );
    t.match(line, /hush 10\.96\.0\.1/);
    t.ok(
      pod?.spec?.volumes?.some(({ name }) => name.startsWith("kube-api-access")),
      "it has a token volume",
    );
    const token = `${folder}/kubelet/pods/${pod?.metadata?.uid}/volumes/kubernetes.io~projected/${pod?.spec?.volumes?.find(({ name }) => name.startsWith("kube-api-access"))?.name}/token`;
    t.match(readFileSync(token, "utf8"), /^ey[\w-]+\./);
    const reasons = (await admin.list(events, { namespace: "default" }, signal)).items
      .filter(({ involvedObject }) => involvedObject.name === "web")
      .map(({ reason }) => reason);
    t.ok(
      ["Pulled", "Created", "Started"].every((reason) => reasons.includes(reason)),
      String(reasons),
    );
  });

  await t.test("VO8: a change of the ConfigMap reaches the file within a second", async (t) => {
    const uid = (await get("web"))?.metadata?.uid;
    await admin.patch(
      configMaps,
      { namespace: "default", name: "settings" },
      "merge",
      { data: { color: "blue" } },
      {},
      signal,
    );
    const changed = Date.now();
    await until(
      "the new colour",
      () =>
        readFileSync(
          `${folder}/kubelet/pods/${uid}/volumes/kubernetes.io~configmap/settings/color`,
          "utf8",
        ) === "blue",
    );
    t.ok(Date.now() - changed < 1_000);
  });

  await t.test("ML4 PR8: a failing readiness probe reaches the API within a second of it", async (t) => {
    const id =
      (await get("web"))?.status?.containerStatuses?.[0]?.containerID?.replace("containerd://", "") ?? "";
    await runtime.execSync(id, ["/bin/rm", "/tmp/ready"], { timeoutMs: 5_000, maxOutputBytes: 100 }, signal);
    const failed = Date.now();
    await until("not Ready", async () => (await condition("web", "Ready"))?.status === "False");
    t.ok(Date.now() - failed < 2_100, "one period of the probe, and a second");
    await runtime.execSync(
      id,
      ["/bin/touch", "/tmp/ready"],
      { timeoutMs: 5_000, maxOutputBytes: 100 },
      signal,
    );
    await until("Ready again", async () => (await condition("web", "Ready"))?.status === "True");
  });

  await t.test("ML6 PR9: a new agent restarts nothing, and Ready stays true", async (t) => {
    const before = await get("web");
    await agent.end();
    agent = startAgent();
    const watched = Date.now();
    const seen = new Set<string>();
    while (Date.now() - watched < 2_500) {
      seen.add((await condition("web", "Ready"))?.status ?? "");
      await systemClock.sleep(20, signal);
    }
    t.same([...seen], ["True"]);
    const after = await get("web");
    t.equal(
      after?.status?.containerStatuses?.[0]?.containerID,
      before?.status?.containerStatuses?.[0]?.containerID,
    );
    t.equal(after?.status?.containerStatuses?.[0]?.restartCount, 0);
    t.equal(after?.status?.podIP, before?.status?.podIP);
  });

  await t.test("PS5: a static Pod shows as a mirror, which comes back when it is deleted", async (t) => {
    await writeFile(
      `${folder}/manifests/static.yaml`,
      `apiVersion: v1\nkind: Pod\nmetadata: {name: static}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: main, image: "${image}", command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]}\n`,
    );
    await until("the mirror runs", async () => (await get("static-node-a"))?.status?.phase === "Running");
    const before = (await get("static-node-a"))?.metadata?.uid;
    await admin.delete(
      pods,
      { namespace: "default", name: "static-node-a" },
      { gracePeriodSeconds: 0 },
      signal,
    );
    await until("a new mirror", async () => {
      const mirror = await get("static-node-a");
      return mirror !== undefined && mirror.metadata?.uid !== before && mirror.status?.phase === "Running";
    });
    await rm(`${folder}/manifests/static.yaml`);
    await until("no mirror", async () => (await get("static-node-a")) === undefined);
    t.pass();
  });

  await t.test(
    "LC1 LC18 IM2: a Pod that ends well succeeds, one past its deadline fails, a missing image waits",
    async (t) => {
      const one = (name: string, more: object, spec: Partial<PodSpec> = {}): Pod => ({
        metadata: { name, namespace: "default" },
        spec: {
          nodeName: "node-a",
          restartPolicy: "Never",
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          containers: [{ name: "main", image, ...more }],
          ...spec,
        },
      });
      await admin.create(pods, one("job", { command: ["/bin/sh", "-c", "exit 0"] }), {}, signal);
      await admin.create(pods, one("lost", { image: "registry.invalid/none:1" }), {}, signal);
      await until("Succeeded", async () => (await get("job"))?.status?.phase === "Succeeded");
      t.equal((await condition("job", "Ready"))?.reason, "PodCompleted");
      await until(
        "ImagePullBackOff",
        async () =>
          (await get("lost"))?.status?.containerStatuses?.[0]?.state?.waiting?.reason === "ImagePullBackOff",
      );
      await admin.create(
        pods,
        one("late", { command: ["/bin/sh", "-c", "exec sleep 3600"] }, { activeDeadlineSeconds: 2 }),
        {},
        signal,
      );
      await until("the deadline", async () => (await get("late"))?.status?.phase === "Failed");
      t.match((await get("late"))?.status, {
        reason: "DeadlineExceeded",
        message: "Pod was active on the node longer than the specified deadline",
        containerStatuses: [{ state: { terminated: { exitCode: 137 } } }],
      });
      for (const name of ["job", "lost", "late"])
        await admin.delete(pods, { namespace: "default", name }, {}, signal);
      await until("all gone", async () =>
        (await Promise.all(["job", "lost", "late"].map(get))).every((pod) => pod === undefined),
      );
    },
  );

  await t.test("LC8: one container's exit code runs all of them anew in the same sandbox", async (t) => {
    const sh = (script: string): readonly string[] => ["/bin/sh", "-c", script];
    const mounts = [{ name: "shared", mountPath: "/shared" }];
    const pod: Pod = {
      metadata: { name: "anew", namespace: "default" },
      spec: {
        nodeName: "node-a",
        restartPolicy: "Never",
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 60,
        volumes: [{ name: "shared", emptyDir: {} }],
        initContainers: [
          { name: "init", image, volumeMounts: mounts, command: sh("echo run >>/shared/runs") },
        ],
        containers: [
          {
            name: "main",
            image,
            volumeMounts: mounts,
            command: sh('[ "$(wc -l </shared/runs)" = 2 ] && exec sleep 3600; exit 42'),
            restartPolicyRules: [
              { action: "RestartAllContainers", exitCodes: { operator: "In", values: [42] } },
            ],
          },
          // Without a handler for TERM it would take the whole grace period.
          { name: "other", image, command: sh("exec sleep 3600") },
        ],
      },
    };
    await admin.create(pods, pod, {}, signal);
    const statusOf = async (name: string) =>
      (await get("anew"))?.status?.containerStatuses?.find((one) => one.name === name);
    await until("the second run", async () => {
      const status = await statusOf("main");
      return status?.restartCount === 1 && status.state?.running !== undefined;
    });
    t.match(await statusOf("other"), { restartCount: 1, lastState: { terminated: { exitCode: 137 } } });
    t.equal((await get("anew"))?.status?.initContainerStatuses?.[0]?.restartCount, 1);
    t.equal((await condition("anew", "AllContainersRestarting"))?.status, "False");
    const uid = (await get("anew"))?.metadata?.uid ?? "";
    t.equal((await runtime.listSandboxes({ podUid: uid }, signal)).length, 1);
    await admin.delete(pods, { namespace: "default", name: "anew" }, { gracePeriodSeconds: 1 }, signal);
    await until("gone", async () => (await get("anew")) === undefined);
  });

  await t.test("LC11: an ephemeral container sees the processes of its target, and runs once", async (t) => {
    const place = { namespace: "default", name: "web" };
    const add = async (name: string, command: string, target: string): Promise<void> => {
      const container = { name, image, targetContainerName: target, command: ["/bin/sh", "-c", command] };
      const before = (await get("web"))?.spec?.ephemeralContainers ?? [];
      const patch = { spec: { ephemeralContainers: [...before, container] } };
      await admin.patch(pods, place, "strategic", patch, { subresource: "ephemeralcontainers" }, signal);
    };
    const stateOf = async (name: string) =>
      (await get("web"))?.status?.ephemeralContainerStatuses?.find((one) => one.name === name)?.state;
    await add("debug", "trap 'exit 0' TERM; ps; while :; do sleep 0.1; done", "web");
    await until("it runs", async () => (await stateOf("debug"))?.running !== undefined);
    const [status] = (await get("web"))?.status?.ephemeralContainerStatuses ?? [];
    const id = status?.containerID?.replace("containerd://", "") ?? "";
    const options = { timeoutMs: 5_000, maxOutputBytes: 10_000 };
    const { stdout } = await runtime.execSync(id, ["/bin/ps"], options, signal);
    t.match(Buffer.from(stdout).toString(), /touch \/tmp\/ready/, "the words of the target's shell");
    await add("once", "exit 3", "web");
    await until("it has ended", async () => (await stateOf("once"))?.terminated?.exitCode === 3);
    const main = (await get("web"))?.status?.containerStatuses?.[0];
    t.match(main, { restartCount: 0, ready: true }, "nobody else is touched");
    t.equal((await stateOf("once"))?.terminated?.reason, "Error", "and it is not restarted");
  });

  await t.test("LC21: CPU and memory of a running Pod are changed in place, or say why not", async (t) => {
    const mounts = await findCgroups();
    const limits = (cpu: string, memory: string) => ({ cpu, memory });
    const asking = (name: string, resources: object, more: Partial<Container> = {}): Pod => ({
      metadata: { name, namespace: "default" },
      spec: {
        nodeName: "node-a",
        restartPolicy: "OnFailure",
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 2,
        containers: [
          {
            name: "main",
            image,
            // It ends well when it is asked to: only the agent knows that it has to come back.
            command: ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"],
            resources,
            resizePolicy: [{ resourceName: "memory", restartPolicy: "NotRequired" }],
            ...more,
          },
        ],
      },
    });
    const start = async (pod: Pod): Promise<Pod> => {
      await admin.create(pods, pod, {}, signal);
      const name = pod.metadata?.name ?? "";
      await until(`${name} runs`, async () => (await main(name))?.state?.running !== undefined);
      return (await get(name)) ?? {};
    };
    const main = async (name: string) => (await get(name))?.status?.containerStatuses?.[0];
    const resize = (name: string, resources: object) => {
      const patch = { spec: { containers: [{ name: "main", resources }] } };
      return admin.patch(
        pods,
        { namespace: "default", name },
        "strategic",
        patch,
        { subresource: "resize" },
        signal,
      );
    };
    const groupsOf = async (name: string) => {
      const pod = await get(name);
      const id = pod?.status?.containerStatuses?.[0]?.containerID?.replace("containerd://", "");
      const group = `${cgroupRoot}/kubepods/burstable/pod${pod?.metadata?.uid}`;
      return { pod: await readCgroup(mounts, group), main: await readCgroup(mounts, `${group}/${id}`) };
    };
    const saysOf = async (name: string): Promise<readonly string[]> => {
      const all = await admin.list(events, { namespace: "default" }, signal);
      return all.items
        .filter(({ involvedObject }) => involvedObject.name === name)
        .map(({ reason }) => reason ?? "");
    };
    const mebi = 1_024 * 1_024;

    const first = await start(
      asking("grows", { requests: limits("50m", "32Mi"), limits: limits("100m", "64Mi") }),
    );
    t.match(await groupsOf("grows"), { pod: { cpuQuotaUs: 10_000 }, main: { cpuQuotaUs: 10_000 } });
    const id = first.status?.containerStatuses?.[0]?.containerID;

    await t.test("more and less of both, in place", async (t) => {
      await resize("grows", { requests: limits("60m", "40Mi"), limits: limits("200m", "96Mi") });
      await until("in effect", async () => (await main("grows"))?.resources?.limits?.["cpu"] === "200m");
      const wide = { cpuShares: 61, cpuQuotaUs: 20_000, memoryBytes: 96 * mebi };
      t.same(await groupsOf("grows"), { pod: wide, main: wide });
      t.match(await main("grows"), {
        containerID: id,
        restartCount: 0,
        allocatedResources: { cpu: "60m", memory: "40Mi" },
        resources: { requests: { cpu: "60m" }, limits: { memory: "96Mi" } },
      });
      await resize("grows", { requests: limits("50m", "32Mi"), limits: limits("150m", "80Mi") });
      await until("smaller", async () => (await main("grows"))?.resources?.limits?.["cpu"] === "150m");
      const narrow = { cpuShares: 51, cpuQuotaUs: 15_000, memoryBytes: 80 * mebi };
      t.same(await groupsOf("grows"), { pod: narrow, main: narrow });
      t.match(await main("grows"), { containerID: id, restartCount: 0 });
      t.equal(await condition("grows", "PodResizeInProgress"), undefined);
      await until("said", async () => (await saysOf("grows")).includes("ResizeCompleted"));
      t.ok((await saysOf("grows")).includes("ResizeStarted"));
    });

    await t.test("what can never fit changes nothing", async (t) => {
      await resize("grows", { requests: limits("5000", "32Mi"), limits: limits("5000", "80Mi") });
      await until("refused", async () => (await condition("grows", "PodResizePending"))?.status === "True");
      t.match(await condition("grows", "PodResizePending"), {
        reason: "Infeasible",
        message: /Node didn't have enough capacity: cpu, requested: 5000000, capacity: \d+/,
      });
      t.match(await groupsOf("grows"), { main: { cpuQuotaUs: 15_000 } });
      t.match(await main("grows"), { containerID: id, resources: { limits: { cpu: "150m" } } });
      await agent.end();
      agent = startAgent();
      await resize("grows", { requests: limits("50m", "32Mi"), limits: limits("150m", "80Mi") });
      await until("taken back", async () => (await condition("grows", "PodResizePending")) === undefined);
      t.match(await main("grows"), { containerID: id, restartCount: 0 }, "a new agent changed nothing");
    });

    await t.test("what does not fit now waits for room", async (t) => {
      const node = await admin.get(nodes, { namespace: "", name: "node-a" }, signal);
      const cpus = Number(node.status?.allocatable?.["cpu"] ?? 0);
      await start(asking("neighbour", { requests: { cpu: `${cpus * 1_000 - 200}m` } }));
      await resize("grows", { requests: limits("500m", "32Mi"), limits: limits("500m", "80Mi") });
      await until(
        "put off",
        async () => (await condition("grows", "PodResizePending"))?.reason === "Deferred",
      );
      await admin.delete(pods, { namespace: "default", name: "neighbour" }, {}, signal);
      await until("granted", async () => (await main("grows"))?.resources?.limits?.["cpu"] === "500m");
      t.equal(await condition("grows", "PodResizePending"), undefined);
      t.match(await main("grows"), { containerID: id, restartCount: 0 });
      t.ok((await saysOf("grows")).includes("ResizeDeferred"));
    });

    await t.test("a container whose policy asks for it is made anew, once", async (t) => {
      const policy = [{ resourceName: "memory", restartPolicy: "RestartContainer" }];
      await start(
        asking(
          "anew-by-resize",
          { limits: limits("100m", "64Mi"), requests: { cpu: "50m" } },
          { resizePolicy: policy },
        ),
      );
      const name = "anew-by-resize";
      const before = await main(name);
      await resize(name, { limits: limits("100m", "96Mi"), requests: limits("50m", "64Mi") });
      await until("made anew", async () => {
        const now = await main(name);
        return now?.state?.running !== undefined && now.containerID !== before?.containerID;
      });
      await until("settled", async () => (await condition(name, "PodResizeInProgress")) === undefined);
      t.match(await main(name), { restartCount: 1, lastState: { terminated: { exitCode: 0 } } });
      t.match(await groupsOf(name), { pod: { memoryBytes: 96 * mebi }, main: { memoryBytes: 96 * mebi } });
      t.equal((await get(name))?.status?.phase, "Running");
    });

    await t.test("memory is not limited below what is used", async (t) => {
      const script = "dd if=/dev/zero of=/dev/shm/held bs=1M count=40 2>/dev/null; exec sleep 3600";
      const command = ["/bin/sh", "-c", script];
      await start(asking("full", { limits: limits("500m", "128Mi"), requests: { cpu: "50m" } }, { command }));
      const before = await main("full");
      const { metadata } = (await get("full")) ?? {};
      const group = `${cgroupRoot}/kubepods/burstable/pod${metadata?.uid}`;
      await until("filled", async () => ((await readWorkingSet(mounts, group)) ?? 0) > 40 * mebi);
      await resize("full", { limits: limits("500m", "24Mi"), requests: limits("50m", "24Mi") });
      await until("said", async () => (await condition("full", "PodResizeInProgress"))?.reason === "Error");
      t.match(await condition("full", "PodResizeInProgress"), {
        message: /attempting to set container "main" memory limit \(25165824\) below current usage \(\d+\)/,
      });
      t.match(await main("full"), {
        containerID: before?.containerID,
        resources: { limits: { memory: "128Mi" } },
      });
      await resize("full", { limits: limits("500m", "96Mi"), requests: limits("50m", "24Mi") });
      await until("in effect", async () => (await main("full"))?.resources?.limits?.["memory"] === "96Mi");
      t.match(await main("full"), { containerID: before?.containerID, restartCount: 0 });
    });
    await t.test(
      "LC22: resources of the Pod as a whole limit its containers, and can be changed",
      async (t) => {
        const pod = asking("whole", {});
        await start({
          ...pod,
          spec: {
            ...pod.spec,
            containers: pod.spec?.containers ?? [],
            resources: { requests: limits("100m", "64Mi"), limits: limits("300m", "128Mi") },
          },
        });
        const before = await main("whole");
        const narrow = { cpuShares: 102, cpuQuotaUs: 30_000, memoryBytes: 128 * mebi };
        t.same((await groupsOf("whole")).pod, narrow);
        t.equal(
          (await groupsOf("whole")).main?.memoryBytes,
          undefined,
          "the container has no limit of its own",
        );
        const patch = { spec: { resources: { requests: { cpu: "150m" }, limits: { cpu: "400m" } } } };
        const place = { namespace: "default", name: "whole" };
        await admin.patch(pods, place, "strategic", patch, { subresource: "resize" }, signal);
        await until(
          "in effect",
          async () => (await get("whole"))?.status?.resources?.limits?.["cpu"] === "400m",
        );
        t.same((await groupsOf("whole")).pod, { ...narrow, cpuShares: 153, cpuQuotaUs: 40_000 });
        t.match((await get("whole"))?.status, {
          qosClass: "Burstable",
          allocatedResources: { cpu: "150m", memory: "64Mi" },
          resources: { requests: { cpu: "150m", memory: "64Mi" }, limits: { memory: "128Mi" } },
        });
        t.match(await main("whole"), { containerID: before?.containerID, restartCount: 0 });
      },
    );
    for (const name of ["grows", "anew-by-resize", "full", "whole"]) {
      await admin.delete(pods, { namespace: "default", name }, { gracePeriodSeconds: 1 }, signal);
      await until(`${name} is gone`, async () => (await get(name)) === undefined);
    }
  });

  await t.test("EV6 VO4: who writes more to the disk than it may is turned out, and no other", async (t) => {
    const writer = (name: string, script: string, more: Partial<PodSpec>, resources = {}): Pod => ({
      metadata: { name, namespace: "default" },
      spec: {
        nodeName: "node-a",
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 60,
        ...more,
        containers: [
          {
            name: "main",
            image,
            command: ["/bin/sh", "-c", `${script}; exec sleep 3600`],
            resources,
            ...(more.volumes === undefined ? {} : { volumeMounts: [{ name: "data", mountPath: "/data" }] }),
          },
        ],
      },
    });
    const write = (file: string, mebibytes: number): string =>
      `dd if=/dev/zero of=${file} bs=1M count=${mebibytes} 2>/dev/null`;
    const volumes = [{ name: "data", emptyDir: { sizeLimit: "2Mi" } }];
    const limits = { limits: { "ephemeral-storage": "2Mi" } };
    const all = [
      writer("volume-over", write("/data/big", 4), { volumes }),
      writer("volume-within", write("/data/big", 1), { volumes }),
      writer("layer-over", write("/big", 4), {}, limits),
    ];
    for (const pod of all) await admin.create(pods, pod, {}, signal);
    const status = async (name: string) => (await get(name))?.status;
    for (const name of ["volume-over", "layer-over"])
      await until(`${name} is turned out`, async () => (await status(name))?.phase === "Failed", 90_000);
    t.match(await status("volume-over"), {
      reason: "Evicted",
      message: 'Usage of EmptyDir volume "data" exceeds the limit "2Mi". ',
      containerStatuses: [{ state: { terminated: { exitCode: 137 } } }],
    });
    t.match(await status("layer-over"), {
      reason: "Evicted",
      message: "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. ",
    });
    t.equal((await status("volume-within"))?.phase, "Running");
    for (const { metadata } of all) {
      const name = metadata?.name ?? "";
      await admin.delete(pods, { namespace: "default", name }, { gracePeriodSeconds: 1 }, signal);
      await until(`${name} is gone`, async () => (await get(name)) === undefined);
    }
  });

  await t.test("LC16: a deleted Pod stops within its grace period and leaves nothing", async (t) => {
    await admin.delete(pods, { namespace: "default", name: "web" }, {}, signal);
    const asked = Date.now();
    await until("gone from the API", async () => (await get("web")) === undefined);
    t.ok(Date.now() - asked < 4_000);
    await until("nothing left", async () => (await runtime.listSandboxes({}, signal)).length === 0);
    await until("no directory left", () => readdirSync(`${folder}/kubelet/pods`).length === 0);
    t.pass();
  });

  stop.abort();
  await agent.ended;
  await control.stop();
  await Promise.all([admin.close(), own.close(), runtime.close()]);
  await removeCgroup(await findCgroups(), cgroupRoot);
});
