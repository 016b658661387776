import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { rotateLogs } from "../../agent/apply/rotate-logs.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { runtimeContract } from "../../agent/runtime/runtime-contract.ts";
import type { Runtime } from "../../agent/runtime/runtime.ts";
import { parseLogOptions } from "../../agent/server/log-options.ts";
import { readLog } from "../../agent/server/read-log.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { testContainerd } from "../support/containerd.ts";
import { busyboxImage } from "../support/image-tar.ts";
import { loggingPod } from "../support/logging-pod.ts";

const missing = ["/usr/bin/containerd", "/usr/lib/cni/bridge", "/bin/busybox"].find(
  (file) => !existsSync(file),
);
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const image = "docker.io/keelson/busybox:1";

t.test(
  "containerd behaves as a runtime, and needs no image for its sandboxes",
  { skip, timeout: 300_000 },
  async (t) => {
    await using containerd = await testContainerd("cri");
    enterNetns(containerd.netns); // its streaming server listens on the loopback in there
    const signal = AbortSignal.timeout(60_000);
    const runtime = await CriRuntime.connect(containerd.endpoint, signal);
    const channel = new Channel(containerd.endpoint, criCodec());
    await importImage(channel, busyboxImage(), image, signal);
    channel.close();
    while ((await runtime.imageStatus(image, signal)) === undefined) await new Promise(setImmediate);
    t.equal(runtime.name, "containerd");
    await runtimeContract(t, {
      runtime,
      image,
      logRoot: path.join(containerd.directory, "logs"),
      network: "pod",
      cgroupParent: "",
      logs: true,
    });
    await logRotation(t, runtime, path.join(containerd.directory, "rotated"));
    await runtime.close();
  },
);

async function logRotation(t: Test, runtime: Runtime, logDirectory: string): Promise<void> {
  await t.test("LG3: a followed log goes through every rotation, and five files are kept", async (t) => {
    const signal = AbortSignal.timeout(40_000);
    const clock = new FakeClock(Date.UTC(2026, 0, 1));
    const { sandbox, container } = loggingPod(logDirectory, image);
    const sandboxId = await runtime.runSandbox(sandbox, "", signal);
    const id = await runtime.createContainer(sandboxId, container, sandbox, signal);
    await runtime.startContainer(id, signal);
    const file = path.join(logDirectory, container.logPath);
    const stop = new AbortController();
    const config = { containerLogMaxSizeBytes: 20_000, containerLogMaxFiles: 5 };
    const rotating = rotateLogs({ runtime, clock, log: noLog, config }, stop.signal);
    let text = "";
    const options = parseLogOptions(new URLSearchParams("follow=true"), 0);
    const reading = (async () => {
      for await (const part of readLog(file, options, () => !stop.signal.aborted, systemClock, signal))
        text += part.toString();
    })();
    const folder = path.dirname(file);
    const rotated = new Set<string>();
    while (rotated.size < 7) {
      await clock.advance(10_000);
      await systemClock.sleep(50, signal);
      for (const name of await readdir(folder)) {
        const stamp = /^0\.log\.(\d{8}-\d{6})/.exec(name)?.[1];
        if (stamp !== undefined) rotated.add(stamp);
      }
    }
    await systemClock.sleep(300, signal); // what is being packed is packed
    const names = (await readdir(folder)).toSorted();
    t.match(names, [/^0\.log$/, /-\d{6}\.gz$/, /-\d{6}\.gz$/, /-\d{6}\.gz$/, /-\d{6}$/]);
    t.equal(names.length, 5, names.join(" "));
    const before = text.length;
    while (text.length < before + 10_000) await systemClock.sleep(20, signal);
    stop.abort();
    await runtime.stopContainer(id, 0, signal);
    await Promise.all([rotating, reading]);
    const numbers = text
      .trimEnd()
      .split("\n")
      .map((line) => Number(line.split(" ")[1]));
    t.equal(
      numbers.findIndex((number, index) => number !== index),
      -1,
      "no line was lost or told twice",
    );
    await runtime.stopSandbox(sandboxId, signal);
    await runtime.removeSandbox(sandboxId, signal);
  });
}
