import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t, { type Test } from "tap";
import type { PodSpec } from "#api/generated/kubernetes.ts";
import { systemClock } from "#lib/clock.ts";
import { parseFlags } from "#lib/flags.ts";
import { jsonLog, noLog } from "#lib/log.ts";
import { findCgroups, removeCgroup } from "#linux/cgroup.ts";
import { flags } from "../../agent/config.ts";
import { runAgent } from "../../agent/main.ts";
import type { AgentView } from "../../agent/model.ts";
import { containerConfig } from "../../agent/plan/container-config.ts";
import { sandboxConfig } from "../../agent/plan/sandbox-config.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import { type BuiltImage, dockerArchive } from "../../agent/runtime/image-tar.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { testContainerd, type TestRuntimes } from "../support/containerd.ts";
import { testDockerd } from "../support/dockerd.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { otherRunc } from "../support/runc.ts";
import { run } from "../support/run-command.ts";
import {
  profileWithout,
  type SecurityCase,
  securityCases,
  securityUsers,
} from "../support/security-cases.ts";

t.setTimeout(300_000);
const log = process.env["AGENT_LOG"] === undefined ? noLog : jsonLog("agent", "debug");
const images = {
  root: "docker.io/keelson/busybox:1",
  number: "docker.io/keelson/user-number:1",
  name: "docker.io/keelson/user-name:1",
};

function built(): readonly (readonly [string, BuiltImage])[] {
  return [
    [images.root, busyboxImage(securityUsers)],
    [images.number, busyboxImage({ ...securityUsers, user: "1000" })],
    [images.name, busyboxImage({ ...securityUsers, user: "ada" })],
  ];
}

/** A runtime with the test images, in a machine of its own. */
interface Ready extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly directory: string;
  readonly netns: string;
}

/** Privileged containers ask for everything: the usual runtime gives what this machine has. */
async function able(directory: string): Promise<TestRuntimes> {
  const handlers = { able: await otherRunc(directory, "able"), other: await otherRunc(directory, "other") };
  return { handlers, usual: "able" };
}

async function onContainerd(signal: AbortSignal): Promise<Ready> {
  const containerd = await testContainerd("security", able);
  enterNetns(containerd.netns);
  const runtime = await CriRuntime.connect(containerd.endpoint, signal);
  const channel = new Channel(containerd.endpoint, criCodec());
  for (const [name, image] of built()) await importImage(channel, image, name, signal);
  channel.close();
  return { ...containerd, runtime, [Symbol.asyncDispose]: () => containerd[Symbol.asyncDispose]() };
}

async function onDocker(signal: AbortSignal): Promise<Ready> {
  const dockerd = await testDockerd("securityd", { runtimes: able });
  const docker = new Docker({ socketPath: dockerd.endpoint.replace("unix://", "") });
  for (const [name, image] of built())
    for await (const _ of await docker.loadImage(Readable.from([dockerArchive(image, name)])));
  const runtime = await DockerRuntime.connect(dockerd.endpoint, loopbackNetwork(), signal);
  return { ...dockerd, runtime, [Symbol.asyncDispose]: () => dockerd[Symbol.asyncDispose]() };
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
    delete: async ({ sandboxId }) => {
      attached.delete(sandboxId);
    },
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
  t.test(`everything of a security context reaches the process on ${name}`, { skip }, async (t) => {
    const signal = AbortSignal.timeout(180_000);
    await using ready = await open(signal);
    await securityContract(t, ready, signal);
  });
}

/** Every case as a static Pod of one agent, all at once; then what each has said. */
async function securityContract(
  t: Test,
  { runtime, directory: folder, netns }: Ready,
  signal: AbortSignal,
): Promise<void> {
  const cgroupRoot = `/${path.basename(folder)}`;
  const shared = `${folder}/shared`;
  for (const name of ["manifests", "kubelet/seccomp", "shared"])
    await mkdir(`${folder}/${name}`, { recursive: true });
  await run("mount", "--bind", shared, shared);
  await run("mount", "--make-rshared", shared);
  for (const call of ["mkdir", "chmod"])
    await writeFile(
      `${folder}/kubelet/seccomp/no-${call}.json`,
      profileWithout(call, `f${call}at`, `${call}at`),
    );
  const waitFor = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
    while (!(await holds())) {
      if (signal.aborted) throw new Error(`it did not come to this: ${what}`);
      await systemClock.sleep(50, signal).catch(() => undefined);
    }
  };
  const cases = securityCases({ images, netns, shared, waitFor, imageVolumes: runtime.name === "docker" });
  for (const [place, one] of cases.entries())
    await writeFile(`${folder}/manifests/case-${place}.yaml`, JSON.stringify(manifest(`case-${place}`, one)));
  const config = parseFlags("agent", flags, [
    "--hostname-override=node-a",
    "--fail-swap-on=false",
    "--node-ip=192.0.2.1",
    `--root-dir=${folder}/kubelet`,
    `--pod-manifest-path=${folder}/manifests`,
    `--pod-logs-dir=${folder}/logs`,
    `--container-logs-dir=${folder}/links`,
    `--cgroup-root=${cgroupRoot}`,
    "--pod-max-pids=64",
    "--allowed-unsafe-sysctls=kernel.msg*",
    "--healthz-port=0",
  ]);
  const stop = new AbortController();
  const started = Promise.withResolvers<AgentView>();
  const running = runAgent(
    config,
    { log, clock: systemClock, random: () => 0, client: undefined, runtime, ready: started.resolve },
    stop.signal,
  );
  running.catch(started.reject);
  const view = await started.promise;
  for (const [place, one] of cases.entries()) {
    await t.test(one.name, async (t) => {
      await one.meanwhile?.(() => view.podByName("default", `case-${place}-node-a`)?.cgroup ?? "");
      let told: Told = { said: "", refused: "" };
      await waitFor(one.name, () => {
        told = toldBy(view, `case-${place}-node-a`);
        return told.said !== "" || told.refused !== "";
      });
      if (one.refused !== undefined) t.match(told.refused, one.refused, told.said);
      else t.equal(told.refused, "");
      for (const says of one.says ?? []) t.match(told.said, says);
      for (const says of one.notSays ?? []) t.notMatch(told.said, says);
    });
  }
  stop.abort();
  await running;
  await handlers(t, runtime, folder, signal);
  for (const sandbox of await runtime.listSandboxes({}, signal)) {
    await runtime.stopSandbox(sandbox.id, signal);
    await runtime.removeSandbox(sandbox.id, signal);
  }
  await runtime.close();
  await removeCgroup(await findCgroups(), cgroupRoot);
}

