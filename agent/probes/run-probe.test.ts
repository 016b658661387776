import { once } from "node:events";
import http from "node:http";
import net from "node:net";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import type { ExecResult } from "../runtime/runtime.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { runProbe } from "./run-probe.ts";

const runtime = new FakeRuntime(systemClock);
const signal = AbortSignal.timeout(20_000);

async function listening(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

function target(port: number) {
  const ports = [{ name: "web", containerPort: port }];
  return {
    containerId: "c",
    container: { name: "web", ports, env: [{ name: "WORD", value: "hello" }] },
    podIp: "127.0.0.1",
  };
}

t.test("a TCP probe connects within its timeout, by number or name of the port", async (t) => {
  const server = net.createServer((socket) => socket.destroy());
  const port = await listening(server);
  for (const named of [port, "web"]) {
    const probe = { tcpSocket: { port: named } };
    t.same(await runProbe(probe, target(port), runtime, signal), { outcome: "success", output: "" });
  }
  server.close();
  await once(server, "close");
  t.match(await runProbe({ tcpSocket: { port, host: "127.0.0.1" } }, target(port), runtime, signal), {
    outcome: "failure",
    output: `dial tcp 127.0.0.1:${port}: connect: connection refused`,
  });
  t.match(await runProbe({ tcpSocket: { port: "other" } }, target(port), runtime, signal), {
    outcome: "unknown",
    output: /couldn't find port: other/,
  });
});

t.test("an HTTP probe follows redirects on its host, sends its headers, and takes 200 to 399", async (t) => {
  const seen: http.IncomingHttpHeaders[] = [];
  const server = http.createServer((request, response) => {
    seen.push(request.headers);
    const path = request.url ?? "";
    if (path === "/here") response.writeHead(302, { location: "/ok" }).end();
    else if (path === "/away") response.writeHead(302, { location: "http://other.invalid/" }).end("x");
    else if (path === "/round") response.writeHead(302, { location: "/round" }).end();
    else if (path === "/slow") setTimeout(() => response.end("late"), 3_000).unref();
    else if (path === "/long") response.end("a".repeat(20_000));
    else response.writeHead(path === "/bad" ? 503 : path === "/edge" ? 399 : 200).end("fine");
  });
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const port = await listening(server);
  const ask = async (path: string, more: object = {}) =>
    await runProbe({ httpGet: { path, port: "web", ...more } }, target(port), runtime, signal);
  t.same(await ask("/here"), { outcome: "success", output: "fine" });
  t.match(seen[0], { "user-agent": /^kube-probe\/1\./, accept: "*/*", connection: "close" });
  t.match(await ask("/away"), { outcome: "success", warning: /Probe terminated redirects/ });
  t.match(await ask("/round"), { outcome: "failure", output: /stopped after 10 redirects/ });
  t.match(await ask("/edge"), { outcome: "success" });
  t.match(await ask("/bad"), { outcome: "failure", output: "HTTP probe failed with statuscode: 503" });
  t.match(
    await ask("/slow"),
    { outcome: "failure", output: /context deadline exceeded/ },
    "one second unless given",
  );
  t.equal((await ask("/long")).output.length, 10 * 1024);
  seen.length = 0;
  const httpHeaders = [
    { name: "Host", value: "web.example" },
    { name: "User-Agent", value: "" },
    { name: "X-One", value: "1" },
  ];
  await ask("/ok", { httpHeaders });
  t.match(seen[0], { host: "web.example", "x-one": "1" });
  t.notOk(seen[0]?.["user-agent"]);
});

t.test("an exec probe's command takes the container's variables, and its output is cut", async (t) => {
  const asked: (readonly string[])[] = [];
  class Shell extends FakeRuntime {
    override async execSync(_id: string, command: readonly string[]): Promise<ExecResult> {
      asked.push(command);
      return { exitCode: 1, stdout: Buffer.alloc(8_000, "o"), stderr: Buffer.alloc(8_000, "e") };
    }
  }
  const probe = { exec: { command: ["say", "$(WORD)", "$$(WORD)", "$(OTHER)"] } };
  const answer = await runProbe(probe, target(80), new Shell(systemClock), signal);
  t.same(asked, [["say", "hello", "$(WORD)", "$(OTHER)"]]);
  t.equal(answer.outcome, "failure");
  t.equal(answer.output.length, 10 * 1024);
});
