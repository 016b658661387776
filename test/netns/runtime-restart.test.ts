import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t, { type Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { noLog } from "#lib/log.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import type { AgentView } from "../../agent/model.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { agentFlags } from "../support/agent-program.ts";
import { testContainerd } from "../support/containerd.ts";
import { testDockerd } from "../support/dockerd.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxArchive, busyboxImage } from "../support/image-tar.ts";
import { until } from "../support/until.ts";

const image = "docker.io/keelson/busybox:1";
const isRoot = process.getuid?.() === 0;

interface Restartable {
  readonly directory: string;
  restart(meanwhile: () => Promise<void>): Promise<void>;
}

/** On the host's network: this is about the runtime, not about networks. */
const manifest = (name: string): string => `apiVersion: v1
kind: Pod
metadata: {name: ${name}}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: "${image}"
    command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    livenessProbe: {exec: {command: ["true"]}, periodSeconds: 1, failureThreshold: 1}
`;

async function story(t: Test, daemon: Restartable, runtime: Runtime, signal: AbortSignal): Promise<void> {
  const folder = daemon.directory;
  const file = (name: string): string => `${folder}/manifests/${name}.yaml`;
  await mkdir(`${folder}/manifests`);
  await writeFile(file("stays"), manifest("stays"));
  await writeFile(file("goes"), manifest("goes"));
  const stop = new AbortController();
  const started = Promise.withResolvers<AgentView>();
  const config = parseFlags("agent", flags, [...agentFlags(folder)]);
  const ports = { log: noLog, clock: systemClock, random: () => 0, client: undefined, runtime };
  const running = runAgent(config, { ...ports, ready: started.resolve }, stop.signal);
  running.catch(started.reject);
  const view = await started.promise;
  const pod = (name: string) => view.podByName("default", `${name}-node-a`);
  const isReady = (name: string): boolean => pod(name)?.pod.status?.containerStatuses?.[0]?.ready === true;
  await until("both run", () => isReady("stays") && isReady("goes"));
  const before = pod("stays")?.containers.get("main")?.id;
  await daemon.restart(async () => {
    await rm(file("goes"));
    await writeFile(file("comes"), manifest("comes"));
    await systemClock.sleep(1_500, signal); // long enough for probes and steps to find nobody
    t.equal(isReady("stays"), true, "a runtime that is away makes no Pod unready");
    t.notOk(view.healthy().ok, "and the node is not well");
  });
  await until("one came, one went", () => isReady("comes") && pod("goes") === undefined);
  t.equal(pod("stays")?.containers.get("main")?.id, before, "what ran runs on");
  t.equal(pod("stays")?.pod.status?.containerStatuses?.[0]?.restartCount, 0);
  t.equal((await runtime.listSandboxes({}, signal)).length, 2);
  await until("the node is well", () => view.healthy().ok);
  await rm(file("stays"));
  await rm(file("comes"));
  await until("nothing left", async () => (await runtime.listSandboxes({}, signal)).length === 0);
  stop.abort();
  await running;
  await runtime.close();
  await removeCgroup(await findCgroups(), `/${path.basename(folder)}`);
}

const forContainerd = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
t.test(
  "ML7: containerd is killed and comes back, and no Pod is the worse for it",
  { skip: !isRoot ? "needs root" : forContainerd !== undefined && `needs ${forContainerd}`, timeout: 90_000 },
  async (t) => {
    await using containerd = await testContainerd("restart");
    enterNetns(containerd.netns);
    const signal = AbortSignal.timeout(80_000);
    const runtime = await CriRuntime.connect(containerd.endpoint, signal);
    const channel = new Channel(containerd.endpoint, criCodec());
    await importImage(channel, busyboxImage(), image, signal);
    channel.close();
    await story(t, containerd, runtime, signal);
  },
);

const forDocker = ["/usr/sbin/dockerd", "/bin/busybox"].find((file) => !existsSync(file));
t.test(
  "ML7: dockerd with live-restore is stopped and comes back, and no Pod is the worse for it",
  { skip: !isRoot ? "needs root" : forDocker !== undefined && `needs ${forDocker}`, timeout: 90_000 },
  async (t) => {
    await using dockerd = await testDockerd("restartd", { liveRestore: true });
    const signal = AbortSignal.timeout(80_000);
    const docker = new Docker({ socketPath: dockerd.endpoint.replace("unix://", "") });
    for await (const _ of await docker.loadImage(Readable.from([busyboxArchive("keelson/busybox:1")])));
    const none: PodNetwork = {
      ready: async () => ({ ready: true }),
      add: async () => ({ ips: [] }),
      delete: async () => {},
      addresses: async () => [],
    };
    const runtime = await DockerRuntime.connect(dockerd.endpoint, none, signal);
    await story(t, dockerd, runtime, signal);
  },
);
