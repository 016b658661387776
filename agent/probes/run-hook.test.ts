import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import t from "tap";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import type { ExecResult, ExecSyncOptions } from "../runtime/runtime.ts";
import { selfSignedCertificate } from "../server/serving-certificate.ts";
import { httpGet } from "./http-get.ts";
import { runHook } from "./run-hook.ts";

const signal = AbortSignal.timeout(20_000);

async function listening(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const target = { containerId: "c", container: { name: "web" }, podIp: "127.0.0.1" };

function ports(runtime = new FakeRuntime(systemClock), clock: FakeClock | typeof systemClock = systemClock) {
  const said: string[] = [];
  return { runtime, clock, said, fellBack: (message: string) => said.push(message) };
}

t.test("HK3: an exec hook has no time of its own and fails by its exit code", async (t) => {
  const options: ExecSyncOptions[] = [];
  class Shell extends FakeRuntime {
    override async execSync(
      _id: string,
      command: readonly string[],
      given: ExecSyncOptions,
    ): Promise<ExecResult> {
      options.push(given);
      return {
        exitCode: command.includes("bad") ? 3 : 0,
        stdout: Buffer.from("out"),
        stderr: Buffer.from("err"),
      };
    }
  }
  const given = ports(new Shell(systemClock));
  await runHook({ exec: { command: ["good"] } }, target, given, signal);
  t.equal(options[0]?.timeoutMs, 0);
  await t.rejects(runHook({ exec: { command: ["bad", "one"] } }, target, given, signal), {
    message: "command 'bad one' exited with 3: outerr",
  });
});

t.test("HK3 PR4: a server that switches protocols has failed, and holds nobody up", async (t) => {
  const server = net.createServer((socket) => {
    socket.on("error", () => undefined);
    socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n");
  });
  const port = await listening(server);
  t.teardown(() => server.close());
  const get = {
    url: new URL(`http://127.0.0.1:${port}/`),
    headers: [],
    userAgent: "x",
    timeoutMs: undefined,
  };
  await t.rejects(httpGet(get, AbortSignal.timeout(20_000)), { message: /switched protocols/ });
});

t.test("HK3: an httpGet hook names itself, and any answer will do", async (t) => {
  const seen: http.IncomingMessage[] = [];
  const server = http.createServer((request, response) => {
    seen.push(request);
    response.writeHead(500).end();
  });
  t.teardown(() => server.close());
  const port = await listening(server);
  const container = { name: "web", ports: [{ name: "admin", containerPort: port }] };
  const hook = {
    httpGet: { port: "admin", path: "bye?now=1", httpHeaders: [{ name: "X-One", value: "1" }] },
  };
  await runHook(hook, { ...target, container }, ports(), signal);
  t.equal(seen[0]?.url, "/bye?now=1");
  t.match(seen[0]?.headers, { "user-agent": "kube-lifecycle/1.36", "x-one": "1" });
  await t.rejects(runHook(hook, target, ports(), signal), { message: /couldn't find port: admin/ });
  server.close();
  await once(server, "close");
  await t.rejects(runHook(hook, { ...target, container }, ports(), signal), {
    message: /connect: connection refused/,
  });
});

t.test(
  "HK3: HTTPS is tried first; a server that answers in HTTP is asked in HTTP, without the secret",
  async (t) => {
    const seen: http.IncomingHttpHeaders[] = [];
    const answer: http.RequestListener = (request, response) => {
      seen.push(request.headers);
      response.end();
    };
    const secure = https.createServer(await selfSignedCertificate("x", "serverAuth"), answer);
    const plain = http.createServer(answer);
    t.teardown(() => {
      for (const one of [secure, plain]) {
        one.close();
        one.closeAllConnections();
      }
    });
    const httpHeaders = [{ name: "Authorization", value: "Bearer secret" }];
    const given = ports();
    const ask = async (port: number) =>
      await runHook({ httpGet: { port, scheme: "HTTPS", httpHeaders } }, target, given, signal);
    await ask(await listening(secure));
    t.equal(seen[0]?.authorization, "Bearer secret");
    t.same(given.said, []);
    await ask(await listening(plain));
    t.equal(seen.length, 2);
    t.equal(seen[1]?.authorization, undefined);
    t.match(given.said, [
      /^request to HTTPS lifecycle hook 127.0.0.1:\d+\/ got HTTP response, retry with HTTP/,
    ]);
  },
);

t.test(
  "HK3: a sleep hook sleeps, zero is none, and the signal cuts it; tcpSocket does nothing",
  async (t) => {
    await runHook({ sleep: { seconds: 0 } }, target, ports(), signal);
    const clock = new FakeClock();
    const given = ports(new FakeRuntime(clock), clock);
    let done = false;
    const slept = runHook({ sleep: { seconds: 5 } }, target, given, signal).then(() => {
      done = true;
    });
    await clock.advance(4_999);
    t.equal(done, false);
    await clock.advance(1);
    await slept;
    const stop = new AbortController();
    const cut = runHook({ sleep: { seconds: 500 } }, target, given, stop.signal);
    stop.abort(new Error("the grace period is over"));
    await t.rejects(cut, { message: "the grace period is over" });
    await runHook({ tcpSocket: { port: 1 } }, target, given, signal);
  },
);
