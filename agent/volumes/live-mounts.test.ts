import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants, existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { bindMount, mountPointsBelow, mountTmpfs, unmountBelow } from "#linux/mount.ts";
import { standalone, until } from "../agent-fixture.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { emptyDirPlugin } from "./plugins/empty-dir.ts";
import { hostPathPlugin } from "./plugins/host-path.ts";
import { Volumes } from "./volumes.ts";

const skip = process.getuid?.() !== 0 && "needs root";
const { signal } = new AbortController();

async function scene(t: Test): Promise<string> {
  const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "live-mounts-")));
  t.teardown(async () => {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  });
  return folder;
}

function volumesIn(rootDir: string): Volumes {
  return new Volumes({
    rootDir,
    plugins: [emptyDirPlugin, hostPathPlugin],
    client: undefined,
    nodeName: "node-a",
    nodeLabels: () => ({ zone: "a" }),
    clock: new FakeClock(),
    log: noLog,
    inUseChanged: () => undefined,
    warn: () => undefined,
    changed: () => undefined,
  });
}

/** A program that has its working directory there, and so keeps the mount. */
async function user(directory: string): Promise<AsyncDisposable> {
  const child = spawn("sleep", ["300"], { cwd: directory, stdio: "ignore" });
  await once(child, "spawn");
  return {
    [Symbol.asyncDispose]: async () => {
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    },
  };
}

t.test(
  "ML5: what an agent that died has left is taken down, and nothing is deleted through it",
  { skip },
  async (t) => {
    const folder = await scene(t);
    await mkdir(`${folder}/disk/sub`, { recursive: true });
    await writeFile(`${folder}/disk/sub/file`, "the node's own");
    await mkdir(`${folder}/data`);
    await symlink("data", `${folder}/kubelet`); // the kernel's table of mounts does not know this name
    const pod = `${folder}/kubelet/pods/u1`;
    const tmpfs = `${pod}/volumes/kubernetes.io~empty-dir/mem`;
    const unknown = `${pod}/volumes/example.com~gone/v`;
    const subPath = `${pod}/volume-subpaths/disk/web/0`;
    for (const place of [tmpfs, unknown, subPath]) await mkdir(place, { recursive: true });
    mountTmpfs(tmpfs, "mode=0777");
    bindMount(`${folder}/disk`, unknown);
    bindMount(`${folder}/disk/sub`, subPath);
    t.equal((await mountPointsBelow(pod)).length, 3);
    await volumesIn(`${folder}/kubelet`).remove("u1", signal);
    t.same(await mountPointsBelow(pod), []);
    t.notOk(existsSync(pod));
    t.equal(await readFile(`${folder}/disk/sub/file`, "utf8"), "the node's own");
  },
);

t.test("ML5: a link that is mounted is taken down itself, and not what it leads to", { skip }, async (t) => {
  const folder = await scene(t);
  for (const name of ["other", "pod"]) await mkdir(`${folder}/${name}`);
  mountTmpfs(`${folder}/other`, "size=64k");
  await symlink(`${folder}/other`, `${folder}/link`);
  await writeFile(`${folder}/pod/target`, "");
  // As a subPath was bound once: the handle is the link's own.
  await using link = await open(`${folder}/link`, 0o10000000 | constants.O_NOFOLLOW);
  bindMount(`/proc/self/fd/${link.fd}`, `${folder}/pod/target`);
  t.equal((await mountPointsBelow(`${folder}/pod`)).length, 1);
  await unmountBelow(`${folder}/pod`);
  t.same(await mountPointsBelow(`${folder}/pod`), []);
  t.equal((await mountPointsBelow(`${folder}/other`)).length, 1);
});

