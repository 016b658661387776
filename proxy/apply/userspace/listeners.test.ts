import { createSocket } from "node:dgram";
import { connect, createServer, type AddressInfo } from "node:net";
import t, { type Test } from "tap";
import { systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { testEndpoint } from "../../plan/test-ports.ts";
import { Balancer } from "./balancer.ts";
import { listenTcp } from "./tcp-listener.ts";
import { listenUdp } from "./udp-listener.ts";

const ports = (...numbers: number[]) => {
  const balancer = new Balancer(systemClock, () => 0.999);
  balancer.update(
    numbers.map((port) => testEndpoint("127.0.0.1", port)),
    0,
  );
  return { balancer, log: noLog, maxConnections: 2, clock: systemClock };
};
const say = (port: number, text: string): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    let got = "";
    socket.on("data", (chunk) => {
      got += chunk.toString();
    });
    socket.once("error", reject);
    socket.once("end", () => resolve(got));
    socket.end(text);
  });
/** Answers only when the client has said that it is done: works only when the proxy passes half-closes on. */
async function echoAtEnd(t: Test): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const chunks: Buffer[] = [];
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("end", () => socket.end(Buffer.concat(chunks)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

t.test("each direction ends on its own, and a large stream arrives whole", async (t) => {
  const listener = await listenTcp("127.0.0.1", ports(await echoAtEnd(t)));
  t.teardown(() => listener.close("kill"));
  const text = "x".repeat(5_000_000);
  t.equal((await say(listener.proxyPort, text)).length, text.length);
});
t.test("a server that is done sending still receives", async (t) => {
  const { promise: received, resolve } = Promise.withResolvers<string>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let got = "";
    socket.on("error", () => undefined);
    socket.on("data", (chunk) => {
      got += chunk.toString();
    });
    socket.on("end", () => resolve(got));
    socket.end("bye");
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const listener = await listenTcp("127.0.0.1", ports((server.address() as AddressInfo).port));
  t.teardown(() => {
    listener.close("kill");
    server.close();
  });
  const client = connect({ host: "127.0.0.1", port: listener.proxyPort, allowHalfOpen: true });
  client.resume();
  client.on("error", () => undefined);
  client.once("end", () => client.end("still here"));
  const late = new Promise<string>((done) => setTimeout(() => done("nothing"), 2_000).unref());
  t.equal(await Promise.race([received, late]), "still here");
});
t.test("an endpoint that refuses is passed over", async (t) => {
  const good = await echoAtEnd(t);
  const listener = await listenTcp("127.0.0.1", ports(1, good));
  t.teardown(() => listener.close("kill"));
  t.equal(await say(listener.proxyPort, "a"), "a");
  t.equal(await say(listener.proxyPort, "b"), "b");
});
t.test("without an endpoint the connection is closed", async (t) => {
  const listener = await listenTcp("127.0.0.1", ports());
  t.teardown(() => listener.close("kill"));
  t.equal(
    await say(listener.proxyPort, "a")
      .catch(() => "reset")
      .then((got) => got === "" || got === "reset"),
    true,
  );
});
t.test("a UDP client keeps its endpoint until that leaves", async (t) => {
  const backends = await Promise.all(
    ["a", "b"].map(
      (name) =>
        new Promise<ReturnType<typeof createSocket>>((resolve) => {
          const socket = createSocket("udp4");
          socket.on("message", (_, from) => socket.send(name, from.port, from.address));
          socket.bind(0, "127.0.0.1", () => resolve(socket));
        }),
    ),
  );
  const numbers = backends.map((socket) => socket.address().port);
  const common = ports(...numbers);
  const listener = await listenUdp("127.0.0.1", common);
  const client = createSocket("udp4");
  t.teardown(() => {
    listener.close();
    client.close();
    for (const socket of backends) socket.close();
  });
  const ask = () =>
    new Promise<string>((resolve) => {
      client.once("message", (message) => resolve(message.toString()));
      client.send("who", listener.proxyPort, "127.0.0.1");
    });
  t.same([await ask(), await ask(), await ask()], ["a", "a", "a"]);
  common.balancer.update(
    numbers.slice(1).map((port) => testEndpoint("127.0.0.1", port)),
    0,
  );
  listener.endpointsChanged();
  t.equal(await ask(), "b");
});
