import { existsSync } from "node:fs";
import path from "node:path";
import t from "tap";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { runtimeContract } from "../../agent/runtime/runtime-contract.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { testContainerd } from "../support/containerd.ts";
import { busyboxImage } from "../support/image-tar.ts";

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
    await runtime.close();
  },
);
