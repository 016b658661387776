import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import type { ContainerStatus } from "../../agent/runtime/runtime.ts";
import type { AgentProgram } from "../support/agent-program.ts";
import { testContainerd } from "../support/containerd.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { run } from "../support/run-command.ts";

const missing = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "docker.io/keelson/busybox:1";

/** Each container writes a line when it begins; the data is on the node, so that it outlives the Pod. */
const manifest = (data: string): string => `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: data, hostPath: {path: ${data}}}, {name: fast, emptyDir: {medium: Memory}}]
  initContainers:
  - {name: init, image: "${image}", command: [sh, -c, "echo init >> /data/began"], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: side, image: "${image}", restartPolicy: Always, command: [sh, -c, "echo side >> /data/began; trap 'exit 0' TERM; while :; do sleep 0.1; done"], volumeMounts: [{name: data, mountPath: /data}]}
  containers:
  - name: web
    image: "${image}"
    command: [sh, -c, "echo web >> /data/began; trap 'exit 0' TERM; while :; do sleep 0.1; done"]
    resources: {requests: {cpu: 10m, memory: 16Mi}}
    volumeMounts: [{name: data, mountPath: /data}, {name: fast, mountPath: /fast}]
`;

/** The same numbers from the same seed. @see Numerical Recipes' linear congruential generator. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

t.test(
  "ML6: an agent that is killed again and again still runs a Pod once, and leaves nothing of it",
  { skip, timeout: 120_000 },
  async (t) => {
    await using containerd = await testContainerd("kill");
    enterNetns(containerd.netns);
    const signal = AbortSignal.timeout(110_000);
    const runtime = await CriRuntime.connect(containerd.endpoint, signal);
    const channel = new Channel(containerd.endpoint, criCodec());
    await importImage(channel, busyboxImage(), image, signal);
    channel.close();
    const folder = containerd.directory;
    const data = `${folder}/data`;
    await mkdir(`${folder}/manifests`);
    await mkdir(data);
    const file = `${folder}/manifests/web.yaml`;
    const began = (): string => (existsSync(`${data}/began`) ? readFileSync(`${data}/began`, "utf8") : "");
    const random = numbers(20_261_128);
    let deaths = 0;

    /** Agents that die one after another, until what is wished for holds with the last. */
    const killUntil = async (holds: () => Promise<boolean>): Promise<void> => {
      while (!(await holds())) {
        const dieWhen = (["before", "during", "after"] as const)[Math.floor(random() * 3)] ?? "after";
        // One that dies before its first change would change nothing for ever.
        const dieAt = 1 + Math.floor(random() * 2) + (dieWhen === "before" ? 1 : 0);
        const given: AgentProgram = { endpoint: containerd.endpoint, folder, dieAt, dieWhen };
        const child = fork(path.join(import.meta.dirname, "../support/agent-program.ts"), [
          JSON.stringify(given),
        ]);
        const ended = once(child, "exit");
        let isOver = false;
        void ended.then(() => {
          isOver = true;
        });
        while (!isOver && !(await holds())) await delay(50, undefined, { signal });
        if (isOver) deaths += 1;
        child.kill("SIGKILL");
        await ended;
      }
    };
    const podCgroups = async (): Promise<readonly string[]> =>
      (
        await run(
          "find",
          "/sys/fs/cgroup",
          // Groups come and go while it looks.
          "-ignore_readdir_race",
          "-type",
          "d",
          "-path",
          `*/${path.basename(folder)}/kubepods*/pod*`,
        )
      )
        .split("\n")
        .filter((line) => line !== "");
    /** Those that began: a death can leave a container that was never started, or whose start containerd gave up. */
    const beganContainers = async (): Promise<readonly ContainerStatus[]> =>
      (await runtime.listContainers({}, signal)).filter(
        ({ state, reason }) => state !== "created" && reason !== "StartError",
      );
    const isRunning = async (): Promise<boolean> => {
      const states = new Map((await beganContainers()).map(({ name, state }) => [name, state]));
      return (
        states.get("init") === "exited" && ["web", "side"].every((name) => states.get(name) === "running")
      );
    };
    await writeFile(file, manifest(data));
    await killUntil(isRunning);
    await delay(300); // a second start would have written by now
    t.same(began().trim().split("\n").toSorted(), ["init", "side", "web"], "each ran once");
    t.same((await beganContainers()).map(({ name }) => name).toSorted(), ["init", "side", "web"]);
    t.equal((await runtime.listSandboxes({}, signal)).length, 1);
    t.not((await podCgroups()).length, 0, "it has cgroups");
    const atRunning = deaths;
    t.ok(atRunning >= 4, `${atRunning} deaths on the way up`);

    await rm(file);
    const leftovers = async (): Promise<readonly string[]> => [
      ...(await runtime.listSandboxes({}, signal)).map(({ id }) => `sandbox ${id}`),
      ...(await runtime.listContainers({}, signal)).map(({ id }) => `container ${id}`),
      ...(await podCgroups()),
      ...["kubelet/pods", "logs", "links"].flatMap((place) => readdirSync(`${folder}/${place}`)),
      ...readFileSync("/proc/mounts", "utf8")
        .split("\n")
        .filter((line) => line.includes(`${folder}/kubelet`)),
      ...readdirSync(`${folder}/ipam/test`).filter((name) => /^\d/.test(name)),
    ];
    await killUntil(async () => (await leftovers()).length === 0);
    t.ok(deaths - atRunning >= 3, `${deaths - atRunning} deaths on the way down`);
    t.equal(began().trim().split("\n").length, 3, "nothing began again");
    await runtime.close();
    await removeCgroup(await findCgroups(), `/${path.basename(folder)}`);
  },
);
