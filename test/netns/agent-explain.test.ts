import { existsSync } from "node:fs";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { Pod, PodSpec } from "#api/generated/kubernetes.ts";
import { events, pods, serviceAccounts } from "#api/resources.ts";
import { isReason } from "#api/status-error.ts";
import { parseFlags } from "#lib/flags.ts";
import { noLog } from "#lib/log.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { flags } from "../../agent/config.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { keelson } from "../../cli/local/agent-fixture.ts";
import { runAgentHere } from "../../cli/node/run-agent.ts";
import { testContainerd } from "../support/containerd.ts";
import { controlHere } from "../support/control-here.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { root } from "../support/paths.ts";
import { run } from "../support/run-command.ts";
import { until } from "../support/until.ts";

const missing = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "docker.io/keelson/busybox:1";
/** Nobody listens there: a pull is refused at once, and nothing leaves the machine. */
const nowhere = "127.0.0.1:9/none/none:1";
t.setTimeout(180_000);
/** Where the output is written that the documents show. */
const shown = process.env["EXPLAIN_OUTPUT"];

const forEver = "trap 'exit 0' TERM; touch /tmp/ready; while :; do sleep 0.1; done";

function podOf(name: string, main: object, spec: Partial<PodSpec> = {}, metadata: Pod["metadata"] = {}): Pod {
  return {
    metadata: { name, namespace: "default", ...metadata },
    spec: {
      nodeName: "node-a",
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 1,
      containers: [{ name: "main", image, command: ["/bin/sh", "-c", forEver], ...main }],
      ...spec,
    },
  };
}

