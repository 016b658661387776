/** Thousands of streams come and go, well-behaved and not: nothing of them stays. */
import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import type { Duplex } from "node:stream";
import t from "tap";
import WebSocket from "ws";
import { systemClock } from "#lib/clock.ts";
import { connectSpdy } from "#lib/spdy/upgrade.ts";
import { collectGarbage } from "../../test/support/collect-garbage.ts";
import { fuzz, mutateBytes } from "../../test/support/mutate.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { defaultStreamLimits } from "./stream-limits.ts";
import { type StreamNode, streamNode, textOf } from "./stream-node.ts";

const exec = "/exec/default/web/main?command=cat&input=1&output=1";

/** Counts the processes that run. */
class CountingRuntime extends FakeRuntime {
  running = 0;

  override async exec(...args: Parameters<FakeRuntime["exec"]>): ReturnType<FakeRuntime["exec"]> {
    const streams = await super.exec(...args);
    this.running += 1;
    void streams.exit.then(() => {
      this.running -= 1;
    });
    return streams;
  }
}

t.test("agent §2.3: thousands of streams leave no handle, timer, process or memory", async (t) => {
  const runtime = new CountingRuntime(systemClock);
  await using node = await streamNode(defaultStreamLimits, runtime);
  const kinds: Readonly<Record<string, () => Promise<void>>> = {
    "exec over SPDY": () => execSpdy(node),
    "exec over WebSocket": () => execWebSocket(node),
    "exec over SPDY cut off": () => cutSpdy(node),
    "exec over WebSocket cut off": () => cutWebSocket(node),
    "port-forward of five connections": () => forward(node),
  };
  for (const [name, once] of Object.entries(kinds)) {
    await many(60, once); // whatever is made once is there then
    const before = await inUse(node);
    await many(500, once);
    const after = await inUse(node);
    t.equal(runtime.running, 0, `${name}: every process has ended`);
    t.same(after.resources, before.resources, `${name}: handles and timers`);
    const more = after.bytes - before.bytes;
    // 500 of the smallest things that could stay, a socket with its buffers, would be 10 MB.
    t.ok(more < 2_000_000, `${name}: ${(more / 1e6).toFixed(2)} MB more than before`);
  }
});

t.test("agent §2.3: no mutated WebSocket crashes or hangs the server, and nothing of it stays", async (t) => {
  const runtime = new CountingRuntime(systemClock);
  await using node = await streamNode(defaultStreamLimits, runtime);
  const protocols = ["v5.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io"];
  const good = Buffer.concat([
    frame(2, Buffer.from("\0typed")),
    frame(1, Buffer.from("0dHlwZWQ=")),
    frame(2, Buffer.from('\x04{"Width":80,"Height":24}')),
    frame(9, Buffer.from("ping")),
    frame(2, Buffer.from([255, 0])),
    frame(2, Buffer.alloc(0)),
    frame(8, Buffer.from([3, 232])),
  ]);
  const paths = [
    `${exec}&tty=1`,
    exec,
    "/attach/default/web/main?output=1",
    "/portForward/default/web?port=8080",
  ];
  const ran = await fuzz(3_000, 12_000, async (random) => {
    const path = random.pick(paths);
    const protocol = path.startsWith("/port") ? "v4.channel.k8s.io" : random.pick(protocols);
    const socket = await upgraded(node, path, protocol);
    socket.resume();
    socket.end(mutateBytes(random, good));
    const hung = systemClock.sleep(10_000, node.signal).then(() => "hung" as const);
    const end = await Promise.race([closed(socket), hung]);
    if (end === "hung") throw new Error(`${protocol} on ${path} did not end`);
  });
  await inUse(node);
  t.equal(runtime.running, 0, "every process has ended");
  t.ok(ran > 300, `${ran} connections`);
  await execWebSocket(node);
  t.pass("the server still serves");
});

t.test("agent §2.3: no mutated request for a stream crashes the server", async (t) => {
  await using node = await streamNode();
  const good = Buffer.from(
    `GET ${exec}&tty=1 HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n\r\n`,
  );
  const statuses = new Map<string, number>();
  const ran = await fuzz(2_000, 8_000, async (random) => {
    const socket = connect(Number(node.host.split(":")[1]), "127.0.0.1");
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
    });
    socket.end(mutateBytes(random, good));
    const hung = systemClock.sleep(10_000, node.signal).then(() => "hung" as const);
    if ((await Promise.race([closed(socket), hung])) === "hung") throw new Error("it did not end");
    const status = /^HTTP\/1.1 (\d+)/.exec(text)?.[1] ?? "none";
    if (status === "500") throw new Error(text.slice(0, 300));
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
  });
  t.ok(ran > 300, `${ran} requests: ${[...statuses].map((pair) => pair.join(" x")).join(", ")}`);
});

