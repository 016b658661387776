import { existsSync } from "node:fs";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t from "tap";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork } from "../../agent/runtime/runtime.ts";
import { runtimeContract } from "../../agent/runtime/runtime-contract.ts";
import { testDockerd } from "../support/dockerd.ts";
import { busyboxArchive } from "../support/image-tar.ts";
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
  const runtime = await DockerRuntime.connect(dockerd.endpoint, network, signal);
  await runtimeContract(t, {
    runtime,
    image,
    logRoot: path.join(dockerd.directory, "logs"),
    network: "pod",
    cgroupParent: "",
    logs: true,
  });
  t.same(network.attached, new Set(), "every sandbox gave its network back");
  await runtime.close();
});

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
