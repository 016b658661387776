import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t, { type Test } from "tap";
import { lineText } from "../../agent/apply/termination-message.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import type { AgentPod, AgentView } from "../../agent/model.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog, noLog } from "#lib/log.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { testContainerd } from "../support/containerd.ts";
import { testDockerd } from "../support/dockerd.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxArchive, busyboxImage } from "../support/image-tar.ts";
import { run } from "../support/run-command.ts";
import { until } from "../support/until.ts";

t.setTimeout(300_000);
const image = "docker.io/keelson/busybox:1";
const log = process.env["AGENT_LOG"] === undefined ? noLog : jsonLog("agent", "debug");

const manifest = `apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 2
  hostAliases: [{ip: 192.0.2.7, hostnames: [other]}]
  volumes:
  - {name: data, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: vars, emptyDir: {}}
  - name: about
    downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}
  initContainers:
  - name: init
    image: "${image}"
    command: [/bin/sh, -c, "mkdir /data/sub; echo made > /data/sub/file; echo \\"TOKEN='made by init'\\" > /vars/app.env"]
    volumeMounts: [{name: data, mountPath: /data}, {name: vars, mountPath: /vars}]
  containers:
  - name: web
    image: "${image}"
    command: [/bin/sh, -c, "trap 'exit 0' TERM; cat /about/labels /sub/file /etc/hosts; echo token=$TOKEN host=$HOSTNAME path=$PATH; echo $(IP); touch /tmp/live; while :; do sleep 0.1; done"]
    env:
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: TOKEN, valueFrom: {fileKeyRef: {volumeName: vars, path: app.env, key: TOKEN}}}
    resources: {requests: {cpu: 100m, memory: 16Mi}, limits: {cpu: 200m, memory: 64Mi}}
    volumeMounts:
    - {name: about, mountPath: /about}
    - {name: data, mountPath: /sub, subPath: sub}
    livenessProbe: {exec: {command: [/bin/cat, /tmp/live]}, periodSeconds: 1, failureThreshold: 1}
    lifecycle: {preStop: {exec: {command: [/bin/sh, -c, "echo bye > /sub/bye"]}}}
  - name: crash
    image: "${image}"
    command: [/bin/sh, -c, "echo last words > /dev/termination-log; exit 3"]
`;

/** A runtime with the test image, in a machine of its own. */
interface Ready extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly directory: string;
  readonly ip: RegExp;
}

async function onContainerd(signal: AbortSignal): Promise<Ready> {
  const containerd = await testContainerd("agent");
  enterNetns(containerd.netns);
  const runtime = await CriRuntime.connect(containerd.endpoint, signal);
  const channel = new Channel(containerd.endpoint, criCodec());
  await importImage(channel, busyboxImage(), image, signal);
  channel.close();
  return {
    ...containerd,
    runtime,
    ip: /^10\.88\.7\./,
    [Symbol.asyncDispose]: () => containerd[Symbol.asyncDispose](),
  };
}

async function onDocker(signal: AbortSignal): Promise<Ready> {
  const dockerd = await testDockerd("agentd");
  const docker = new Docker({ socketPath: dockerd.endpoint.replace("unix://", "") });
  for await (const _ of await docker.loadImage(Readable.from([busyboxArchive("keelson/busybox:1")])));
  const runtime = await DockerRuntime.connect(dockerd.endpoint, loopbackNetwork(), signal);
  return {
    ...dockerd,
    runtime,
    ip: /^127\.0\.0\.1$/,
    [Symbol.asyncDispose]: () => dockerd[Symbol.asyncDispose](),
  };
}

/** A network that only brings the loopback up. */
function loopbackNetwork(): PodNetwork {
  const attached = new Set<string>();
  return {
    ready: async () => ({ ready: true }),
    add: async ({ sandboxId, netnsPath }) => {
      await run("nsenter", `--net=${netnsPath}`, "ip", "link", "set", "lo", "up");
      attached.add(sandboxId);
      return { ips: ["127.0.0.1"] };
    },
    delete: async ({ sandboxId }) => void attached.delete(sandboxId),
    addresses: async (sandboxId) => (attached.has(sandboxId) ? ["127.0.0.1"] : []),
  };
}

const runtimes = [
  {
    name: "containerd",
    needs: ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"],
    open: onContainerd,
  },
  { name: "Docker", needs: ["/usr/sbin/dockerd", "/bin/busybox"], open: onDocker },
];
for (const { name, needs, open } of runtimes) {
  const missing = needs.find((file) => !existsSync(file));
  const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
  t.test(`a static Pod runs on a real ${name} and leaves nothing`, { skip, timeout: 300_000 }, async (t) => {
    const signal = AbortSignal.timeout(120_000);
    await using ready = await open(signal);
    await story(t, ready, signal);
  });
}

