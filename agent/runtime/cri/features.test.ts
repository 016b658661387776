import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import type { PodSpec } from "#api/generated/kubernetes.ts";
import { type StandaloneAgent, standalone, until } from "../../agent-fixture.ts";
import { CriRuntime } from "./cri-runtime.ts";
import { at, type FakeCriFeatures, FakeCriServer } from "./fake-cri-server.ts";

const image = "keelson.test/app:1";
const model = "keelson.test/model:1";
const features: FakeCriFeatures = {
  handlers: { "": { recursiveReadOnlyMounts: true, userNamespaces: true } },
  supplementalGroupsPolicy: true,
  images: [image, model],
  mounts: { image: true, imageSubPath: true },
};
const older: FakeCriFeatures = {
  ...features,
  handlers: {},
  supplementalGroupsPolicy: false,
  mounts: { image: false, imageSubPath: false },
};

/** However slow the machine. */
const soon = (what: string, holds: () => boolean): Promise<void> => until(what, holds, 30_000);

interface Node {
  readonly agent: StandaloneAgent;
  readonly server: FakeCriServer;
  readonly folder: string;
}

/** An agent with these static Pods on a runtime that can do this. */
async function node(t: Test, can: FakeCriFeatures, specs: Readonly<Record<string, PodSpec>>): Promise<Node> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "agent-"));
  const server = await FakeCriServer.start(can);
  const runtime = await CriRuntime.connect(server.endpoint, AbortSignal.timeout(10_000));
  await mkdir(path.join(folder, "manifests"), { recursive: true });
  for (const [name, spec] of Object.entries(specs)) {
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec };
    await writeFile(path.join(folder, `manifests/${name}.yaml`), JSON.stringify(pod));
  }
  const agent = await standalone(runtime, folder);
  t.teardown(async () => {
    await agent.stop();
    await runtime.close();
    await server[Symbol.asyncDispose]();
    // What is written beside the end of the agent may come after it.
    await rm(folder, { recursive: true, force: true, maxRetries: 10 });
  });
  return { agent, server, folder };
}

const phaseOf = ({ agent }: Node, name: string): string | undefined =>
  agent.view.podByName("default", `${name}-node-a`)?.pod.status?.phase;
const sandboxOf = ({ server }: Node, name: string): unknown =>
  [...server.sandboxes.values()].find((one) => at(one.config, "metadata", "name") === `${name}-node-a`)
    ?.config;
const containerOf = ({ server }: Node, name: string): unknown =>
  [...server.containers.values()].find(
    (one) => at(one.config, "labels", "io.kubernetes.pod.name") === `${name}-node-a`,
  )?.config;
const namespaces = ["linux", "securityContext", "namespaceOptions", "usernsOptions"] as const;

t.test("SC6: Pods without the host's users get ids of their own, told of every mount", async (t) => {
  const spec: PodSpec = {
    hostUsers: false,
    terminationGracePeriodSeconds: 0,
    volumes: [{ name: "v", emptyDir: {} }],
    containers: [{ name: "main", image, volumeMounts: [{ name: "v", mountPath: "/v" }] }],
  };
  const plain: PodSpec = { containers: [{ name: "main", image }] };
  const it = await node(t, features, { one: spec, two: spec, plain });
  await soon("all run", () => ["one", "two", "plain"].every((name) => phaseOf(it, name) === "Running"));
  const firsts = ["one", "two"].map((name) => {
    const ids = at(sandboxOf(it, name), ...namespaces, "uids");
    t.same(ids, at(sandboxOf(it, name), ...namespaces, "gids"));
    t.same(at(containerOf(it, name), ...namespaces), at(sandboxOf(it, name), ...namespaces));
    const mounts = at(containerOf(it, name), "mounts");
    t.ok(Array.isArray(mounts) && mounts.length === 3, "the volume, /etc/hosts and the last words");
    for (const mount of Array.isArray(mounts) ? mounts : []) {
      t.same(at(mount, "uidMappings"), ids);
      t.same(at(mount, "gidMappings"), ids);
    }
    const [first] = Array.isArray(ids) ? ids : [];
    t.match(first, { containerId: 0, length: 65_536 });
    return Number(at(first, "hostId"));
  });
  t.same(
    firsts.toSorted((a, b) => a - b),
    [65_536, 131_072],
  );
  t.match(at(sandboxOf(it, "plain"), ...namespaces), { mode: 2, uids: [] }, "the host's own");
  const uid = it.agent.view.podByName("default", "one-node-a")?.uid ?? "";
  t.match(JSON.parse(await readFile(path.join(it.folder, "kubelet/pods", uid, "userns"), "utf8")), {
    uidMappings: [{ hostId: firsts[0] ?? 0 }],
  });
  await rm(path.join(it.folder, "manifests/one.yaml"));
  await soon("one is gone", () => it.agent.view.podByUid(uid) === undefined);
  const third = { apiVersion: "v1", kind: "Pod", metadata: { name: "three" }, spec };
  await writeFile(path.join(it.folder, "manifests/three.yaml"), JSON.stringify(third));
  await soon("three runs", () => phaseOf(it, "three") === "Running");
  const [again] = [at(sandboxOf(it, "three"), ...namespaces, "uids")].flat();
  t.equal(at(again, "hostId"), firsts[0], "what one had");
});