t.test("ML5: a mount that is in use stays with all that is in it, until it is not", { skip }, async (t) => {
  const folder = await scene(t);
  const place = `${folder}/pods/u1/volumes/kubernetes.io~empty-dir/mem`;
  const other = `${folder}/pods/u1/volumes/kubernetes.io~empty-dir/other`;
  for (const directory of [place, other]) await mkdir(directory, { recursive: true });
  mountTmpfs(place, "mode=0777");
  await writeFile(`${place}/file`, "still here");
  const volumes = volumesIn(folder);
  {
    await using _ = await user(place);
    for (const take of [
      () => volumes.tearDown("u1", signal),
      () => volumes.remove("u1", signal),
      () => volumesIn(folder).remove("u1", signal),
    ]) {
      await t.rejects(take(), { message: `unmount "${place}": EBUSY` });
      t.equal(await readFile(`${place}/file`, "utf8"), "still here");
    }
    t.notOk(existsSync(other), "the other volumes of the Pod are gone");
  }
  await volumes.remove("u1", signal);
  t.same(await readdir(`${folder}/pods`), []);
});

t.test(
  "ML5: an agent finds what one that died has left of Pods nobody knows",
  { skip, timeout: 60_000 },
  async (t) => {
    const folder = await scene(t);
    await mkdir(`${folder}/disk`);
    await writeFile(`${folder}/disk/file`, "the node's own");
    const pods = `${folder}/kubelet/pods`;
    const [local, busy] = ["local-volume/pv", "empty-dir/mem"].map(
      (name) => `${pods}/u1/volumes/kubernetes.io~${name}`,
    );
    if (local === undefined || busy === undefined) throw new Error("no places");
    for (const place of [local, busy]) await mkdir(place, { recursive: true });
    bindMount(`${folder}/disk`, local);
    mountTmpfs(busy, "mode=0777");
    await writeFile(`${busy}/file`, "still here");
    const user1 = await user(busy);
    const agent = await standalone(new FakeRuntime(systemClock), folder, 0, ["--sync-frequency=1s"]);
    t.teardown(() => agent.stop());
    await until("the other volume is gone", async () => (await mountPointsBelow(local)).length === 0, 30_000);
    t.equal(await readFile(`${busy}/file`, "utf8"), "still here", "a mount in use is left alone");
    await user1[Symbol.asyncDispose]();
    await until("all is gone", async () => (await readdir(pods)).length === 0, 30_000);
    t.equal(await readFile(`${folder}/disk/file`, "utf8"), "the node's own");
  },
);

t.test(
  "ML5: an agent says which mount it cannot take away, and goes on trying",
  { skip, timeout: 60_000 },
  async (t) => {
    const folder = await scene(t);
    const runtime = new FakeRuntime(systemClock);
    runtime.addImage("busybox", { entrypoint: ["sleep", "1000"] });
    const agent = await standalone(runtime, folder);
    t.teardown(() => agent.stop());
    const manifest = `${folder}/manifests/web.yaml`;
    await writeFile(
      manifest,
      `apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: mem, emptyDir: {medium: Memory}}]
  containers: [{name: web, image: busybox, volumeMounts: [{name: mem, mountPath: /mem}]}]
`,
    );
    const pod = () => agent.view.podByName("default", "web-node-a");
    await until(
      "it runs",
      () => pod()?.pod.status?.containerStatuses?.[0]?.state?.running !== undefined,
      30_000,
    );
    const [mounted = ""] = await mountPointsBelow(`${folder}/kubelet/pods`);
    await writeFile(`${mounted}/file`, "still here");
    {
      await using _ = await user(mounted);
      await rm(manifest);
      const said = `FailedSync error syncing pod: unmount "${mounted}": EBUSY`;
      await until("it says why", () => agent.events.includes(said), 30_000);
      t.equal(agent.events.filter((event) => event === said).length, 1, "said once");
      t.equal(await readFile(`${mounted}/file`, "utf8"), "still here");
    }
    await until(
      "it goes once it can",
      async () => (await readdir(`${folder}/kubelet/pods`)).length === 0,
      30_000,
    );
  },
);
