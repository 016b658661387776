import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { FakeRuntime } from "../runtime/fake.ts";
import { accessFor } from "./access.ts";
import { fakeView } from "./fake-view.ts";
import { startServer } from "./main.ts";
import { selfSignedCertificate } from "./serving-certificate.ts";

t.test("a path needs its own subresource, and running commands needs create", async (t) => {
  t.same(accessFor("GET", "/pods"), { verbs: ["get"], subresources: ["pods", "proxy"] });
  t.same(accessFor("GET", "/stats/summary"), { verbs: ["get"], subresources: ["stats"] });
  t.same(accessFor("GET", "/metrics/resource"), { verbs: ["get"], subresources: ["metrics"] });
  t.same(accessFor("GET", "/containerLogs/a/b/c"), { verbs: ["get"], subresources: ["proxy"] });
  t.same(accessFor("POST", "/exec/a/b/c"), { verbs: ["create"], subresources: ["proxy"] });
  t.same(accessFor("GET", "/exec/a/b/c"), { verbs: ["get", "create"], subresources: ["proxy"] });
  t.same(accessFor("GET", "/podsecrets"), { verbs: ["get"], subresources: ["proxy"] });
});

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
    {
      rootDir,
      address: "127.0.0.1",
      port: 0,
      tlsCertFile: "",
      tlsPrivateKeyFile: "",
      clientCaFile: caFile,
      streamIdleMs: 0,
    },
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
  t.match(await readFile(path.join(rootDir, "pki/kubelet.crt"), "utf8"), /BEGIN CERTIFICATE/);
  stop.abort();
  await server.closed;
  await runtime.close();
  clearInterval(awake);
  await rm(rootDir, { recursive: true });
});

/** An API that knows one token, `reader`, which may get everything and create nothing. */
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
}

function ask(options: object): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const sent = request(
    { host: "127.0.0.1", rejectUnauthorized: false, agent: false, ...options },
    (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => {
        text += chunk;
      });
      response.once("end", () => resolve({ status: response.statusCode ?? 0, text }));
    },
  );
  sent.once("error", reject);
  sent.end();
  return promise;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 100; tries += 1) if (await condition()) return;
}