t.test("explain on containerd, asked as a person asks", { skip, timeout: 170_000 }, async (t) => {
  await using containerd = await testContainerd("explain");
  enterNetns(containerd.netns);
  const signal = AbortSignal.timeout(160_000);
  const channel = new Channel(containerd.endpoint, criCodec());
  await importImage(channel, busyboxImage(), image, signal);
  channel.close();
  const folder = containerd.directory;
  const stop = new AbortController();
  const control = await controlHere(folder);
  const admin = control.client("admin");
  const own = control.client("node");
  await mkdir(`${folder}/manifests`);
  const socket = `${folder}/agent.sock`;
  const config = parseFlags("agent", flags, [
    "--hostname-override=node-a",
    "--fail-swap-on=false",
    "--node-ip=127.0.0.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-manifest-path=${folder}/manifests`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    `--cgroup-root=/${path.basename(folder)}`,
    `--control-socket=${socket}`,
    `--container-runtime-endpoint=${containerd.endpoint}`,
    "--healthz-port=0",
    "--cluster-dns=10.96.0.10",
  ]);
  const agent = runAgentHere(config, own, noLog, stop.signal);
  agent.catch(() => undefined);
  const create = (pod: Pod): Promise<Pod> => admin.create(pods, pod, {}, signal);
  const remove = (name: string): Promise<unknown> =>
    admin.delete(pods, { namespace: "default", name }, {}, signal);
  const get = (name: string) =>
    admin.get(pods, { namespace: "default", name }, signal).catch((cause: unknown) => {
      if (isReason(cause, "NotFound")) return undefined;
      throw cause;
    });
  const ask = async (name: string, ...words: readonly string[]): Promise<string> =>
    (await keelson("explain", "pod", name, ...words, "--control-socket", socket)).out;
  /** Asks until the answer is as expected. */
  const says = async (name: string, expected: RegExp): Promise<string> => {
    let last = "";
    try {
      return await until(String(expected), async () => {
        last = await ask(name);
        return expected.test(last) && last;
      });
    } catch (cause) {
      throw new Error(`${String(expected)} is not in\n${last}`, { cause });
    }
  };
  const show = async (name: string, text: string): Promise<void> => {
    if (shown !== undefined) await writeFile(path.join(shown, name), text);
  };
  await until("the default service account", () =>
    admin.get(serviceAccounts, { namespace: "default", name: "default" }, signal).catch(() => undefined),
  );

  await t.test(
    "explain: a Pod that runs waits for nothing, and its start is told step by step",
    async (t) => {
      await create(
        podOf(
          "web",
          {
            readinessProbe: { exec: { command: ["/bin/cat", "/tmp/ready"] }, periodSeconds: 1 },
            lifecycle: { postStart: { exec: { command: ["/bin/true"] } } },
            volumeMounts: [{ name: "data", mountPath: "/data" }],
          },
          { volumes: [{ name: "data", emptyDir: {} }] },
        ),
      );
      const text = await says("web", /Running, ready since/);
      await show("web.txt", text);
      t.match(text, /^Pod +default\/web on node-a, uid /);
      t.match(text, /Waits for +nothing/);
      t.match(text, /Sandbox +ready, made \S+ ago, 10\.88\.7\.\d+/);
      t.match(text, /main: running for \S+, 0 restarts, docker\.io\/keelson\/busybox:1/);
      t.match(text, /readiness probe: succeeded \d+ times? in a row, asked \S+ ago/);
      const timeline = await until("its whole start", async () => {
        const told = await ask("web", "--timeline");
        return / Ready in the API\n/.test(told) && told;
      });
      await show("timeline.txt", timeline);
      await show("timeline.svg", await ask("web", "-o", "svg"));
      const steps = timeline
        .trim()
        .split("\n")
        .slice(2)
        .map((line) => line.split("|  ").at(-1) ?? "");
      for (const step of [
        "seen",
        "admitted",
        "volumes",
        "sandbox",
        "network up",
        "image present (main)",
        "create (main)",
        "start (main)",
        "postStart hook (main)",
        "readiness probe (main)",
        "Ready",
        "first status write",
        "Ready in the API",
      ])
        t.ok(steps.includes(step), `${step} is a step of ${steps.join(", ")}`);
      t.ok(steps.indexOf("sandbox") < steps.indexOf("network up"));
      t.ok(
        steps.indexOf("network up") < steps.indexOf("create (main)"),
        "the network is there before a container",
      );
    },
  );

  await t.test("explain: who is not root is told so", async (t) => {
    await chmod(folder, 0o711);
    const program = path.join(root, "cli/entry.ts");
    const words = ["--reuid", "65534", "--clear-groups", process.execPath, program, "explain", "pod", "web"];
    await t.rejects(run("setpriv", ...words, "--control-socket", socket), {
      message: /cannot ask the agent at ".*": only root may; run it with sudo/,
    });
  });

  await t.test("explain: a Pod without its ConfigMap waits for its volumes", async (t) => {
    await create(
      podOf(
        "settings",
        { volumeMounts: [{ name: "settings", mountPath: "/settings" }] },
        { volumes: [{ name: "settings", configMap: { name: "settings" } }] },
      ),
    );
    const text = await says("settings", /volumes, for [1-9]\d*\.\ds\n.*configmap "settings" not found/);
    await show("configmap.txt", text);
    t.match(text, /Next +set up the volumes/);
    t.match(text, /Sandbox +absent/);
    t.match(text, /FailedMount/);
    await remove("settings");
  });

  await t.test("explain: back-offs tell when they end, and restart-now ends them", async (t) => {
    await create(podOf("crash", { command: ["/bin/sh", "-c", "exit 3"] }));
    await create(podOf("image", { image: nowhere }));
    const crash = await says("crash", /crash back-off \(container "main"\), for \S+, until \S+, in \S+\n/);
    await show("crash.txt", crash);
    t.match(crash, /10s after it ended with exit code 3 \(Error\)/);
    t.match(crash, /main: waiting \(CrashLoopBackOff\), 1 restart/);
    const pull = await says(
      "image",
      /the next try of the image \(container "main"\), for \S+, until \S+, in \S+/,
    );
    await show("image.txt", await says("image", /Back-off pulling image "127\.0\.0\.1:9\/none\/none:1"/));
    t.match(pull, /Errors, newest first\n.*Failed/);
    const list = (await keelson("explain", "pods", "--control-socket", socket)).out;
    await show("pods.txt", list);
    t.match(list, /^default\/crash +Running +crash back-off for \S+: 10s after it ended/m);
    t.match(list, /^default\/web +Running, ready +-$/m);
    const { code, out } = await keelson("restart-now", "default/crash", "--control-socket", socket);
    await show("restart-now.txt", out);
    t.equal(code, 0);
    await says("crash", /main: waiting \(CrashLoopBackOff\), 2 restarts/);
    await until("its event", async () =>
      (await admin.list(events, { namespace: "default" }, signal)).items.some(
        ({ reason, involvedObject }) => reason === "RestartNow" && involvedObject.name === "crash",
      ),
    );
    await remove("crash");
    await remove("image");
  });

  await t.test("explain: a Pod stuck terminating names the step that holds it", async (t) => {
    await create(
      podOf(
        "hook",
        { lifecycle: { preStop: { exec: { command: ["/bin/sleep", "300"] } } } },
        { terminationGracePeriodSeconds: 3 },
      ),
    );
    await create(
      podOf(
        "deaf",
        { command: ["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"] },
        { terminationGracePeriodSeconds: 3 },
      ),
    );
    await create(podOf("kept", {}, {}, { finalizers: ["example.com/keep"] }));
    await create(
      podOf(
        "held",
        { volumeMounts: [{ name: "data", mountPath: "/data" }] },
        { volumes: [{ name: "data", emptyDir: {} }] },
      ),
    );
    const names = ["hook", "deaf", "kept", "held"];
    for (const name of names) await says(name, /Running, ready/);
    const uid = (await get("held"))?.metadata?.uid ?? "";
    const held = `${folder}/kubelet/pods/${uid}/volumes/kubernetes.io~empty-dir/data/held`;
    await writeFile(held, "");
    // A file that not even root may remove: the volume cannot be taken down.
    await run("chattr", "+i", held);
    try {
      for (const name of names) await remove(name);
      const hook = await says("hook", /the preStop hook \(container "main"\), for \S+, until \S+, in \S+/);
      await show("hook.txt", hook);
      t.match(hook, /Wants +that it ends: it was deleted, with 3s of grace, at /);
      t.match(await says("deaf", /the grace period/), /has been told to end .* then it is killed/);
      await show(
        "kept.txt",
        await says("kept", /finalizers in the API, for \S+\n +example\.com\/keep: nothing/),
      );
      const text = await says("held", /clean-up, for \S+\n +the last try failed .*empty-dir\/data\/held/);
      await show("held.txt", text);
    } finally {
      await run("chattr", "-i", held);
    }
    await until("the one that was held goes", async () => (await get("held")) === undefined);
    await admin.patch(
      pods,
      { namespace: "default", name: "kept" },
      "merge",
      { metadata: { finalizers: [] } },
      {},
      signal,
    );
    for (const name of names) await until(`${name} goes`, async () => (await get(name)) === undefined);
    t.match(
      (await keelson("explain", "pod", "kept", "--control-socket", socket)).err,
      /no Pod "kept" is on node/,
    );
  });

  await t.test("EV8: a child process that the kernel kills for want of memory is told of", async (t) => {
    await create(
      podOf("greedy", {
        command: ["/bin/sh", "-c", "(sleep 1; tail /dev/zero) & while :; do sleep 0.1; done"],
        resources: { limits: { memory: "24Mi" }, requests: { memory: "24Mi" } },
      }),
    );
    const told = await until("its event", async () =>
      (await admin.list(events, { namespace: "default" }, signal)).items.find(
        ({ reason, involvedObject }) => reason === "OOMKilling" && involvedObject.name === "greedy",
      ),
    );
    t.match(
      told.message,
      /^The kernel killed process tail \(pid \d+\) of container main: the Pod's memory limit was reached\. The container runs on without it$/,
    );
    t.equal(told.involvedObject.fieldPath, "spec.containers{main}");
    t.match((await get("greedy"))?.status?.containerStatuses?.[0], { restartCount: 0, ready: true });
    await show("greedy.txt", await says("greedy", /OOMKilling: The kernel killed/));
    await remove("greedy");
  });

  await t.test("explain: the agent answers without the API, and says that it is away", async (t) => {
    await writeFile(
      `${folder}/manifests/static.yaml`,
      `apiVersion: v1\nkind: Pod\nmetadata: {name: static}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 1\n  containers:\n  - {name: main, image: "${image}", command: [/bin/sh, -c, "${forEver}"]}\n`,
    );
    await says("static", /Running, ready/);
    await control.stop();
    const text = await says("web", /the API\n +it is away/);
    await show("away.txt", text);
    t.match(text, /Running, ready since/);
    t.match(await says("static", /Running, ready/), /From +a static Pod/);
    await rm(`${folder}/manifests/static.yaml`);
    await until("it ends", async () => (await ask("static")) === "");
    t.pass();
  });

  stop.abort();
  await agent;
  t.equal(existsSync(socket), false, "the socket goes with the agent");
  await own.close();
  await admin.close();
  await removeCgroup(await findCgroups(), `/${path.basename(folder)}`);
});