async function story(t: Test, { runtime, directory: folder, ip }: Ready, signal: AbortSignal): Promise<void> {
  const cgroupRoot = `/${path.basename(folder)}`;
  await mkdir(`${folder}/manifests`);
  const config = parseFlags("agent", flags, [
    "--hostname-override=node-a",
    "--fail-swap-on=false",
    "--node-ip=192.0.2.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-manifest-path=${folder}/manifests`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    `--cgroup-root=${cgroupRoot}`,
    "--healthz-port=0",
  ]);
  const start = async (): Promise<{ view: AgentView; stop: () => Promise<void> }> => {
    const stop = new AbortController();
    const started = Promise.withResolvers<AgentView>();
    const running = runAgent(
      config,
      { log, clock: systemClock, random: () => 0, client: undefined, runtime, ready: started.resolve },
      stop.signal,
    );
    running.catch(started.reject);
    const view = await started.promise;
    return {
      view,
      stop: async () => {
        stop.abort();
        await running;
      },
    };
  };
  await writeFile(`${folder}/manifests/web.yaml`, manifest);
  const agent = await start();
  const pod = (): AgentPod | undefined => agent.view.podByName("default", "web-node-a");
  const statusOf = (name: string) => pod()?.pod.status?.containerStatuses?.find((one) => one.name === name);
  await until("web runs", () => statusOf("web")?.state?.running !== undefined);
  t.match(pod()?.pod.status?.podIP ?? "", ip);
  const log0 = (): string => readFileSync(pod()?.containers.get("web")?.logPath ?? "", "utf8");
  await until("its log is there", () => log0().includes(pod()?.pod.status?.podIP ?? "-"));
  const said = readFileSync(
    `${folder}/links/${readdirSync(`${folder}/links`).find((name) => name.includes("_web-")) ?? ""}`,
    "utf8",
  )
    .split("\n")
    .map(lineText)
    .join("");
  t.match(said, /app="web"/, "the downward API volume");
  t.match(said, /made/, "the subPath of a tmpfs emptyDir");
  t.match(said, /192\.0\.2\.7\tother/, "hostAliases in /etc/hosts");
  t.match(said, /token=made by init /, "EN1: a variable from a file that an init container made");
  t.match(said, / host=web-node-a /, "EN5: the runtime tells the Pod's name");
  t.match(said, / path=\/bin:\/usr\/bin$/m, "EN5: the image's own variables are there");
  await until("crash backs off", () => statusOf("crash")?.state?.waiting?.reason === "CrashLoopBackOff");
  t.equal(statusOf("crash")?.lastState?.terminated?.message, "last words\n");
  t.equal(statusOf("crash")?.lastState?.terminated?.exitCode, 3);
  t.equal(pod()?.pod.status?.qosClass, "Burstable");
  const cgroups = await findCgroups();
  const shares = path.join(
    cgroups.controllers.get("cpu") ?? "",
    cgroupRoot,
    "kubepods/burstable",
    `pod${pod()?.uid}`,
  );
  t.ok(existsSync(shares), `the Pod has a cgroup: ${shares}`);

  const webId = pod()?.containers.get("web")?.id ?? "";
  await runtime.execSync(webId, ["/bin/rm", "/tmp/live"], { timeoutMs: 5_000, maxOutputBytes: 100 }, signal);
  await until(
    "liveness restarts web",
    () => (statusOf("web")?.restartCount ?? 0) >= 1 && statusOf("web")?.state?.running !== undefined,
  );

  await agent.stop();
  const second = await start();
  const now = (): string | undefined =>
    second.view.podByName("default", "web-node-a")?.containers.get("web")?.id;
  await until("the next agent knows it", () => now() !== undefined);
  t.not(now(), webId);
  const keptId = now();
  await systemClock.sleep(1_500, signal);
  t.equal(now(), keptId, "and has restarted nothing");

  await rm(`${folder}/manifests/web.yaml`);
  await until("nothing left", async () => (await runtime.listSandboxes({}, signal)).length === 0);
  await until("no directory left", () => readdirSync(`${folder}/kubelet/pods`).length === 0);
  t.notOk(existsSync(shares), "its cgroup is gone");
  await second.stop();
  await runtime.close();
  await removeCgroup(cgroups, cgroupRoot);
}
