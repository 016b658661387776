import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import * as grpc from "@grpc/grpc-js";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import type { ExecResult } from "../runtime/runtime.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { selfSignedCertificate } from "../server/serving-certificate.ts";
import { runProbe } from "./run-probe.ts";

const runtime = new FakeRuntime(systemClock);
const signal = AbortSignal.timeout(20_000);

async function listening(server: net.Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function bound(server: grpc.Server, port = 0): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync(`127.0.0.1:${port}`, grpc.ServerCredentials.createInsecure(), (cause, found) =>
    cause === null ? resolve(found) : reject(cause),
  );
  return await promise;
}

/** A gRPC server with grpc.health.v1: the service's name says how it is. */
async function healthServer(wished = 0) {
  const server = new grpc.Server();
  const asked: (readonly [string, string])[] = [];
  const check: grpc.handleUnaryCall<{ readonly service: string }, number> = (call, answer) => {
    asked.push([call.request.service, String(call.metadata.get("user-agent")[0])]);
    if (call.request.service === "slow") return;
    if (call.request.service === "lost") answer({ code: grpc.status.NOT_FOUND, details: "no such service" });
    else answer(null, call.request.service === "down" ? 2 : 1);
  };
  const definition: grpc.MethodDefinition<{ readonly service: string }, number> = {
    path: "/grpc.health.v1.Health/Check",
    requestStream: false,
    responseStream: false,
    requestSerialize: ({ service }) => Buffer.from(service),
    // Field 1, a string, behind its length: one byte of it below 128, two above.
    requestDeserialize: (bytes) => ({
      service: bytes.subarray(bytes.length > 129 ? 3 : Math.min(2, bytes.length)).toString("utf8"),
    }),
    responseSerialize: (status) => Buffer.from([0x08, status]),
    responseDeserialize: (bytes) => bytes[1] ?? 0,
  };
  server.addService({ check: definition }, { check });
  return { server, port: await bound(server, wished), asked };
}

function target(port: number) {
  const ports = [{ name: "web", containerPort: port }];
  return {
    containerId: "c",
    container: { name: "web", ports, env: [{ name: "WORD", value: "hello" }] },
    podIp: "127.0.0.1",
  };
}

t.test("PR5: a TCP probe connects within its timeout, by number or name of the port", async (t) => {
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

t.test(
  "PR4: an HTTP probe follows redirects on its host, sends its headers, and takes 200 to 399",
  async (t) => {
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
    t.match(
      await ask("/away"),
      { outcome: "success", warning: "Probe terminated redirects, Response body: x" },
      "another host is not asked",
    );
    t.match(await ask("/edge"), { outcome: "success", warning: /Probe terminated redirects/ });
    t.same(await ask("/ok"), { outcome: "success", output: "fine" }, "and 2xx is no warning");
    t.match(await ask("/round"), { outcome: "failure", output: /stopped after 10 redirects/ });
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
    await ask("/here", { httpHeaders });
    t.match(seen[0], { host: "web.example", "x-one": "1" });
    t.notOk(seen[0]?.["user-agent"]);
    t.match(seen[1], { host: "web.example" }, "a redirect by path is to the same Host");
    const accepts = [
      { wish: [{ name: "Accept", value: "text/html" }], accept: "text/html" },
      { wish: [{ name: "accept", value: "" }], accept: undefined },
      {
        wish: [
          { name: "Accept", value: "text/html" },
          { name: "Accept", value: "text/plain" },
        ],
        accept: "text/html, text/plain",
      },
    ];
    for (const { wish, accept } of accepts) {
      seen.length = 0;
      await ask("/ok", { httpHeaders: wish });
      t.equal(seen[0]?.accept, accept);
      t.notOk(seen[0]?.["accept-encoding"], "nothing compressed");
    }
  },
);

t.test(
  "PR4: every HTTP probe has a connection of its own, and a proxy of the environment is not used",
  async (t) => {
    let connections = 0;
    const server = http.createServer((_, response) => response.end("fine"));
    server.on("connection", () => {
      connections += 1;
    });
    t.teardown(() => server.close());
    const port = await listening(server);
    process.env["http_proxy"] = "http://127.0.0.1:1";
    t.teardown(() => delete process.env["http_proxy"]);
    for (let i = 0; i < 3; i += 1) {
      t.match(await runProbe({ httpGet: { port } }, target(port), runtime, signal), { outcome: "success" });
    }
    t.equal(connections, 3);
  },
);

t.test("PR4: an HTTPS probe takes any certificate, and plain HTTP is a failure", async (t) => {
  const pair = await selfSignedCertificate("somebody.else", "serverAuth");
  const server = https.createServer(pair, (request, response) =>
    response.end(`${request.headers["user-agent"]} ${request.url}`),
  );
  const plain = http.createServer((_, response) => response.end());
  t.teardown(() => {
    for (const one of [server, plain]) {
      one.close();
      one.closeAllConnections();
    }
  });
  const port = await listening(server);
  const ask = async (to: number) =>
    await runProbe({ httpGet: { port: to, scheme: "HTTPS", path: "live" } }, target(to), runtime, signal);
  t.same(await ask(port), { outcome: "success", output: "kube-probe/1.36 /live" });
  t.match(await ask(await listening(plain)), {
    outcome: "failure",
    output: /http: server gave HTTP response to HTTPS client$/,
  });
});

t.test("PR6: a gRPC probe asks the health service by name, over HTTP/2 without TLS", async (t) => {
  const { server, port, asked } = await healthServer();
  t.teardown(() => server.forceShutdown());
  const ask = async (service: string | undefined, to = port) => {
    const grpcProbe = service === undefined ? { port: to } : { port: to, service };
    return await runProbe({ grpc: grpcProbe }, target(to), runtime, signal);
  };
  t.same(await ask(undefined), { outcome: "success", output: "service healthy" });
  t.same(await ask("shop"), { outcome: "success", output: "service healthy" });
  t.match(await ask("a".repeat(300)), { outcome: "success" }, "a long name too");
  t.same(
    asked.map(([service]) => service),
    ["", "shop", "a".repeat(300)],
  );
  t.match(asked[0]?.[1], /^kube-probe\/1\.36/);
  t.same(await ask("down"), {
    outcome: "failure",
    output: 'service unhealthy (responded with "NOT_SERVING")',
  });
  t.match(await ask("lost"), { outcome: "failure", output: /health rpc probe failed: .*no such service/ });
  t.match(await ask("slow"), {
    outcome: "failure",
    output: "timeout: health rpc did not complete within 1s",
  });
});

t.test("PR6: a server without the health service, or none at all, is a failure", async (t) => {
  const bare = new grpc.Server();
  const port = await bound(bare);
  t.teardown(() => bare.forceShutdown());
  const probe = { grpc: { port } };
  t.match(await runProbe(probe, target(port), runtime, signal), {
    outcome: "failure",
    output: /^error: this server does not implement the grpc health protocol/,
  });
  bare.forceShutdown();
  t.match(await runProbe(probe, target(port), runtime, signal), {
    outcome: "failure",
    output: /^(error: failed to connect service at|timeout: )/,
  });
  const { server } = await healthServer(port);
  t.teardown(() => server.forceShutdown());
  t.match(
    await runProbe(probe, target(port), runtime, signal),
    { outcome: "success" },
    "no back-off is kept",
  );
});

t.test("PR3: an exec probe's command takes the container's variables, and its output is cut", async (t) => {
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