/** A handler is one of containerd's runtimes, or one that Docker was told of with --add-runtime. */
async function handlers(t: Test, runtime: Runtime, folder: string, signal: AbortSignal): Promise<void> {
  await t.test("SC8: all of a Pod runs by the handler that is named, and by no other", async (t) => {
    const container = { name: "main", image: images.root, command: ["/bin/sleep", "3613"] };
    const pod = {
      metadata: { name: "h", namespace: "default", uid: "uid-h" },
      spec: { containers: [container] },
    };
    const sandbox = sandboxConfig(pod, {
      attempt: 0,
      hostname: "h",
      logDirectory: `${folder}/logs/h`,
      dns: { servers: [], searches: [], options: [] },
      cgroupParent: "",
      userNamespace: undefined,
    });
    await t.rejects(runtime.runSandbox(sandbox, "none", signal), { name: "RuntimeError", message: /none/ });
    const usual = await runtime.runSandbox(sandbox, "", signal);
    const sandboxId = await runtime.runSandbox({ ...sandbox, attempt: 1 }, "other", signal);
    const config = containerConfig(
      pod,
      { kind: "app", container },
      {
        attempt: 0,
        backoffMs: 0,
        imageRef: images.root,
        env: [],
        sources: [],
        recursiveReadOnlyMounts: false,
        devices: [],
        hostsFile: "",
        terminationFile: "",
        resources: {},
        imageUser: {},
        seccompDefault: false,
        seccompRoot: "",
        pid: { mode: "container" },
      },
    );
    await mkdir(`${folder}/logs/h/main`, { recursive: true });
    const id = await runtime.createContainer(sandboxId, config, { ...sandbox, attempt: 1 }, signal);
    await runtime.startContainer(id, signal);
    const calls = await readFile(`${folder}/other.calls`, "utf8");
    t.match(calls, new RegExp(`create .*${sandboxId}`));
    t.match(calls, new RegExp(`create .*${id}`));
    t.notMatch(calls, new RegExp(usual));
    const found = await runtime.listSandboxes({ podUid: "uid-h" }, signal);
    t.same(
      new Map(found.map((one) => [one.id, one.runtimeHandler])),
      new Map([
        [usual, ""],
        [sandboxId, "other"],
      ]),
    );
  });
}

/** "" for what has not been told. */
interface Told {
  readonly said: string;
  readonly refused: string;
}

/** What the case's container said when it ended, or why it or its Pod was refused. */
function toldBy(view: AgentView, name: string): Told {
  const status = view.podByName("default", name)?.pod.status;
  if (status?.phase === "Failed" && status.reason !== undefined)
    return { said: "", refused: `${status.reason} ${status.message}` };
  const main = status?.containerStatuses?.find((one) => one.name === "main")?.state;
  if (main?.terminated !== undefined) return { said: main.terminated.message ?? "nothing", refused: "" };
  return {
    said: "",
    refused: /Error$|^ErrImage/.test(main?.waiting?.reason ?? "")
      ? `${main?.waiting?.reason} ${main?.waiting?.message}`
      : "",
  };
}

function manifest(name: string, { spec = {}, main = {}, annotations = {}, script }: SecurityCase): object {
  const whole: PodSpec = {
    restartPolicy: "Never",
    terminationGracePeriodSeconds: 1,
    ...spec,
    initContainers: (spec.initContainers ?? []).map((one) => ({ image: images.root, ...one })),
    containers: [
      {
        name: "main",
        image: images.root,
        command: ["/bin/sh", "-c", `{ ${script}; } >/dev/termination-log 2>&1`],
        ...main,
      },
      ...(spec.containers ?? []).map((one) => ({ image: images.root, ...one })),
    ],
  };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, annotations }, spec: whole };
}
