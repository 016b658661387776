import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { events, nodes, pods, serviceAccounts } from "#api/resources.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { noLog } from "#lib/log.ts";
import { until } from "../../agent/agent-fixture.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import type { AgentView } from "../../agent/model.ts";
import { FakeRuntime } from "../../agent/runtime/fake.ts";
import { controlHere } from "../support/control-here.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { run } from "../support/run-command.ts";

const skip = process.getuid?.() !== 0 && "needs root";
const patienceMs = 30_000;
t.setTimeout(120_000);

t.test("Pods of an API and static Pods beside each other", { skip, timeout: 120_000 }, async (t) => {
  const signal = AbortSignal.timeout(100_000);
  const folder = await mkdtemp("/tmp/keelson-sources-");
  const netns = path.basename(folder).slice(0, 24);
  await run("ip", "netns", "add", netns);
  await run("nsenter", `--net=/run/netns/${netns}`, "ip", "link", "set", "lo", "up");
  enterNetns(netns);
  const stop = new AbortController();
  const control = await controlHere(folder);
  const admin = control.client("admin");
  const own = control.client("node");
  await mkdir(`${folder}/manifests`);
  const runtime = new FakeRuntime(systemClock);
  runtime.addImage("busybox", { entrypoint: ["sh", "-c", "trap 'exit 0' TERM; sleep 1000"] });
  runtime.addImage("busybox:2", { entrypoint: ["sh", "-c", "trap 'exit 0' TERM; sleep 1000"] });
  const said: string[] = [];
  const log = { ...noLog, warn: (event: string) => said.push(event) };
  const startAgent = async () => {
    const started = Promise.withResolvers<AgentView>();
    const end = new AbortController();
    const config = parseFlags("agent", flags, [
      "--hostname-override=node-a",
      "--fail-swap-on=false",
      "--node-ip=127.0.0.1",
      `--root-dir=${folder}/kubelet`,
      `--pod-manifest-path=${folder}/manifests`,
      `--pod-logs-dir=${folder}/logs`,
      `--container-logs-dir=${folder}/links`,
      "--healthz-port=0",
      "--no-cgroups-per-qos",
      "--no-register-node",
      "--node-status-update-frequency=500ms",
    ]);
    const ended = runAgent(
      config,
      { log, clock: systemClock, random: () => 0.5, client: own, runtime, ready: started.resolve },
      AbortSignal.any([stop.signal, end.signal]),
    );
    ended.catch(started.reject);
    return { view: await started.promise, end: () => end.abort(), ended };
  };
  let agent = await startAgent();
  const { view } = agent;
  const get = (name: string): Promise<Pod | undefined> =>
    admin.get(pods, { namespace: "default", name }, signal).catch(() => undefined);
  await until(
    "the default service account",
    async () =>
      (await admin
        .get(serviceAccounts, { namespace: "default", name: "default" }, signal)
        .catch(() => undefined)) !== undefined,
    patienceMs,
  );

  await t.test("PS1: a Pod of the API waits for the node's own object, a static one does not", async (t) => {
    const web: Pod = {
      metadata: { name: "web", namespace: "default" },
      spec: {
        nodeName: "node-a",
        automountServiceAccountToken: false,
        nodeSelector: { disk: "fast" },
        containers: [{ name: "web", image: "busybox" }],
      },
    };
    await admin.create(pods, web, {}, signal);
    await writeManifest("busybox");
    await until("it is known", () => view.podByName("default", "web") !== undefined, patienceMs);
    const runs = async () => (await runtime.listSandboxes({}, signal)).map(({ podName }) => podName);
    await until("the static one runs", async () => (await runs()).length > 0, patienceMs);
    const tries = () => said.filter((event) => event === "cannot register the node").length;
    const before = tries();
    await until("the node has been asked for again", () => tries() > before + 1, patienceMs);
    t.same(await runs(), ["static-node-a"]);
    t.equal((await get("web"))?.status?.reason, undefined, "and it is not judged by what is not known");
    await admin.create(nodes, { metadata: { name: "node-a", labels: { disk: "fast" } } }, {}, signal);
    await until("it runs", async () => (await get("web"))?.status?.phase === "Running", patienceMs);
    t.pass();
  });

  const hashes = (pod: Pod | undefined) => [
    pod?.metadata?.annotations?.["kubernetes.io/config.hash"],
    pod?.metadata?.annotations?.["kubernetes.io/config.mirror"],
  ];
  const mirrorOf = async (image: string): Promise<Pod | undefined> => {
    const mirror = await get("static-node-a");
    const [hash, shown] = hashes(mirror);
    const isIts = mirror?.spec?.containers[0]?.image === image && hash === shown;
    return isIts && mirror.status?.phase === "Running" ? mirror : undefined;
  };

  await t.test("PS5: a mirror whose manifest changed is deleted and made anew", async (t) => {
    await until("the mirror", async () => (await mirrorOf("busybox")) !== undefined, patienceMs);
    const first = await mirrorOf("busybox");
    await writeManifest("busybox:2");
    await until(
      "a mirror of the new one",
      async () => (await mirrorOf("busybox:2")) !== undefined,
      patienceMs,
    );
    const second = await mirrorOf("busybox:2");
    t.not(second?.metadata?.uid, first?.metadata?.uid);
    t.notSame(hashes(second), hashes(first));
    t.match(second?.metadata?.ownerReferences, [{ kind: "Node", name: "node-a", controller: true }]);
    const [container] = (await runtime.listContainers({}, signal)).filter(
      ({ podName, state }) => podName === "static-node-a" && state === "running",
    );
    t.equal(second?.status?.containerStatuses?.[0]?.containerID, `fake://${container?.id}`);
  });

  await t.test("PS5: a mirror that somebody changed shows the manifest again", async (t) => {
    const changed = await mirrorOf("busybox:2");
    await admin.patch(
      pods,
      { namespace: "default", name: "static-node-a" },
      "merge",
      { metadata: { annotations: { "kubernetes.io/config.mirror": "another" } } },
      {},
      signal,
    );
    await until(
      "another mirror",
      async () => {
        const now = await mirrorOf("busybox:2");
        return now !== undefined && now.metadata?.uid !== changed?.metadata?.uid;
      },
      patienceMs,
    );
    await rm(`${folder}/manifests/static.yaml`);
    await until("no mirror", async () => (await get("static-node-a")) === undefined, patienceMs);
    t.pass();
  });

  await t.test(
    "LC19 LC23: a critical Pod that does not fit turns others out, and waits for their end",
    async (t) => {
      const { status: nodeStatus } = await admin.get(nodes, { namespace: "", name: "node-a" }, signal);
      const cores = Number(nodeStatus?.allocatable?.["cpu"]);
      const cpu = `${Math.floor(cores * 600)}m`;
      const big: Pod = {
        metadata: { name: "big", namespace: "default" },
        spec: {
          nodeName: "node-a",
          automountServiceAccountToken: false,
          terminationGracePeriodSeconds: 1,
          containers: [{ name: "main", image: "busybox", resources: { requests: { cpu } } }],
        },
      };
      await admin.create(pods, big, {}, signal);
      await until("it runs", async () => (await get("big"))?.status?.phase === "Running", patienceMs);
      const important = (name: string, asked: string): Promise<void> =>
        writeFile(
          `${folder}/manifests/${name}.yaml`,
          `apiVersion: v1\nkind: Pod\nmetadata: {name: ${name}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers: [{name: main, image: busybox, resources: {requests: {cpu: ${asked}}}}]\n`,
        );
      await important("important", cpu);
      await until(
        "the other one runs",
        async () => (await get("important-node-a"))?.status?.phase === "Running",
        patienceMs,
      );
      t.match((await get("big"))?.status, {
        phase: "Failed",
        reason: "Preempting",
        message: "Preempted in order to admit critical pod",
      });
      t.match(
        (await get("big"))?.status?.conditions?.find(({ type }) => type === "DisruptionTarget"),
        {
          status: "True",
          reason: "TerminationByKubelet",
          message: "Pod was preempted by Kubelet to accommodate a critical pod.",
        },
      );
      const ended = (await get("big"))?.status?.containerStatuses?.[0]?.state?.terminated?.finishedAt ?? "";
      const began =
        (await get("important-node-a"))?.status?.containerStatuses?.[0]?.state?.running?.startedAt ?? "";
      t.ok(
        ended !== "" && Date.parse(ended) <= Date.parse(began),
        `it ended at ${ended}, the other began at ${began}`,
      );
      const said = (await admin.list(events, { namespace: "default" }, signal)).items;
      t.ok(
        said.some(({ reason, involvedObject }) => reason === "Preempting" && involvedObject.name === "big"),
      );
      t.equal((await get("web"))?.status?.phase, "Running", "one that asks for nothing is left alone");
      await important("huge", String(cores * 2));
      await until(
        "it is refused",
        async () => (await get("huge-node-a"))?.status?.phase === "Failed",
        patienceMs,
      );
      t.match((await get("huge-node-a"))?.status, {
        reason: "UnexpectedAdmissionError",
        message: /no set of running pods found to reclaim resources: \[\(res: cpu, q: \d+\), \]$/,
      });
      t.equal((await get("web"))?.status?.phase, "Running", "and nobody ends for it");
    },
  );

  await t.test("LC23: the node tells when it is not ready, and when it is again", async (t) => {
    const told = async (reason: string): Promise<boolean> =>
      (await admin.list(events, { namespace: "default" }, signal)).items.some(
        (event) =>
          event.reason === reason &&
          event.involvedObject.kind === "Node" &&
          event.message === `Node node-a status is now: ${reason}`,
      );
    await until("sufficient memory", () => told("NodeHasSufficientMemory"), patienceMs);
    runtime.networkReady = false;
    await until("not ready", () => told("NodeNotReady"), patienceMs);
    runtime.networkReady = true;
    await until("ready", () => told("NodeReady"), patienceMs);
    t.pass();
  });

  await t.test("ND8: a machine that was booted anew says so", async (t) => {
    const place = { namespace: "", name: "node-a" };
    const bootId = async () => (await admin.get(nodes, place, signal)).status?.nodeInfo?.bootID ?? "";
    await until("the node's status", async () => (await bootId()) !== "", patienceMs);
    const own = await bootId();
    const rebooted = async () =>
      (await admin.list(events, { namespace: "default" }, signal)).items.filter(
        ({ reason }) => reason === "Rebooted",
      );
    t.same(await rebooted(), []);
    agent.end();
    await agent.ended;
    const nodeInfo = {
      ...(await admin.get(nodes, place, signal)).status?.nodeInfo,
      bootID: "an earlier one",
    };
    await admin.patch(nodes, place, "merge", { status: { nodeInfo } }, { subresource: "status" }, signal);
    agent = await startAgent();
    await until("the event", async () => (await rebooted()).length > 0, patienceMs);
    t.match(await rebooted(), [
      {
        type: "Warning",
        message: `Node node-a has been rebooted, boot id: ${own}`,
        involvedObject: { kind: "Node", name: "node-a" },
      },
    ]);
    t.equal(await bootId(), own);
  });

  stop.abort();
  await agent.ended;
  await control.stop();
  await Promise.all([admin.close(), own.close()]);
  await run("ip", "netns", "delete", netns);
  await rm(folder, { recursive: true, force: true });

  async function writeManifest(image: string): Promise<void> {
    await writeFile(
      `${folder}/manifests/static.yaml`,
      `apiVersion: v1\nkind: Pod\nmetadata: {name: static}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers: [{name: main, image: "${image}"}]\n`,
    );
  }
});
