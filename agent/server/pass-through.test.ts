import { once } from "node:events";
import { createServer } from "node:http";
import t from "tap";
import WebSocket from "ws";
import { systemClock } from "#lib/clock.ts";
import { SpdySession } from "#lib/spdy/session.ts";
import { connectSpdy } from "#lib/spdy/upgrade.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { RuntimeError, type StreamTarget } from "../runtime/runtime.ts";
import { statusText } from "./process-channels.ts";
import { defaultStreamLimits } from "./stream-limits.ts";
import { type StreamNode, streamNode, textOf } from "./stream-node.ts";
import { connectTunnel } from "./tunnel-client.ts";

/** A runtime with a streaming server, as those that speak CRI have one. */
class StreamingRuntime extends FakeRuntime {
  readonly asked: StreamTarget[] = [];

  constructor(server: StreamNode, url: (path: string) => string = (path) => `http://${server.host}${path}`) {
    super(systemClock);
    this.streamingUrl = async (target) => {
      this.asked.push(target);
      if (target.action === "portForward") return url("/portForward/default/web");
      const command =
        target.action === "exec" ? target.command.map((word) => `&command=${encodeURIComponent(word)}`) : [];
      const flag = (name: string, on: boolean): string => (on ? `&${name}=1` : "");
      const streams = `${flag("input", target.stdin)}${flag("output", target.stdout)}${flag("error", target.stderr)}`;
      return url(`/${target.action}/default/web/main?${streams}${command.join("")}`);
    };
  }
}

const script = encodeURIComponent("cat; echo bad >&2; exit 3");
const exec = `/exec/default/web/main?command=sh&command=-c&input=1&output=1&error=1&command=${script}`;

t.test("agent §2.3: exec over SPDY is handed on to the runtime's streaming server as it is", async (t) => {
  await using server = await streamNode();
  const runtime = new StreamingRuntime(server);
  await using node = await streamNode(defaultStreamLimits, runtime);
  for (const wanted of ["v4.channel.k8s.io", "channel.k8s.io"]) {
    const { session, protocol } = await connectSpdy(`http://${node.host}${exec}`, [wanted], node.signal);
    t.equal(protocol, wanted, "what the runtime has chosen");
    const error = await session.open({ streamType: "error" });
    const stdin = await session.open({ streamType: "stdin" });
    const stdout = await session.open({ streamType: "stdout" });
    const stderr = await session.open({ streamType: "stderr" });
    const all = Promise.all([textOf(error), textOf(stdout), textOf(stderr)]);
    stdin.end("in and out"); // half of it ends, and the answer still comes
    const [how, out, bad] = await all;
    t.equal(out, "in and out");
    t.equal(bad, "bad\n");
    if (wanted.startsWith("v4")) t.equal(how, statusText({ state: "exited", code: 3 }));
    await session.closed;
  }
  t.match(runtime.asked[0], { action: "exec", command: ["sh", "-c"], stdin: true, stdout: true, tty: false });
  await untilNone(server);
  await untilNone(node);
});

t.test("agent §2.3: what the runtime's streaming server refuses, the client is told", async (t) => {
  await using server = await streamNode();
  await using node = await streamNode(defaultStreamLimits, new StreamingRuntime(server));
  const url = `http://${node.host}${exec}`;
  await t.rejects(connectSpdy(url, ["v9.channel.k8s.io"], node.signal), /403.*client supports v9/s);
  const gone = new StreamingRuntime(
    server,
    () => `http://${server.host}/exec/default/gone/main?output=1&command=x`,
  );
  await using other = await streamNode(defaultStreamLimits, gone);
  await t.rejects(connectSpdy(`http://${other.host}${exec}`, [], other.signal), /404.*does not exist/s);
  const away = new StreamingRuntime(server, () => "http://127.0.0.1:1/");
  await using third = await streamNode(defaultStreamLimits, away);
  await t.rejects(connectSpdy(`http://${third.host}${exec}`, [], third.signal), /502.*streaming server/s);
});

t.test("agent §2.3: protocols that came as one list are offered one by one", async (t) => {
  const server = createServer();
  const offers: (readonly string[])[] = [];
  server.on("upgrade", (request, socket) => {
    for (let index = 0; index < request.rawHeaders.length; index += 2)
      if (request.rawHeaders[index]?.toLowerCase() === "x-stream-protocol-version")
        offers.push([request.rawHeaders[index + 1] ?? ""]);
    socket.end("HTTP/1.1 403 no\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const runtime = new FakeRuntime(systemClock);
  runtime.streamingUrl = async () => `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/`;
  await using node = await streamNode(defaultStreamLimits, runtime);
  const url = `http://${node.host}${exec}`;
  await t.rejects(connectSpdy(url, ["v4.channel.k8s.io, v3.channel.k8s.io"], node.signal), /403/);
  t.same(offers, [["v4.channel.k8s.io"], ["v3.channel.k8s.io"]]);
  server.close();
});

t.test("agent §2.3: what the runtime has no more is not found", async (t) => {
  const runtime = new FakeRuntime(systemClock);
  runtime.streamingUrl = async () => {
    throw new RuntimeError("not-found", "container is gone");
  };
  await using node = await streamNode(defaultStreamLimits, runtime);
  await t.rejects(connectSpdy(`http://${node.host}${exec}`, [], node.signal), /404.*container is gone/s);
});

t.test("agent §2.3: port-forward is handed on, also when it is tunnelled through a WebSocket", async (t) => {
  await using server = await streamNode();
  await using node = await streamNode(defaultStreamLimits, new StreamingRuntime(server));
  const path = `${node.host}/portForward/default/web`;
  const talk = async (session: SpdySession): Promise<string> => {
    const headers = { port: "8080", requestID: "1" };
    const error = await session.open({ ...headers, streamType: "error" });
    error.end();
    const data = await session.open({ ...headers, streamType: "data" });
    data.end("hello");
    return `${await textOf(data)}${await textOf(error)}`;
  };
  const { session } = await connectSpdy(`http://${path}`, ["portforward.k8s.io"], node.signal);
  t.equal(await talk(session), "hello");
  session.close();
  await session.closed;

  const tunnel = await connectTunnel(`http://${path}`);
  const tunnelled = new SpdySession(tunnel, "client", (stream) => stream.destroy());
  t.equal(await talk(tunnelled), "hello", "in a tunnel");
  tunnelled.close();
  await tunnelled.closed;
  await untilNone(node);
  await untilNone(server);
});

t.test("agent §2.3: a WebSocket is translated, for its stdin can end", async (t) => {
  await using server = await streamNode();
  const runtime = new StreamingRuntime(server);
  await using node = await streamNode(defaultStreamLimits, runtime);
  const socket = new WebSocket(`ws://${node.host}${exec}`, "v5.channel.k8s.io");
  let out = "";
  socket.on("message", (data: Buffer) => {
    if (data[0] === 1) out += data.toString("utf8", 1);
  });
  await once(socket, "open");
  const closed = once(socket, "close");
  socket.send(Buffer.from("\0typed"));
  socket.send(Buffer.from([255, 0]));
  await closed;
  t.equal(out, "typed");
  t.same(runtime.asked, [], "by the runtime's own calls");
});

/** Resolves when nothing is served any more. */
async function untilNone(node: StreamNode): Promise<void> {
  const signal = AbortSignal.timeout(30_000);
  while (node.served() > 0) await systemClock.sleep(5, signal);
}
