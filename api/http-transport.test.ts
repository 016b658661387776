import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { HttpTransport } from "./http-transport.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "keelson-transport-"));
t.teardown(() => rmSync(folder, { recursive: true }));
execFileSync(
  "openssl",
  [
    "req",
    "-x509",
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-days",
    "2",
    "-subj",
    "/CN=test",
    "-addext",
    "subjectAltName=IP:127.0.0.1",
    "-keyout",
    path.join(folder, "key"),
    "-out",
    path.join(folder, "cert"),
  ],
  { stdio: "ignore" },
);
const cert = readFileSync(path.join(folder, "cert"), "utf8");
const key = readFileSync(path.join(folder, "key"), "utf8");
const get = { method: "GET", path: "/x?y=1", headers: { accept: "application/json" } } as const;

async function text(body: AsyncIterable<Uint8Array>): Promise<string> {
  const parts: Uint8Array[] = [];
  for await (const chunk of body) parts.push(chunk);
  return Buffer.concat(parts).toString("utf8");
}

async function listen(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

t.test("it speaks HTTP/2 over TLS with a token, on one connection", async (t) => {
  let sessions = 0;
  const server = http2.createSecureServer({ cert, key });
  server.on("session", () => {
    sessions += 1;
  });
  server.on("stream", (stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(`${headers[":path"]} ${headers.authorization}`);
  });
  const transport = new HttpTransport({
    server: `https://127.0.0.1:${await listen(server)}`,
    ca: cert,
    token: () => "abc",
  });
  const signal = AbortSignal.timeout(10_000);
  const answers = await Promise.all(
    [1, 2, 3].map(async () => await text((await transport.send(get, signal)).body)),
  );
  t.same(
    answers,
    Array.from({ length: 3 }, () => "/x?y=1 Bearer abc"),
  );
  t.equal(sessions, 1);
  await transport.close();
  server.close();
});
t.test("it falls back to HTTP/1.1 without TLS", async (t) => {
  const server = http.createServer((request, response) => response.end(`plain ${request.url}`));
  const transport = new HttpTransport({ server: `http://127.0.0.1:${await listen(server)}` });
  t.equal(await text((await transport.send(get, AbortSignal.timeout(10_000))).body), "plain /x?y=1");
  await transport.close();
  server.close();
});
t.test("a server whose certificate is not ours is refused", async (t) => {
  const server = http2.createSecureServer({ cert, key });
  const transport = new HttpTransport({ server: `https://127.0.0.1:${await listen(server)}` });
  await t.rejects(transport.send(get, AbortSignal.timeout(10_000)), /cannot reach the API server/);
  await transport.close();
  server.close();
});
t.test("a connection that goes silent breaks its watch, and the next request opens another", async (t) => {
  const server = http2.createSecureServer({ cert, key });
  server.on("stream", (stream) => {
    stream.on("error", () => undefined);
    stream.respond({ ":status": 200 });
    stream.write("first\n");
  });
  const serverPort = await listen(server);
  // A relay that can swallow everything, as a firewall that forgot a connection does.
  let silent = false;
  const sockets: net.Socket[] = [];
  const relay = net.createServer((near) => {
    const far = net.connect(serverPort, "127.0.0.1");
    sockets.push(near, far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on(
        "data",
        (chunk: Buffer) => void (silent && sockets.indexOf(near) < 2 ? undefined : to.write(chunk)),
      );
      from.on("error", () => undefined);
      from.on("close", () => to.destroy());
    }
  });
  const transport = new HttpTransport(
    { server: `https://127.0.0.1:${await listen(relay)}`, ca: cert },
    { pingMs: 100 },
  );
  const signal = AbortSignal.timeout(10_000);
  const response = await transport.send(get, signal);
  const reading = text(response.body);
  silent = true;
  await t.rejects(reading, "the watch fails instead of waiting for ever");
  const again = await transport.send(get, signal);
  t.equal(again.status, 200);
  await transport.close();
  for (const socket of sockets) socket.destroy();
  relay.close();
  server.close();
});
