import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { once } from "node:events";
import t from "tap";
import { issueAuthority, issueCertificate } from "../pki/issue-certificate.ts";
import type { HttpServer } from "./http-server.ts";
import { serveHttp } from "./http-server.ts";
import { KubeletClient } from "./node-proxy/kubelet-client.ts";
import { type TestApi, testApi } from "./test-api.ts";

const admin = { name: "admin", groups: ["system:masters"] };
const configMaps = "/api/v1/namespaces/default/configmaps";

async function plain(server: TestApi): Promise<HttpServer & AsyncDisposable> {
  const http = await serveHttp(server.api, undefined, {
    host: "127.0.0.1",
    port: 0,
    tls: undefined,
    plainUser: admin,
  });
  return { ...http, [Symbol.asyncDispose]: () => http.close(100) };
}

t.test("over TLS, HTTP/2 and HTTP/1.1 both know the client by its certificate", async (t) => {
  const signal = new AbortController().signal;
  const ca = await issueAuthority("test", 1, Date.now(), signal);
  const serving = await issueCertificate(
    { cn: "apiserver", orgs: [], sans: ["127.0.0.1", "localhost"], usages: ["server"], days: 1 },
    ca,
    Date.now(),
    signal,
  );
  const client = await issueCertificate(
    { cn: "jane", orgs: ["dev", "ops"], sans: [], usages: ["client"], days: 1 },
    ca,
    Date.now(),
    signal,
  );
  const stranger = await issueCertificate(
    { cn: "eve", orgs: [], sans: [], usages: ["client"], days: 1 },
    await issueAuthority("other", 1, Date.now(), signal),
    Date.now(),
    signal,
  );
  const seen: unknown[] = [];
  await using server = await testApi({
    ports: {
      authenticate: async (credentials) => {
        seen.push(credentials.certificate);
        return { state: "known", user: admin };
      },
    },
  });
  const served = await serveHttp(server.api, undefined, {
    host: "127.0.0.1",
    port: 0,
    tls: { ...serving, clientCa: ca.certificate },
  });
  const url = `https://127.0.0.1:${served.port}`;
  const session = http2.connect(url, { ca: ca.certificate, cert: client.certificate, key: client.key });
  const stream = session.request({ ":path": "/version" });
  const [headers] = (await once(stream, "response")) as [http2.IncomingHttpHeaders & { ":status"?: number }];
  t.equal(headers[":status"], 200);
  stream.resume();
  await once(stream, "close");
  session.close();
  const get = async (pair: { readonly certificate: string; readonly key: string }) => {
    const request = https.get(`${url}/version`, {
      ca: ca.certificate,
      cert: pair.certificate,
      key: pair.key,
      agent: false,
    });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    response.resume();
    await once(response, "close");
    return response.statusCode;
  };
  t.equal(await get(client), 200);
  t.equal(await get(stranger), 200);
  t.same(
    seen,
    [
      { commonName: "jane", organizations: ["dev", "ops"] },
      { commonName: "jane", organizations: ["dev", "ops"] },
      undefined,
    ],
    "a certificate of another authority is nobody's",
  );
  const upgrade = https.get(`${url}/api/v1/namespaces/default/pods/q/exec?command=x`, {
    ca: ca.certificate,
    agent: false,
    headers: { connection: "Upgrade", upgrade: "websocket" },
  });
  const [refused] = (await once(upgrade, "response")) as [http.IncomingMessage];
  t.equal(refused.statusCode, 404, "upgrades over TLS come to the upgrade handler as well");
  refused.resume();
  await once(refused, "close");
  await served.close(100);
});

