import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { type Clock, FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { accessFor } from "./access.ts";
import { fakeView } from "./fake-view.ts";
import { type ServerConfig, startServer } from "./main.ts";
import type { RequestLabels } from "./request-labels.ts";
import { selfSignedCertificate, type ServingCertificate } from "./serving-certificate.ts";

t.test("a path needs its own subresource, and running commands needs create", async (t) => {
  t.same(accessFor("GET", "/pods"), { verbs: ["get"], subresources: ["pods", "proxy"] });
  t.same(accessFor("GET", "/stats/summary"), { verbs: ["get"], subresources: ["stats"] });
  t.same(accessFor("GET", "/metrics/resource"), { verbs: ["get"], subresources: ["metrics"] });
  t.same(accessFor("GET", "/containerLogs/a/b/c"), { verbs: ["get"], subresources: ["proxy"] });
  t.same(accessFor("POST", "/exec/a/b/c"), { verbs: ["create"], subresources: ["proxy"] });
  t.same(accessFor("GET", "/exec/a/b/c"), { verbs: ["get", "create"], subresources: ["proxy"] });
  t.same(accessFor("GET", "/podsecrets"), { verbs: ["get"], subresources: ["proxy"] });
});

const usual: ServerConfig = {
  rootDir: "",
  address: "127.0.0.1",
  port: 0,
  tlsCertFile: "",
  tlsPrivateKeyFile: "",
  clientCaFile: "",
  streamIdleMs: 0,
  anonymousAuth: false,
  authorizationMode: "Webhook",
  enableDebuggingHandlers: true,
  readOnlyPort: 0,
};

t.test("the server answers those it knows, and only what they may", async (t) => {
  const rootDir = await mkdtemp(path.join(tmpdir(), "keelson-server-"));
  const stop = new AbortController();
  const runtime = new FakeRuntime(systemClock, { logs: "files" });
  const awake = setInterval(() => {}, 1_000);
  const view = await fakeView(runtime, "echo hello; sleep 600", path.join(rootDir, "logs"), stop.signal);
  // The admin's certificate signs itself, so it is its own authority.
  const admin = await selfSignedCertificate("kube-apiserver-kubelet-client", "clientAuth");
  const caFile = path.join(rootDir, "ca.crt");
  await writeFile(caFile, admin.cert);
  const api = new FakeReviews();
  const server = await startServer(
    { ...usual, rootDir, clientCaFile: caFile },
    {
      log: noLog,
      clock: systemClock,
      view,
      runtime,
      client: new ApiClient(api),
      metrics: async () => "kubelet_running_pods 1\n",
    },
    stop.signal,
  );
  const get = (route: string, who: object = admin, method = "GET"): Promise<Answer> =>
    ask({ port: server.port, path: route, method, ...who });
  const token = (name: string): object => ({ headers: { authorization: `Bearer ${name}` } });

  t.match(await get("/healthz", {}), { status: 200, text: "ok" });
  t.match(await get("/pods", {}), { status: 401, text: "Unauthorized\n" });
  t.match(await get("/pods", token("nobody")), { status: 401 });
  t.match(await get("/pods", token("reader")), { status: 200, text: /"name":"web"/ });
  t.match(await get("/run/default/web/main?cmd=true", token("reader"), "POST"), {
    status: 403,
    text: "Forbidden (user=reader, verb=create, resource=nodes, subresource(s)=[proxy])\n",
  });
  const asked = api.asked;
  await get("/pods", token("reader"));
  t.equal(api.asked, asked, "answers are remembered");

  t.match(await get("/pods"), { status: 200, text: /"kind":"PodList"/ });
  t.match(await get("/runningpods/"), { status: 200, text: /"uid":"uid-web"/ });
  t.match(await get("/configz"), { status: 200, text: /kubeletconfig/ });
  t.match(await get("/metrics"), { status: 200, text: "kubelet_running_pods 1\n" });
  t.match(await get("/metrics/resource"), { status: 200, text: /node_cpu_usage_seconds_total \d/ });
  t.match(await get("/stats/summary"), { status: 200, text: /"nodeName":"node-1"/ });
  t.match(await get("/run/default/web/main?cmd=echo+hi", admin, "POST"), { status: 200, text: "hi\n" });
  await until(async () => (await get("/containerLogs/default/web/main")).text === "hello\n");
  t.match(await get("/containerLogs/default/web/main"), { status: 200, text: "hello\n" });
  t.match(await get("/containerLogs/default/web/main?tailLines=x"), { status: 400 });
  t.match(await get("/containerLogs/default/web/main?previous=true"), {
    status: 400,
    text: /previous terminated/,
  });
  t.match(await get("/containerLogs/default/web/late"), {
    status: 400,
    text: /waiting to start: ContainerCreating/,
  });
  t.match(await get("/containerLogs/default/web/none"), {
    status: 404,
    text: 'container "none" not found in pod "web"\n',
  });
  t.match(await get("/containerLogs/default/gone/main"), {
    status: 404,
    text: 'pod "gone" does not exist\n',
  });
  t.match(await get("/exec/default/web/main?command=true&output=1"), { status: 400, text: /upgrade/ });
  t.match(await get("/nonsense"), { status: 404 });
  t.match(await get("/run/default/web/main?cmd=true"), { status: 405 });
  t.match(await get("/flagz"), { status: 200, text: /\nkind=KubeletConfiguration\n/ });
  t.match(await get("/statusz"), { status: 200, text: /\nUp: 0 hr 00 min \d\d sec\nBinary version: 1\./ });
  t.match(await get("/logs/"), { status: 200, text: /^<pre>\n/ });
  t.match(await readFile(path.join(rootDir, "pki/kubelet.crt"), "utf8"), /BEGIN CERTIFICATE/);
  stop.abort();
  await server.closed;
  await runtime.close();
  clearInterval(awake);
  await rm(rootDir, { recursive: true });
});

t.test("agent §2.2: who may call is as the settings say", async (t) => {
  const admin = await selfSignedCertificate("kube-apiserver-kubelet-client", "clientAuth");
  const token = (name: string): object => ({ headers: { authorization: `Bearer ${name}` } });
  const cases: readonly {
    readonly name: string;
    readonly config: Partial<ServerConfig>;
    readonly who: object;
    readonly route?: string;
    readonly want: Partial<Answer>;
  }[] = [
    { name: "nobody", config: {}, who: {}, want: { status: 401 } },
    { name: "a certificate of no authority", config: {}, who: admin, want: { status: 401 } },
    { name: "anybody", config: { anonymousAuth: true }, who: {}, want: { status: 200 } },
    {
      name: "anybody, for what takes more",
      config: { anonymousAuth: true },
      who: {},
      route: "/exec/default/web/main",
      want: {
        status: 403,
        text: "Forbidden (user=system:anonymous, verb=get,create, resource=nodes, subresource(s)=[proxy])\n",
      },
    },
    {
      name: "a token that is not good is not nobody's",
      config: { anonymousAuth: true },
      who: token("bad"),
      want: { status: 401 },
    },
    {
      name: "every known user",
      config: { authorizationMode: "AlwaysAllow" },
      who: token("reader"),
      route: "/exec/default/web/main",
      want: { status: 400 },
    },
    {
      name: "nobody all the same",
      config: { authorizationMode: "AlwaysAllow" },
      who: {},
      want: { status: 401 },
    },
    {
      name: "nothing of a Pod, by the setting",
      config: { authorizationMode: "AlwaysAllow", enableDebuggingHandlers: false },
      who: token("reader"),
      route: "/containerLogs/default/web/main",
      want: { status: 405, text: "Debug endpoints are disabled.\n" },
    },
    {
      name: "the list of Pods is no debugging",
      config: { enableDebuggingHandlers: false },
      who: token("reader"),
      want: { status: 200 },
    },
  ];
  for (const { name, config, who, route = "/pods", want } of cases) {
    await using node = await serverNode(config, systemClock);
    t.match(await ask({ port: node.port, path: route, method: "GET", ...who }), want, name);
  }
});

t.test("agent §2.2: certificates and the authority of callers are read anew when they change", async (t) => {
  const clock = new FakeClock();
  const folder = await mkdtemp(path.join(tmpdir(), "keelson-server-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const files = {
    clientCaFile: path.join(folder, "ca.crt"),
    tlsCertFile: path.join(folder, "tls.crt"),
    tlsPrivateKeyFile: path.join(folder, "tls.key"),
  };
  const put = async (authority: { readonly cert: string }, serving: ServingCertificate): Promise<void> => {
    await writeFile(files.clientCaFile, authority.cert);
    await writeFile(files.tlsPrivateKeyFile, serving.key);
    await writeFile(files.tlsCertFile, serving.cert);
  };
  const [first, second] = [
    await selfSignedCertificate("kube-apiserver-kubelet-client", "clientAuth"),
    await selfSignedCertificate("kube-apiserver-kubelet-client", "clientAuth"),
  ];
  const [one, two] = [
    await selfSignedCertificate("one", "serverAuth"),
    await selfSignedCertificate("two", "serverAuth"),
  ];
  await put(first, one);
  await using node = await serverNode(files, clock);
  const get = (who: object): Promise<Answer> =>
    ask({ port: node.port, path: "/pods", method: "GET", ...who });
  t.match(await get(first), { status: 200, server: "one" });
  t.match(await get(second), { status: 401 });
  await writeFile(files.clientCaFile, "nonsense");
  await clock.advance(10_000);
  t.match(await get(first), { status: 200, server: "one" }, "what was good is kept");
  await put(second, two);
  await until(async () => {
    await clock.advance(10_000);
    return (await get(second)).status === 200;
  });
  t.match(await get(second), { status: 200, server: "two" });
  t.match(await get(first), { status: 401 }, "the old authority's are refused");
});

t.test("agent §2.1: the read-only port shows what harms nobody, and nothing else", async (t) => {
  await using node = await serverNode({ readOnlyPort: await freePort() }, systemClock);
  const get = async (route: string, method = "GET"): Promise<readonly [number, string]> => {
    const response = await fetch(`http://127.0.0.1:${node.readOnlyPort}${route}`, { method });
    return [response.status, await response.text()];
  };
  t.match(await get("/healthz"), [200, "ok"]);
  t.match(await get("/pods"), [200, /"kind":"PodList"/]);
  t.match(await get("/stats/summary"), [200, /nodeName/]);
  t.match(await get("/metrics"), [200, ""]);
  for (const route of [
    "/containerLogs/default/web/main",
    "/run/default/web/main?cmd=ls",
    "/exec/a/b/c",
    "/configz",
    "/logs/",
  ])
    t.match(await get(route), [404, /not found/], route);
  t.match(await get("/pods", "POST"), [405, /Method/]);
});

t.test(
  "agent §2.6: requests are counted by what they are for, and what is none of it is other",
  async (t) => {
    const running = new Map<string, number>();
    const seen: string[] = [];
    const count = ({ method, path, server_type, long_running }: RequestLabels): (() => void) => {
      const name = `${method} ${path} ${server_type} ${long_running}`;
      seen.push(name);
      running.set(name, (running.get(name) ?? 0) + 1);
      return () => running.set(name, (running.get(name) ?? 0) - 1);
    };
    await using node = await serverNode(
      { readOnlyPort: await freePort(), anonymousAuth: true },
      systemClock,
      count,
    );
    for (const [method, route] of [
      ["GET", "/pods"],
      ["POST", "/exec/default/web/main?command=ls"],
      ["GET", "/metrics/resource"],
      ["GET", "/metrics/of/everybody"],
      ["OPTIONS", "/secret-123"],
    ] as const)
      await ask({ port: node.port, path: route, method });
    await (await fetch(`http://127.0.0.1:${node.readOnlyPort}/healthz`)).text();
    t.same(seen, [
      "GET pods readwrite false",
      "POST exec readwrite true",
      "GET metrics/resource readwrite false",
      "GET other readwrite false",
      "other other readwrite false",
      "GET healthz readonly false",
    ]);
    const upgrade = { connection: "Upgrade", upgrade: "SPDY/3.1" };
    await ask({ port: node.port, path: "/attach/default/web/main", method: "POST", headers: upgrade });
    t.equal(seen.at(-1), "POST attach readwrite true");
    await until(async () => [...running.values()].every((number) => number === 0));
    t.same(new Set(running.values()), new Set([0]), "and none is left over");
  },
);

t.test(
  "agent §2.3: streams pass the gate like any request, and idle ones are cut over TLS too",
  async (t) => {
    const reader = { authorization: "Bearer reader" };
    for (const upgrade of ["SPDY/3.1", "websocket"]) {
      const headers = {
        connection: "Upgrade",
        upgrade,
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      };
      for (const action of ["exec", "attach"]) {
        const route = { path: `/${action}/default/web/main?command=cat&output=1&input=1`, method: "GET" };
        await using strict = await serverNode({ streamIdleMs: 200 }, systemClock);
        t.match(
          await ask({ port: strict.port, ...route, headers }),
          { status: 401 },
          `${upgrade} ${action}: nobody`,
        );
        t.match(
          await ask({ port: strict.port, ...route, headers: { ...headers, ...reader } }),
          { status: 403, text: /verb=get,create/ },
          `${upgrade} ${action}: who may only read`,
        );
        const all: Partial<ServerConfig> = { streamIdleMs: 200, authorizationMode: "AlwaysAllow" };
        await using open = await serverNode(all, systemClock);
        const sent = request({
          host: "127.0.0.1",
          port: open.port,
          ...route,
          headers: { ...headers, ...reader },
          rejectUnauthorized: false,
          agent: false,
        });
        sent.end();
        const [response, socket] = (await once(sent, "upgrade")) as [IncomingMessage, Duplex];
        t.equal(response.statusCode, 101);
        socket.on("error", () => {});
        socket.resume();
        if (!socket.closed) await once(socket, "close", { signal: AbortSignal.timeout(30_000) });
        t.pass(`${upgrade} ${action}: cut when idle`);
      }
    }
  },
);

/** A server of a Pod `default/web`, that asks {@link FakeReviews}. */
async function serverNode(
  config: Partial<ServerConfig>,
  clock: Clock,
  count: (request: RequestLabels) => () => void = () => () => {},
): Promise<AsyncDisposable & { readonly port: number; readonly readOnlyPort: number }> {
  const rootDir = await mkdtemp(path.join(tmpdir(), "keelson-server-"));
  const stop = new AbortController();
  const runtime = new FakeRuntime(systemClock);
  const view = await fakeView(runtime, "sleep 600", path.join(rootDir, "logs"), stop.signal);
  const ports = {
    log: noLog,
    clock,
    view,
    runtime,
    count,
    metrics: async () => "",
    client: new ApiClient(new FakeReviews()),
  };
  const server = await startServer({ ...usual, rootDir, ...config }, ports, stop.signal);
  return {
    port: server.port,
    readOnlyPort: server.readOnlyPort,
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await server.closed;
      await runtime.close();
      await rm(rootDir, { recursive: true });
    },
  };
}

/** An API that knows one token, `reader`: that one and nobody may get everything and create nothing. */
class FakeReviews implements Transport {
  asked = 0;

  async send(request: ApiRequest): Promise<ApiResponse> {
    this.asked += 1;
    const { spec } = JSON.parse(String(request.body)) as {
      spec: { token?: string; user?: string; resourceAttributes?: { verb?: string } };
    };
    const status = request.path.endsWith("/tokenreviews")
      ? { authenticated: spec.token === "reader", user: { username: spec.token, groups: [] } }
      : { allowed: spec.resourceAttributes?.verb === "get" };
    const body = [Buffer.from(JSON.stringify({ status }))];
    return {
      status: 201,
      headers: {},
      body: (async function* () {
        yield* body;
      })(),
    };
  }

  reset(): void {}

  async close(): Promise<void> {}
}

interface Answer {
  readonly status: number;
  readonly text: string;
  /** The name in the server's certificate. */
  readonly server: string;
}

function ask(options: object): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const sent = request(
    { host: "127.0.0.1", rejectUnauthorized: false, agent: false, ...options },
    (response) => {
      let text = "";
      const server = nameOf(response.socket);
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text, server }));
    },
  );
  sent.once("error", reject);
  sent.end();
  return promise;
}

function nameOf(socket: unknown): string {
  return socket instanceof TLSSocket ? String(socket.getPeerCertificate().subject.CN) : "";
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const signal = AbortSignal.timeout(30_000);
  while (!(await condition())) await systemClock.sleep(5, signal);
}
