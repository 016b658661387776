import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import t from "tap";
import WebSocket from "ws";
import { systemClock } from "#lib/clock.ts";
import { connectSpdy } from "#lib/spdy/upgrade.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { statusText } from "./process-channels.ts";
import { defaultStreamLimits } from "./stream-limits.ts";
import { streamNode, textOf } from "./stream-node.ts";

/** Remembers the sizes that its terminals were given. Its processes take a while to start. */
class SizedRuntime extends FakeRuntime {
  readonly sizes: string[] = [];

  async until(count: number): Promise<void> {
    const signal = AbortSignal.timeout(30_000);
    while (this.sizes.length < count) await systemClock.sleep(5, signal);
  }

  override async exec(...args: Parameters<FakeRuntime["exec"]>): ReturnType<FakeRuntime["exec"]> {
    await systemClock.sleep(100, AbortSignal.timeout(30_000));
    const streams = await super.exec(...args);
    return { ...streams, resize: async ({ width, height }) => void this.sizes.push(`${width}x${height}`) };
  }
}

const execQuery = "command=sh&command=-c&input=1&output=1&error=1";
const script = "cat; echo bad >&2; exit 3";
const exec = `/exec/default/web/main?${execQuery}&command=${encodeURIComponent(script)}`;

const spdyProtocols = ["v5", "v4", "v3", "v2", ""].map((version) =>
  `${version}.channel.k8s.io`.replace(/^\./, ""),
);
for (const protocol of spdyProtocols) {
  t.test(`agent §2.3: exec over SPDY speaks ${protocol}`, async (t) => {
    await using node = await streamNode();
    const { session, protocol: chosen } = await connectSpdy(
      `http://${node.host}${exec}`,
      [protocol],
      node.signal,
    );
    t.equal(chosen, protocol);
    const error = await session.open({ streamType: "error" });
    const stdin = await session.open({ streamType: "stdin" });
    const stdout = await session.open({ streamType: "stdout" });
    const stderr = await session.open({ streamType: "stderr" });
    const all = Promise.all([textOf(error), textOf(stdout), textOf(stderr)]);
    stdin.end("in and out");
    const [how, out, bad] = await all;
    t.equal(out, "in and out");
    t.equal(bad, "bad\n");
    if (/^v[45]/.test(protocol)) t.equal(how, statusText({ state: "exited", code: 3 }));
    else t.match(how, /exit status 3/);
    await session.closed;
  });
}

t.test("a client without a protocol in common is refused", async (t) => {
  await using node = await streamNode();
  await t.rejects(connectSpdy(`http://${node.host}${exec}`, ["v9.channel.k8s.io"], node.signal), /403/);
  await t.rejects(connectSpdy(`http://${node.host}/exec/default/gone/main?output=1`, [], node.signal), /404/);
  await t.rejects(connectSpdy(`http://${node.host}/exec/default/web/main?command=a`, [], node.signal), /400/);
});

const webSocketProtocols = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
  "",
];
for (const protocol of webSocketProtocols) {
  t.test(
    `agent §2.3: exec over WebSocket speaks ${protocol === "" ? "none by name" : protocol}`,
    async (t) => {
      await using node = await streamNode();
      const path = exec.replace(encodeURIComponent("cat; "), "");
      const url = `ws://${node.host}${protocol.startsWith("v5") ? exec : path}`;
      const socket = new WebSocket(url, protocol === "" ? [] : protocol);
      const base64 = protocol.includes("base64");
      const got: Record<number, string> = {};
      socket.on("message", (data: Buffer) => {
        const channel = base64 ? (data[0] ?? 0) - 48 : (data[0] ?? 0);
        const body = data.subarray(1);
        got[channel] =
          (got[channel] ?? "") + (base64 ? Buffer.from(body.toString(), "base64") : body).toString();
      });
      await once(socket, "open");
      t.equal(socket.protocol, protocol);
      if (protocol.startsWith("v5")) {
        socket.send(Buffer.from("\0typed"));
        socket.send(Buffer.from([255, 0]));
      }
      await once(socket, "close");
      t.equal(got[1] ?? "", protocol.startsWith("v5") ? "typed" : "");
      t.equal(got[2], "bad\n");
      if (protocol.startsWith("v")) t.match(got[3], /"ExitCode","message":"3"/);
      else t.match(got[3], /exit status 3/);
    },
  );
}

t.test("agent §2.3: the sizes of a terminal reach its process, and nonsense does not", async (t) => {
  const runtime = new SizedRuntime(systemClock);
  await using node = await streamNode(defaultStreamLimits, runtime);
  const path = "/exec/default/web/main?command=cat&input=1&output=1&error=1&tty=1";
  const sizes = [
    '{"Width":80,"Height":24}',
    "nonsense",
    '{"Width":-1,"Height":24}',
    '{"Width":70000,"Height":1}',
    '{"Width":"7","Height":null}',
    '{"Width":120,"Height":40}',
  ];
  const { session } = await connectSpdy(`http://${node.host}${path}`, ["v3.channel.k8s.io"], node.signal);
  const error = await session.open({ streamType: "error" });
  const stdin = await session.open({ streamType: "stdin" });
  const stdout = await session.open({ streamType: "stdout" });
  const resize = await session.open({ streamType: "resize" });
  for (const size of sizes) resize.write(`${size}\n`); // as Go's encoder ends each
  await runtime.until(2);
  stdin.end();
  await Promise.all([textOf(error), textOf(stdout)]);
  await session.closed;
  t.same(runtime.sizes, ["80x24", "120x40"], "SPDY");

  runtime.sizes.length = 0;
  const socket = new WebSocket(`ws://${node.host}${path}`, "v5.channel.k8s.io");
  await once(socket, "open");
  const closed = once(socket, "close");
  for (const size of sizes) socket.send(Buffer.from(`\x04${size}`));
  await runtime.until(2);
  socket.send(Buffer.from([255, 0]));
  await closed;
  t.same(
    runtime.sizes,
    ["80x24", "120x40"],
    "WebSocket: also those that came before the process had started",
  );
});