t.test("a body over 3 MiB is refused with 413, however it is sent", async (t) => {
  await using server = await testApi();
  await using served = await plain(server);
  const big = Buffer.alloc(3 * 1024 * 1024 + 1, 32);
  for (const body of [
    big,
    new ReadableStream({
      start: (out) => {
        out.enqueue(big);
        out.close();
      },
    }),
  ]) {
    const answer = await fetch(`http://127.0.0.1:${served.port}${configMaps}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/json" },
      duplex: "half",
    });
    t.equal(answer.status, 413);
    t.match(await answer.json(), { kind: "Status", reason: "RequestEntityTooLarge", code: 413 });
  }
});

t.test(
  "a watch sends its headers at once, its events as they come, and is forgotten with its client",
  async (t) => {
    await using server = await testApi();
    await using served = await plain(server);
    const stop = new AbortController();
    const answer = await fetch(`http://127.0.0.1:${served.port}${configMaps}?watch=1&resourceVersion=1`, {
      signal: stop.signal,
    });
    t.equal(answer.status, 200);
    const kind = server.api.engine.cache.kind("registry/configmaps");
    t.equal(kind.watchers, 1);
    const reader = answer.body?.getReader();
    const reading = reader?.read();
    await server.ask("POST", configMaps, { metadata: { name: "a" } });
    const chunk = (await reading)?.value;
    t.match(Buffer.from(chunk ?? []).toString(), /^\{"type":"ADDED","object":\{.*\}\n$/);
    stop.abort();
    await reader?.closed.catch(() => {});
    for (let tries = 0; kind.watchers > 0 && tries < 100; tries += 1)
      await new Promise((resolve) => setTimeout(resolve, 10));
    t.equal(kind.watchers, 0);
  },
);

t.test("large answers are compressed for those who ask", async (t) => {
  await using server = await testApi();
  await using served = await plain(server);
  await server.ask("POST", configMaps, { metadata: { name: "a" }, data: { x: "y".repeat(200_000) } });
  const get = (encoding: string) =>
    fetch(`http://127.0.0.1:${served.port}${configMaps}`, { headers: { "accept-encoding": encoding } });
  const zipped = await get("gzip");
  t.equal(zipped.headers.get("content-encoding"), "gzip");
  t.equal(((await zipped.json()) as { items: readonly unknown[] }).items.length, 1);
  t.equal((await get("identity")).headers.get("content-encoding"), null);
});

t.test("a port in use is said in one line", async (t) => {
  await using server = await testApi();
  await using served = await plain(server);
  await t.rejects(
    serveHttp(server.api, undefined, { host: "127.0.0.1", port: served.port, tls: undefined }),
    {
      message: `cannot listen on "127.0.0.1:${served.port}"; choose another port`,
    },
  );
});

/** A node's server that answers what `answer` says and echoes on upgraded connections. */
async function fakeNode(answer: (request: http.IncomingMessage) => number) {
  const seen: http.IncomingMessage[] = [];
  const sockets = new Set<net.Socket>();
  const node = http.createServer((request, response) => {
    seen.push(request);
    response.writeHead(answer(request), { "content-type": "text/plain" });
    response.end(request.url?.startsWith("/containerLogs") ? "line 1\nline 2\n" : "not for you");
  });
  node.on("upgrade", (request: http.IncomingMessage, socket: net.Socket, head: Buffer) => {
    seen.push(request);
    const status = answer(request);
    if (status !== 101) {
      socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 4\r\n\r\nnope`);
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: ${request.headers.upgrade}\r\nConnection: Upgrade\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\nhello:`,
    );
    if (head.length > 0) socket.write(head);
    socket.on("data", (chunk) => socket.write(chunk));
    socket.on("end", () => socket.end(":bye"));
    socket.on("error", () => {});
  });
  node.on("connection", (socket) => sockets.add(socket));
  node.listen(0, "127.0.0.1");
  await once(node, "listening");
  const address = node.address();
  return {
    seen,
    port: typeof address === "object" && address !== null ? address.port : 0,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      node.close();
    },
  };
}

async function withPod(port: number, containers: readonly string[] = ["c"]): Promise<TestApi> {
  const server = await testApi({ ports: { kubelet: new KubeletClient(undefined) } });
  await server.ask("POST", "/api/v1/nodes", { metadata: { name: "n1" } });
  await server.ask(
    "PATCH",
    "/api/v1/nodes/n1/status",
    {
      status: {
        addresses: [{ type: "InternalIP", address: "127.0.0.1" }],
        daemonEndpoints: { kubeletEndpoint: { Port: port } },
      },
    },
    { "content-type": "application/merge-patch+json" },
  );
  const spec = { nodeName: "n1", containers: containers.map((name) => ({ name, image: "i" })) };
  const made = await server.ask("POST", "/api/v1/namespaces/default/pods", { metadata: { name: "p" }, spec });
  if (made.status !== 201) throw new Error(made.text);
  return server;
}

/** Sends an upgrade by hand and reads until the server ends. */
async function handshake(
  port: number,
  method: string,
  path: string,
  upgrade: string,
  then: string,
): Promise<string> {
  const socket = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
  const lines = [
    `${method} ${path} HTTP/1.1`,
    "Host: x",
    "Connection: Upgrade",
    `Upgrade: ${upgrade}`,
    "Authorization: Bearer secret",
    "X-Stream-Protocol-Version: v4.channel.k8s.io",
    "",
    then,
  ];
  socket.write(lines.join("\r\n"));
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    if (Buffer.concat(chunks).includes(then)) socket.end();
  });
  socket.on("end", () => socket.end());
  await once(socket, "close");
  return Buffer.concat(chunks).toString();
}

t.test("exec joins the client with the pod's node, by GET and by POST, and both may end", async (t) => {
  await using node = await fakeNode(() => 101);
  await using server = await withPod(node.port);
  await using served = await plain(server);
  const path =
    "/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&command=a%20b&stdin=true&stdout=true&tty=false";
  for (const [method, protocol] of [
    ["POST", "SPDY/3.1"],
    ["GET", "websocket"],
  ] as const) {
    const answer = await handshake(served.port, method, path, protocol, "ping");
    t.match(
      answer,
      /^HTTP\/1\.1 101 Switching Protocols\r\n[\s\S]*X-Stream-Protocol-Version: v4\.channel\.k8s\.io[\s\S]*\r\n\r\nhello:ping:bye$/,
    );
    const seen = node.seen.at(-1);
    t.equal(seen?.method, method);
    t.equal(seen?.url, "/exec/default/p/c?command=sh&command=-c&command=a+b&input=1&output=1");
    t.equal(seen?.headers.upgrade, protocol);
    t.equal(seen?.headers.authorization, undefined, "the client's credentials stay here");
  }
});