t.test("SC6: a runtime that does not tell of user namespaces is not asked for them", async (t) => {
  const it = await node(t, older, { one: { hostUsers: false, containers: [{ name: "main", image }] } });
  const said =
    'FailedCreatePodSandBox Failed to create pod sandbox: can\'t set `spec.hostUsers: false`, runtime does not support user namespaces: the handler "" is not known';
  await soon("it is refused", () => it.agent.events.includes(said));
  t.equal(it.server.sandboxes.size, 0);
});

t.test("SC1: Strict reaches a runtime that knows it, and is refused on one that does not", async (t) => {
  const spec: PodSpec = {
    securityContext: { runAsUser: 1_000, supplementalGroups: [7], supplementalGroupsPolicy: "Strict" },
    containers: [{ name: "main", image }],
  };
  const it = await node(t, features, { one: spec });
  await soon("it runs", () => phaseOf(it, "one") === "Running");
  for (const config of [sandboxOf(it, "one"), containerOf(it, "one")])
    t.match(at(config, "linux", "securityContext"), {
      supplementalGroupsPolicy: 1,
      supplementalGroups: [7],
    });
  const other = await node(t, older, { one: spec });
  await soon("it is refused", () => phaseOf(other, "one") === "Failed");
  t.equal(
    other.agent.view.podByName("default", "one-node-a")?.pod.status?.reason,
    "SupplementalGroupsPolicyNotSupported",
  );
});

t.test("VO12: recursive read-only goes by what the handler can do, and its status tells", async (t) => {
  const mount = (recursiveReadOnly: string): PodSpec => ({
    volumes: [{ name: "v", emptyDir: {} }],
    containers: [
      {
        name: "main",
        image,
        volumeMounts: [{ name: "v", mountPath: "/v", readOnly: true, recursiveReadOnly }],
      },
    ],
  });
  const specs = { enabled: mount("Enabled"), possible: mount("IfPossible"), disabled: mount("Disabled") };
  const statusOf = ({ agent }: Node, name: string): unknown =>
    agent.view.podByName("default", `${name}-node-a`)?.pod.status?.containerStatuses?.[0];
  const told = (is: string): object => ({
    volumeMounts: [{ name: "v", readOnly: true, recursiveReadOnly: is }],
  });
  const it = await node(t, features, specs);
  await soon("all run", () => Object.keys(specs).every((name) => phaseOf(it, name) === "Running"));
  t.match(statusOf(it, "enabled"), told("Enabled"));
  t.match(statusOf(it, "possible"), told("Enabled"));
  t.match(statusOf(it, "disabled"), told("Disabled"));
  const other = await node(t, older, specs);
  await soon("two run", () => ["possible", "disabled"].every((name) => phaseOf(other, name) === "Running"));
  t.match(statusOf(other, "possible"), told("Disabled"));
  await soon("one is refused", () => JSON.stringify(statusOf(other, "enabled")).includes("ConfigError"));
  t.match(statusOf(other, "enabled"), {
    state: {
      waiting: {
        reason: "CreateContainerConfigError",
        message: 'volume "v" requested recursive read-only mode, but it is not supported by the runtime',
      },
    },
  });
});

t.test("VO16: a runtime that knows image volumes mounts what was pulled, or a part of it", async (t) => {
  const spec = (subPath: string, reference = model): PodSpec => ({
    volumes: [{ name: "m", image: { reference, pullPolicy: "IfNotPresent" } }],
    containers: [
      {
        name: "main",
        image,
        volumeMounts: [{ name: "m", mountPath: "/m", ...(subPath === "" ? {} : { subPath }) }],
      },
    ],
  });
  const specs = { whole: spec(""), part: spec("weights"), none: spec("", "keelson.test/none:1") };
  const it = await node(t, features, specs);
  await soon("two run", () => ["whole", "part"].every((name) => phaseOf(it, name) === "Running"));
  const mountOf = (name: string): unknown => {
    const mounts = at(containerOf(it, name), "mounts");
    return Array.isArray(mounts) ? mounts.find((one) => at(one, "containerPath") === "/m") : undefined;
  };
  t.match(mountOf("whole"), {
    hostPath: "",
    readonly: true,
    image: { image: `sha256:${model}` },
    imageSubPath: "",
  });
  t.match(mountOf("part"), { image: { image: `sha256:${model}` }, imageSubPath: "weights" });
  const waiting = ({ agent }: Node, name: string): unknown =>
    agent.view.podByName("default", `${name}-node-a`)?.pod.status?.containerStatuses?.[0]?.state?.waiting;
  await soon("one cannot be pulled", () => JSON.stringify(waiting(it, "none") ?? "").includes("Pull"));
  t.match(waiting(it, "none"), { reason: /^(ErrImagePull|ImagePullBackOff)$/, message: /none:1/ });
  const cases = [
    { name: "whole", mounts: { image: false, imageSubPath: false }, says: /cannot mount images/ },
    { name: "part", mounts: { image: true, imageSubPath: false }, says: /cannot mount a part of an image/ },
  ] as const;
  for (const { name, mounts, says } of cases) {
    const other = await node(t, { ...features, mounts }, { [name]: specs[name] });
    await soon("it is refused", () =>
      JSON.stringify(waiting(other, name) ?? "").includes("CreateContainerError"),
    );
    t.match(waiting(other, name), { reason: "CreateContainerError", message: says });
    t.equal(other.server.containers.size, 0, "nothing is left of it");
  }
});