t.test("agent §2.3: a WebSocket handshake that is none is answered 400, and the request ends", async (t) => {
  await using node = await streamNode();
  const handshakes: readonly Readonly<Record<string, string>>[] = [
    { "sec-websocket-version": "13" },
    { "sec-websocket-version": "13", "sec-websocket-key": "short" },
    { "sec-websocket-version": "7", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" },
  ];
  for (const more of handshakes) {
    const headers = { connection: "Upgrade", upgrade: "websocket", ...more };
    const sent = request(`http://${node.host}${exec}`, { headers, agent: false });
    sent.end();
    const [response] = (await once(sent, "response")) as [IncomingMessage];
    t.equal(response.statusCode, 400, JSON.stringify(more));
    t.equal(response.statusMessage, "no", "answered by the server, not behind its back");
    response.resume();
    await once(response, "close");
  }
});

t.test("agent §2.3: port-forward carries several connections over one session", async (t) => {
  await using node = await streamNode();
  const path = `${node.host}/portForward/default/web`;
  const { session } = await connectSpdy(`http://${path}`, ["portforward.k8s.io"], node.signal);
  const talk = async (id: string, port: string): Promise<readonly [string, string]> => {
    const error = await session.open({ streamType: "error", port, requestID: id });
    error.end();
    const data = await session.open({ streamType: "data", port, requestID: id });
    data.end(`hello ${id}`);
    return [await textOf(data), await textOf(error)];
  };
  const [first, second, refused] = await Promise.all([talk("1", "8080"), talk("2", "8080"), talk("3", "81")]);
  t.same(first, ["hello 1", ""]);
  t.same(second, ["hello 2", ""]);
  t.match(refused, ["", /connection refused/]);
  session.close();
  await session.closed;
});

t.test(
  "agent §2.3: port-forward pairs the streams of old clients, which do not number requests",
  async (t) => {
    await using node = await streamNode();
    const url = `http://${node.host}/portForward/default/web`;
    const { session } = await connectSpdy(url, [], node.signal);
    for (const word of ["one", "two"]) {
      const error = await session.open({ streamType: "error", port: "8080" });
      error.end();
      const data = await session.open({ streamType: "data", port: "8080" });
      data.end(word);
      t.same([await textOf(data), await textOf(error)], [word, ""]);
    }
    const noPort = session.open({ streamType: "error", port: "0", requestID: "1" });
    await t.rejects(noPort, /refused/, "a port that is none");
    await t.rejects(session.open({ streamType: "stdin", port: "8080", requestID: "1" }), /refused/);
    session.close();
    await session.closed;
  },
);

for (const protocol of ["v4.channel.k8s.io", "v4.base64.channel.k8s.io", ""]) {
  const name = protocol === "" ? "none by name" : protocol;
  t.test(`agent §2.3: port-forward over WebSocket channels names each port first: ${name}`, async (t) => {
    await using node = await streamNode();
    const url = `ws://${node.host}/portForward/default/web?port=8080&port=8080`;
    const socket = new WebSocket(url, protocol === "" ? [] : protocol);
    const base64 = protocol.includes("base64");
    const decoded = (data: Buffer): Buffer =>
      base64
        ? Buffer.concat([
            Buffer.from([(data[0] ?? 0) - 48]),
            Buffer.from(data.toString("latin1", 1), "base64"),
          ])
        : data;
    const messages: string[] = [];
    socket.on("message", (data: Buffer) => messages.push(decoded(data).toString("hex")));
    await once(socket, "open");
    t.equal(socket.protocol, protocol);
    socket.send(base64 ? `2${Buffer.from("ping").toString("base64")}` : Buffer.from("\x02ping"));
    const until = AbortSignal.timeout(30_000);
    while (messages.length < 5) await once(socket, "message", { signal: until });
    const ports = ["00901f", "01901f", "02901f", "03901f"];
    t.same(
      messages.toSorted(),
      [...ports, "0270696e67"].toSorted(),
      "the answer on the second port's channel",
    );
    t.same(messages.indexOf("0270696e67"), 4);
    const closed = once(socket, "close");
    socket.close();
    await closed;
  });
}

t.test("agent §2.3: port-forward over WebSocket refuses ports that are none by name", async (t) => {
  await using node = await streamNode();
  for (const [query, words] of [
    ["", 'query parameter "port" is required'],
    ["?port=0", 'unable to parse "0" as a port'],
    ["?port=8080,x", 'unable to parse "x" as a port'],
    ["?port=65536", 'unable to parse "65536" as a port'],
  ] as const) {
    const socket = new WebSocket(`ws://${node.host}/portForward/default/web${query}`, "v4.channel.k8s.io");
    socket.on("error", () => {});
    const [, response] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
    let text = "";
    for await (const chunk of response) text += String(chunk);
    t.same([response.statusCode, text], [400, words], query);
  }
});

t.test(
  "agent §2.3: port-forward over WebSocket channels tells what went wrong before it closes",
  async (t) => {
    await using node = await streamNode();
    const socket = new WebSocket(`ws://${node.host}/portForward/default/web?port=81`, "v4.channel.k8s.io");
    const errors: string[] = [];
    socket.on("message", (data: Buffer) => {
      if (data[0] === 1) errors.push(data.subarray(1).toString());
    });
    await once(socket, "close", { signal: AbortSignal.timeout(30_000) });
    t.match(errors[1], /connection refused/);
  },
);