t.test(
  "a node that refuses an upgrade is not joined: the client cannot speak to it with our certificate",
  async (t) => {
    await using node = await fakeNode(() => 403);
    await using server = await withPod(node.port);
    await using served = await plain(server);
    const path = "/api/v1/namespaces/default/pods/p/attach?stdout=true";
    const answer = await handshake(
      served.port,
      "POST",
      path,
      "SPDY/3.1",
      "GET /runningpods/ HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    t.match(answer, /^HTTP\/1\.1 403 Forbidden[\s\S]*"kind":"Status"[\s\S]*"message":"nope"/);
    t.equal(node.seen.length, 1, "nothing but the handshake reached the node");
  },
);

t.test("an upgrade that may not be is refused with a Status", async (t) => {
  await using node = await fakeNode(() => 101);
  await using server = await withPod(node.port, ["a", "b"]);
  await using served = await plain(server);
  const pods = "/api/v1/namespaces/default/pods";
  const several = await handshake(served.port, "POST", `${pods}/p/exec?command=x`, "SPDY/3.1", "");
  t.match(
    several,
    /400 BadRequest[\s\S]*a container name must be specified for pod p, choose one of: \[a b\]/,
  );
  const none = await handshake(served.port, "POST", `${pods}/q/exec?command=x`, "SPDY/3.1", "");
  t.match(none, /404 NotFound[\s\S]*pods \\"q\\" not found/);
  const wrong = await handshake(served.port, "POST", `${pods}/p/exec?command=x&container=z`, "SPDY/3.1", "");
  t.match(wrong, /container z is not valid for pod p/);
  t.equal(node.seen.length, 0);
});

t.test("portforward and log find the node as well", async (t) => {
  await using node = await fakeNode((request) => (request.headers.upgrade === undefined ? 200 : 101));
  await using server = await withPod(node.port);
  await using served = await plain(server);
  const pods = "/api/v1/namespaces/default/pods";
  await handshake(served.port, "GET", `${pods}/p/portforward?ports=80`, "websocket", "x");
  t.equal(node.seen.at(-1)?.url, "/portForward/default/p?port=80");
  const log = await fetch(
    `http://127.0.0.1:${served.port}${pods}/p/log?tailLines=2&timestamps=true&nonsense=1`,
  );
  t.equal(await log.text(), "line 1\nline 2\n");
  t.equal(node.seen.at(-1)?.url, "/containerLogs/default/p/c?timestamps=true&tailLines=2");
});

t.test("a node that is away, or refuses a log, is told to the client", async (t) => {
  await using node = await fakeNode(() => 404);
  await using server = await withPod(node.port);
  const refused = await server.ask("GET", "/api/v1/namespaces/default/pods/p/log");
  t.match(refused.json, { code: 404, reason: "NotFound", message: "line 1\nline 2" });
  await using away = await withPod(1);
  const answer = await away.ask("GET", "/api/v1/namespaces/default/pods/p/log");
  t.match(answer.json, { code: 500, message: /error dialing backend/ });
});

t.test("pods, services and nodes are reached through /proxy with any method", async (t) => {
  await using node = await fakeNode(() => 202);
  await using server = await withPod(node.port);
  const pods = "/api/v1/namespaces/default/pods";
  const patch = { "content-type": "application/merge-patch+json" };
  await server.ask("PATCH", `${pods}/p/status`, { status: { podIP: "127.0.0.1" } }, patch);
  const answer = await server.ask("PUT", `${pods}/p:${node.port}/proxy/a/b?c=d`, "hi", {
    authorization: "Bearer x",
  });
  t.equal(answer.status, 202);
  t.equal(answer.text, "not for you");
  const seen = node.seen.at(-1);
  t.match(seen, { method: "PUT", url: "/a/b?c=d" });
  t.equal(seen?.headers.authorization, undefined);
  t.equal(
    (await server.ask("GET", "/api/v1/nodes/n1/proxy/healthz", undefined, { accept: "text/plain" })).status,
    202,
  );
  t.equal(node.seen.at(-1)?.url, "/healthz");
  const services = "/api/v1/namespaces/default/services";
  await server.ask("POST", services, {
    metadata: { name: "s" },
    spec: { ports: [{ name: "web", port: 80 }] },
  });
  const none = await server.ask("GET", `${services}/s:web/proxy/`);
  t.match(none.json, { code: 503, message: 'no endpoints available for service "s"' });
  await server.ask("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {
    metadata: { name: "s-1", labels: { "kubernetes.io/service-name": "s" } },
    addressType: "IPv4",
    ports: [{ name: "web", port: node.port, protocol: "TCP" }],
    endpoints: [{ addresses: ["127.0.0.1"], conditions: { ready: true } }],
  });
  t.equal((await server.ask("DELETE", `${services}/s:80/proxy/x`)).status, 202);
  t.match(node.seen.at(-1), { method: "DELETE", url: "/x" });
  t.equal((await server.ask("GET", `${services}/s:nope/proxy/`)).status, 503);
});
