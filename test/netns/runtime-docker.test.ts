import { existsSync } from "node:fs";
import { readdir, realpath, rm, stat } from "node:fs/promises";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t, { type Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { runtimeContract } from "../../agent/runtime/runtime-contract.ts";
import { parseLogOptions } from "../../agent/server/log-options.ts";
import { readLog } from "../../agent/server/read-log.ts";
import { testDockerd } from "../support/dockerd.ts";
import { busyboxArchive } from "../support/image-tar.ts";
import { loggingPod } from "../support/logging-pod.ts";
import { run } from "../support/run-command.ts";

const missing = ["/usr/sbin/dockerd", "/bin/busybox"].find((file) => !existsSync(file));
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "keelson/busybox:1";

t.setTimeout(300_000);
t.test("Docker behaves as a runtime, and needs no image for its sandboxes", { skip }, async (t) => {
  await using dockerd = await testDockerd("docker");
  const signal = AbortSignal.timeout(60_000);
  const docker = new Docker({ socketPath: dockerd.endpoint.replace("unix://", "") });
  const loading = await docker.loadImage(Readable.from([busyboxArchive(image)]));
  for await (const _ of loading);
  const network = loopbackNetwork();
  const logs = { maxSizeBytes: 20_000, maxFiles: 3 };
  const runtime = await DockerRuntime.connect(dockerd.endpoint, network, signal, { logs });
  await runtimeContract(t, {
    runtime,
    image,
    logRoot: path.join(dockerd.directory, "logs"),
    network: "pod",
    cgroupParent: "",
    logs: true,
  });
  await logRotation(t, runtime, path.join(dockerd.directory, "rotated"));
  await lostLink(
    t,
    runtime,
    () => DockerRuntime.connect(dockerd.endpoint, network, signal),
    path.join(dockerd.directory, "linked"),
  );
  t.same(network.attached, new Set(), "every sandbox gave its network back");
  await runtime.close();
});

async function logRotation(t: Test, runtime: Runtime, logDirectory: string): Promise<void> {
  await t.test(
    "LG3 LG4: Docker rotates as the agent is told, and a followed log goes through it",
    async (t) => {
      const signal = AbortSignal.timeout(60_000);
      const { sandbox, container } = loggingPod(logDirectory, image);
      const sandboxId = await runtime.runSandbox(sandbox, "", signal);
      const id = await runtime.createContainer(sandboxId, container, sandbox, signal);
      await runtime.startContainer(id, signal);
      const link = path.join(logDirectory, container.logPath);
      const file = await realpath(link);
      let running = true;
      let text = "";
      const options = parseLogOptions(new URLSearchParams("follow=true"), 0);
      const reading = (async () => {
        for await (const part of readLog(link, options, () => running, systemClock, signal))
          text += part.toString();
      })();
      while (text.length < 40_000) await systemClock.sleep(20, signal); // a dozen files of 20 KB as JSON
      await runtime.stopContainer(id, 0, signal);
      running = false;
      await reading;
      const numbers = text
        .trimEnd()
        .split("\n")
        .map((line) => Number(line.split(" ")[1]));
      t.ok(numbers.length > 1_000, `${numbers.length} lines`);
      t.equal(
        numbers.findIndex((number, index) => number !== index),
        -1,
        "no line was lost or told twice",
      );
      const base = path.basename(file);
      const names = (await readdir(path.dirname(file))).filter((name) => name.startsWith(base));
      t.same(names.toSorted(), [base, `${base}.1`, `${base}.2`], "three files are kept");
      t.ok((await stat(`${file}.1`)).size < 25_000, "of the size that was asked for");
      await runtime.stopSandbox(sandboxId, signal);
      await runtime.removeSandbox(sandboxId, signal);
    },
  );
}

async function lostLink(
  t: Test,
  runtime: Runtime,
  restarted: () => Promise<Runtime>,
  logDirectory: string,
): Promise<void> {
  await t.test("LG1 LG4: a log whose link was not made is found by the next agent", async (t) => {
    const signal = AbortSignal.timeout(60_000);
    const { sandbox, container } = loggingPod(logDirectory, image);
    const sandboxId = await runtime.runSandbox(sandbox, "", signal);
    const id = await runtime.createContainer(sandboxId, container, sandbox, signal);
    await runtime.startContainer(id, signal);
    const link = path.join(logDirectory, container.logPath);
    const file = await realpath(link);
    await rm(link);
    const next = await restarted();
    const [status] = await next.listContainers({ podUid: sandbox.podUid }, signal);
    t.equal(status?.logPath, link);
    t.equal(await realpath(link), file);
    await next.stopSandbox(sandboxId, signal);
    await next.removeSandbox(sandboxId, signal);
    t.equal(await realpath(link).catch(() => "gone"), "gone");
    await next.close();
  });
}

/** A network that only brings the loopback up. */
function loopbackNetwork(): PodNetwork & { readonly attached: Set<string> } {
  const attached = new Set<string>();
  return {
    attached,
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
