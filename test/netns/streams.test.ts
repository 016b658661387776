/** Streams of real processes: on containerd handed on to its streaming server, on Docker served by us. */
import { existsSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:http";
import path from "node:path";
import { Readable } from "node:stream";
import Docker from "dockerode";
import t, { type Test } from "tap";
import WebSocket from "ws";
import { systemClock } from "#lib/clock.ts";
import { connectSpdy } from "#lib/spdy/upgrade.ts";
import type { AgentContainer, AgentPod, AgentView } from "../../agent/model.ts";
import { Channel } from "../../agent/runtime/cri/channel.ts";
import { criCodec } from "../../agent/runtime/cri/codec.ts";
import { CriRuntime } from "../../agent/runtime/cri/cri-runtime.ts";
import { importImage } from "../../agent/runtime/cri/import-image.ts";
import { DockerRuntime } from "../../agent/runtime/docker/docker-runtime.ts";
import type { PodNetwork, Runtime } from "../../agent/runtime/runtime.ts";
import { defaultStreamLimits } from "../../agent/server/stream-limits.ts";
import { textOf } from "../../agent/server/stream-node.ts";
import { serveUpgrade } from "../../agent/server/upgrades.ts";
import { collectGarbage } from "../support/collect-garbage.ts";
import { testContainerd } from "../support/containerd.ts";
import { testDockerd } from "../support/dockerd.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { busyboxArchive, busyboxImage } from "../support/image-tar.ts";
import { loggingPod } from "../support/logging-pod.ts";
import { run } from "../support/run-command.ts";

const needed = ["/usr/bin/containerd", "/usr/sbin/dockerd", "/usr/lib/cni/bridge", "/bin/busybox"];
const missing = needed.find((file) => !existsSync(file));
const skip = process.getuid?.() !== 0 ? "needs root" : missing !== undefined && `needs ${missing}`;
const script = "nc -ll -p 8080 -e /bin/cat & exec cat";
t.setTimeout(240_000);

t.test("Docker's processes stream", { skip }, async (t) => {
  await using dockerd = await testDockerd("streams");
  const signal = AbortSignal.timeout(110_000);
  const image = "keelson/busybox:1";
  const docker = new Docker({ socketPath: dockerd.endpoint.replace("unix://", "") });
  for await (const _ of await docker.loadImage(Readable.from([busyboxArchive(image)])));
  const runtime = await DockerRuntime.connect(dockerd.endpoint, loopback, signal);
  await streams(t, runtime, image, path.join(dockerd.directory, "logs"), signal);
  await runtime.close();
});

t.test("containerd's processes stream", { skip }, async (t) => {
  await using containerd = await testContainerd("streams");
  enterNetns(containerd.netns); // its streaming server listens on the loopback in there
  const signal = AbortSignal.timeout(110_000);
  const image = "docker.io/keelson/busybox:1";
  const runtime = await CriRuntime.connect(containerd.endpoint, signal);
  const channel = new Channel(containerd.endpoint, criCodec());
  await importImage(channel, busyboxImage(), image, signal);
  channel.close();
  while ((await runtime.imageStatus(image, signal)) === undefined) await new Promise(setImmediate);
  await streams(t, runtime, image, path.join(containerd.directory, "logs"), signal);
  await runtime.close();
});

async function streams(
  t: Test,
  runtime: Runtime,
  image: string,
  logDirectory: string,
  signal: AbortSignal,
): Promise<void> {
  const { sandbox, container } = loggingPod(logDirectory, image);
  const sandboxId = await runtime.runSandbox(sandbox, "", signal);
  const config = { ...container, command: ["/bin/sh", "-c", script], stdin: true };
  const id = await runtime.createContainer(sandboxId, config, sandbox, signal);
  await runtime.startContainer(id, signal);
  const server = createServer();
  let served = 0;
  server.on("upgrade", (request, socket, head) => {
    const url = new URL(request.url ?? "", "http://node");
    const ports = { view: viewOf(sandboxId, id), runtime, limits: defaultStreamLimits };
    served += 1;
    serveUpgrade(ports, url, request, socket, head, signal)
      .catch((cause: unknown) => socket.destroy(cause instanceof Error ? cause : undefined))
      .finally(() => {
        served -= 1;
        socket.end();
      });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const host = `127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`;
  const execUrl = (...command: readonly string[]): string =>
    `/exec/default/logs/main?output=1${command.map((word) => `&command=${encodeURIComponent(word)}`).join("")}`;
  const idle = async (): Promise<void> => {
    while (served > 0) await systemClock.sleep(10, signal);
  };

  await t.test(
    `agent §2.3: ${runtime.name}: exec gives output, exit code and the end of stdin`,
    async (t) => {
      const url = `http://${host}${execUrl("sh", "-c", "cat; echo bad >&2; exit 7")}&input=1&error=1`;
      // As one list, as our API server hands it on.
      const { session } = await connectSpdy(url, ["v5.channel.k8s.io, v4.channel.k8s.io"], signal);
      const error = await session.open({ streamType: "error" });
      const stdin = await session.open({ streamType: "stdin" });
      const stdout = await session.open({ streamType: "stdout" });
      const stderr = await session.open({ streamType: "stderr" });
      const all = Promise.all([textOf(error), textOf(stdout), textOf(stderr)]);
      const sent = "0123456789abcdef".repeat(60_000);
      stdin.end(sent);
      const [how, out, bad] = await all;
      t.ok(out === sent, `${out.length} bytes come back`);
      t.equal(bad, "bad\n");
      t.match(JSON.parse(how), {
        status: "Failure",
        reason: "NonZeroExitCode",
        details: { causes: [{ reason: "ExitCode", message: "7" }] },
      });
      await session.closed;
      await idle();
    },
  );

  await t.test(`agent §2.3: ${runtime.name}: a terminal has the size that the client says`, async (t) => {
    const url = `http://${host}${execUrl("sh", "-c", "read go; busybox stty size")}&input=1&tty=1`;
    const { session } = await connectSpdy(url, ["v4.channel.k8s.io"], signal);
    const error = await session.open({ streamType: "error" });
    const stdin = await session.open({ streamType: "stdin" });
    const stdout = await session.open({ streamType: "stdout" });
    const resize = await session.open({ streamType: "resize" });
    resize.write(JSON.stringify({ Width: 123, Height: 45 }));
    const all = Promise.all([textOf(error), textOf(stdout)]);
    const poll = setInterval(() => stdin.write("go\n"), 500); // the size is set when it is set
    const [, out] = await all;
    clearInterval(poll);
    t.match(out, /45 123/);
    await session.closed;
    await idle();
  });

  await t.test(
    `agent §2.3: ${runtime.name}: a client that stops reading stops the process, not our memory`,
    async (t) => {
      for (const kind of ["SPDY", "WebSocket"]) {
        const before = liveBytes();
        const client = kind === "SPDY" ? await stalledSpdy() : await stalledWebSocket();
        await standstill(client.received);
        const more = liveBytes() - before;
        t.ok(more < 16_000_000, `${kind}: ${(more / 1e6).toFixed(1)} MB wait`);
        t.ok(client.received() < 64_000_000, `${kind}: ${client.received()} bytes were taken`);
        const goal = client.received() + 5_000_000;
        client.resume();
        while (client.received() < goal) await systemClock.sleep(5, signal);
        t.pass(`${kind}: it goes on when it is read`);
        client.close();
        await idle();
      }
    },
  );

  await t.test(
    `agent §2.3: ${runtime.name}: who attaches reads and writes, and leaves it running`,
    async (t) => {
      for (const word of ["first", "second"]) {
        const url = `http://${host}/attach/default/logs/main?input=1&output=1`;
        const { session } = await connectSpdy(url, ["v4.channel.k8s.io"], signal);
        const error = await session.open({ streamType: "error" });
        const stdin = await session.open({ streamType: "stdin" });
        const stdout = await session.open({ streamType: "stdout" });
        error.resume();
        stdin.write(`${word}\n`);
        t.equal(String(await once(stdout, "data")), `${word}\n`);
        session.destroy();
        await idle();
      }
      t.equal((await runtime.containerStatus(id, signal))?.state, "running");
    },
  );

  await t.test(
    `agent §2.3: ${runtime.name}: several connections are forwarded over one session`,
    async (t) => {
      const { session } = await connectSpdy(
        `http://${host}/portForward/default/logs`,
        ["portforward.k8s.io"],
        signal,
      );
      const talk = async (requestID: string, port: string): Promise<readonly string[]> => {
        const error = await session.open({ streamType: "error", port, requestID });
        error.end();
        const data = await session.open({ streamType: "data", port, requestID });
        data.write(`hello ${requestID}`);
        const [answer] = await Promise.race([once(data, "data"), once(data, "end").then(() => [""])]);
        data.end();
        data.resume();
        return [String(answer), String(answer) === "" ? await textOf(error) : ""];
      };
      t.same(await Promise.all([talk("1", "8080"), talk("2", "8080")]), [
        ["hello 1", ""],
        ["hello 2", ""],
      ]);
      t.match(await talk("3", "81"), ["", /refused/i]);
      session.close();
      await session.closed;
      await idle();
    },
  );

  server.close();
  await runtime.stopSandbox(sandboxId, signal);
  await runtime.removeSandbox(sandboxId, signal);

  /** A client of a process that writes without end, and that does not read what comes. */
  async function stalledSpdy(): Promise<Stalled> {
    const { session } = await connectSpdy(`http://${host}${execUrl("yes")}`, ["v4.channel.k8s.io"], signal);
    const error = await session.open({ streamType: "error" });
    const stdout = await session.open({ streamType: "stdout" });
    error.resume();
    let bytes = 0;
    const take = (chunk: Buffer): void => {
      bytes += chunk.length;
    };
    await once(stdout, "readable");
    return {
      received: () => bytes + stdout.readableLength,
      resume: () => void stdout.on("data", take),
      close: () => session.destroy(),
    };
  }

  async function stalledWebSocket(): Promise<Stalled> {
    const socket = new WebSocket(`ws://${host}${execUrl("yes")}`, "v5.channel.k8s.io");
    let bytes = 0;
    socket.on("message", (data: Buffer) => {
      bytes += data.length;
    });
    socket.on("error", () => {});
    await once(socket, "message");
    while (bytes < 10_000) await systemClock.sleep(5, signal);
    socket.pause();
    return {
      received: () => bytes,
      resume: () => socket.resume(),
      close: () => socket.terminate(),
    };
  }
}

interface Stalled {
  readonly received: () => number;
  readonly resume: () => void;
  readonly close: () => void;
}

/** Resolves once nothing was counted for a second: what can be filled is full. */
async function standstill(count: () => number): Promise<void> {
  let last = -1;
  for (let quiet = 0; quiet < 20; quiet = count() === last ? quiet + 1 : 0) {
    last = count();
    await systemClock.sleep(50, AbortSignal.timeout(1_000));
  }
}

/** What is in use, garbage not counted. */
function liveBytes(): number {
  collectGarbage();
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return arrayBuffers + heapUsed;
}

/** A node whose only Pod is `default/logs` with one container that runs. */
function viewOf(sandboxId: string, id: string): AgentView {
  const container: AgentContainer = {
    name: "main",
    kind: "app",
    id,
    state: "running",
    attempt: 0,
    logPath: "",
    startedAtMs: 1,
    finishedAtMs: 0,
    previous: undefined,
  };
  const pod: AgentPod = {
    pod: { metadata: { name: "logs", namespace: "default", uid: "uid-logs" } },
    uid: "uid-logs",
    sandboxId,
    ips: [],
    logDirectory: "",
    cgroup: "",
    containers: new Map([["main", container]]),
    volumes: [],
  };
  return {
    nodeName: "node-1",
    pods: () => [pod.pod],
    podByName: () => pod,
    podByUid: () => pod,
    healthy: () => ({ ok: true }),
    configuration: () => ({}),
  };
}

/** A network that only brings the loopback up. */
const loopback: PodNetwork = {
  ready: async () => ({ ready: true }),
  add: async ({ netnsPath }) => {
    await run("nsenter", `--net=${netnsPath}`, "ip", "link", "set", "lo", "up");
    return { ips: ["127.0.0.1"] };
  },
  delete: async () => {},
  addresses: async () => ["127.0.0.1"],
};