/** Side by side, as clients are. */
async function many(count: number, once: () => Promise<void>): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await once();
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
}

/** What is in use when everything has ended that will. */
async function inUse(
  node: StreamNode,
): Promise<{ readonly resources: Readonly<Record<string, number>>; readonly bytes: number }> {
  const signal = AbortSignal.timeout(30_000);
  const hasSockets = (): boolean => process.getActiveResourcesInfo().includes("TCPSocketWrap");
  while (node.served() > 0 || hasSockets()) await systemClock.sleep(10, signal);
  // Buffers are counted as gone one turn after they were collected.
  for (let turn = 0; turn < 5; turn += 1) {
    collectGarbage();
    await systemClock.sleep(1, signal);
  }
  const resources: Record<string, number> = {};
  for (const name of process.getActiveResourcesInfo()) resources[name] = (resources[name] ?? 0) + 1;
  const { arrayBuffers, heapUsed } = process.memoryUsage();
  return { resources, bytes: arrayBuffers + heapUsed };
}

async function execSpdy(node: StreamNode): Promise<void> {
  const { session } = await connectSpdy(`http://${node.host}${exec}`, ["v4.channel.k8s.io"], node.signal);
  const error = await session.open({ streamType: "error" });
  const stdin = await session.open({ streamType: "stdin" });
  const stdout = await session.open({ streamType: "stdout" });
  stdin.end("echo");
  const [out, how] = await Promise.all([textOf(stdout), textOf(error)]);
  if (out !== "echo" || !how.includes("Success")) throw new Error(`got "${out}" and "${how}"`);
  await session.closed;
}

async function execWebSocket(node: StreamNode): Promise<void> {
  const socket = new WebSocket(`ws://${node.host}${exec}`, "v5.channel.k8s.io");
  let out = "";
  socket.on("message", (data: Buffer) => {
    if (data[0] === 1) out += data.toString("utf8", 1);
  });
  const closed = once(socket, "close");
  await once(socket, "open");
  socket.send(Buffer.from("\0echo"));
  socket.send(Buffer.from([255, 0]));
  await closed;
  if (out !== "echo") throw new Error(`got "${out}"`);
}

async function cutSpdy(node: StreamNode): Promise<void> {
  const { session } = await connectSpdy(`http://${node.host}${exec}`, ["v4.channel.k8s.io"], node.signal);
  await session.open({ streamType: "error" });
  const stdin = await session.open({ streamType: "stdin" });
  await session.open({ streamType: "stdout" });
  stdin.write("echo");
  session.destroy();
  await session.closed;
}

async function cutWebSocket(node: StreamNode): Promise<void> {
  const socket = new WebSocket(`ws://${node.host}${exec}`, "v5.channel.k8s.io");
  const closed = once(socket, "close");
  await once(socket, "open");
  socket.send(Buffer.from("\0echo"));
  socket.terminate();
  await closed;
}

async function forward(node: StreamNode): Promise<void> {
  const url = `http://${node.host}/portForward/default/web`;
  const { session } = await connectSpdy(url, ["portforward.k8s.io"], node.signal);
  for (let count = 0; count < 5; count += 1) {
    const headers = { port: count === 4 ? "81" : "8080", requestID: String(count) };
    const error = await session.open({ ...headers, streamType: "error" });
    error.end();
    const data = await session.open({ ...headers, streamType: "data" });
    data.end("hello");
    const text = `${await textOf(data)}${await textOf(error)}`;
    if (count < 4 ? text !== "hello" : !text.includes("refused")) throw new Error(`got "${text}"`);
  }
  session.close();
  await session.closed;
}

/** The bare connection of a WebSocket. */
async function upgraded(node: StreamNode, path: string, protocol: string): Promise<Duplex> {
  const sent = request(`http://${node.host}${path}`, {
    agent: false,
    headers: {
      connection: "Upgrade",
      upgrade: "websocket",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      "sec-websocket-protocol": protocol,
    },
  });
  sent.end();
  const [, socket] = (await once(sent, "upgrade")) as [unknown, Duplex];
  socket.on("error", () => {});
  return socket;
}

async function closed(socket: Duplex): Promise<void> {
  if (!socket.closed) await once(socket, "close");
}

/** A client's frame, its mask of zeros (RFC 6455 §5.3). */
function frame(opcode: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x80 | opcode, 0x80 | body.length, 0, 0, 0, 0]), body]);
}
