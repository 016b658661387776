/** Real kubectl, oldest to newest here, against the API server on loopback with TLS and a client certificate. */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { ApiServer } from "../../control/apiserver/api-server.ts";
import { kubernetesContent } from "../../control/apiserver/content.ts";
import { resourceTable } from "../../control/apiserver/content/resources.ts";
import { serveHttp } from "../../control/apiserver/http-server.ts";
import { issueAuthority, issueCertificate } from "../../control/pki/issue-certificate.ts";
import { renderKubeconfig } from "../../control/pki/kubeconfig-files.ts";
import { SqliteStore } from "../../control/store/sqlite/sqlite-store.ts";
import { chooseKubectls, type Kubectl } from "../support/kubectl.ts";

const manifest = `
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  labels: {app: web}
data:
  color: red
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: nginx}]
`;

const { chosen, missing } = chooseKubectls(["1.27", "1.30", "1.33"]);
for (const version of missing) t.test(`kubectl ${version}`, { skip: `needs kubectl ${version}` }, () => {});
for (const kubectl of chosen) {
  t.test(`kubectl ${kubectl.version}`, async (t) => {
    await using server = await startApi();
    const run = (...args: readonly string[]) => runKubectl(kubectl, server, args);

    await t.test("version and api-resources answer", async (t) => {
      t.match((await run("version")).out, /v1\.36\.0\+keelson/);
      t.match((await run("api-resources")).out, /^deployments +deploy +apps\/v1 +true +Deployment$/m);
    });

    await t.test("create, get, label, patch and delete a ConfigMap, seen by a watch", async (t) => {
      const watch = server.watch(kubectl, ["get", "configmaps", "--watch", "--output-watch-events"]);
      t.match((await run("create", "configmap", "one", "--from-literal=a=b")).out, /configmap\/one created/);
      t.match((await run("get", "cm")).out, /^NAME +DATA +AGE\none +1 +\d+s$/m);
      t.match((await run("label", "cm", "one", "k=v")).out, /labeled/);
      t.match((await run("patch", "cm", "one", "--type=merge", "-p", '{"data":{"c":"d"}}')).out, /patched/);
      t.match((await run("get", "cm", "one", "-o", "jsonpath={.data.c} {.metadata.labels.k}")).out, /^d v$/);
      t.match((await run("get", "cm", "-l", "k=v", "-o", "name")).out, /^configmap\/one$/m);
      t.match((await run("delete", "cm", "one")).out, /deleted/);
      t.match(
        (await run("get", "cm", "one")).out,
        /Error from server \(NotFound\): configmaps "one" not found/,
      );
      const events = await watch.until("DELETED");
      t.match(events, /ADDED +one[\s\S]*MODIFIED +one[\s\S]*DELETED +one/);
    });

    await t.test("apply twice, change, scale and delete a manifest", async (t) => {
      await writeFile(server.file, manifest);
      const applied = await run("apply", "-f", server.file);
      t.match(applied.out, /configmap\/settings created\ndeployment\.apps\/web created/);
      t.match(
        (await run("apply", "-f", server.file)).out,
        /settings unchanged\ndeployment\.apps\/web unchanged/,
      );
      await writeFile(server.file, manifest.replace("red", "blue"));
      t.match((await run("diff", "-f", server.file)).out, /-  color: red\n\+  color: blue/);
      t.match((await run("apply", "-f", server.file)).out, /settings configured/);
      t.match((await run("scale", "deployment", "web", "--replicas=5")).out, /scaled/);
      t.match((await run("get", "deploy")).out, /^web +0\/5/m);
      t.match((await run("set", "image", "deployment/web", "c=nginx:2")).out, /image updated/);
      t.match((await run("explain", "deployment.spec.replicas")).out, /Number of desired pods/);
      t.match((await run("delete", "-f", server.file)).out, /"settings" deleted/);
    });

    await t.test("apply on the server, and create what newer ones send as protobuf", async (t) => {
      await writeFile(server.file, manifest);
      t.match(
        (await run("apply", "--server-side", "-f", server.file)).out,
        /configmap\/settings serverside-applied/,
      );
      t.match(
        (await run("apply", "--server-side", "-f", server.file)).out,
        /deployment\.apps\/web serverside-applied/,
      );
      t.match((await run("rollout", "history", "deployment/web")).out, /deployment\.apps\/web/);
      t.match((await run("annotate", "deployment/web", "a=b")).out, /annotate/);
      t.match(
        (await run("delete", "-f", server.file, "--cascade=foreground", "--wait=false")).out,
        /deleted/,
      );
      t.match((await run("create", "namespace", "other")).out, /namespace\/other created/);
      t.match((await run("create", "deployment", "two", "--image=nginx", "-n", "other")).out, /two created/);
      t.match((await run("create", "secret", "generic", "s", "--from-literal=a=b")).out, /secret\/s created/);
      t.match((await run("get", "secret", "s", "-o", "jsonpath={.data.a}")).out, /^Yg==$/);
      t.match((await run("get", "all", "-A")).out, /other +deployment\.apps\/two/);
      t.match(
        (await run("expose", "deployment", "two", "--port=80", "-n", "other")).out,
        /service\/two exposed/,
      );
      t.match(
        (await run("run", "pod", "--image=busybox", "--dry-run=server")).out,
        /pod\/pod created \(server dry run\)/,
      );
      t.match((await run("get", "pods", "--chunk-size=1")).out, /No resources found/);
    });

    await t.test("mistakes are told in kubectl's words", async (t) => {
      await writeFile(server.file, manifest.replace("color: red", "color: red\nsize: 1"));
      const strict = await run("apply", "-f", server.file);
      t.match(strict.out, /unknown field "size"/);
      t.not(strict.code, 0);
      await writeFile(server.file, manifest.replace("name: settings", "name: Set_tings"));
      t.match((await run("create", "-f", server.file)).out, /metadata\.name: Invalid value: "Set_tings"/);
    });
  });
}

interface Running extends AsyncDisposable {
  readonly kubeconfig: string;
  readonly home: string;
  readonly file: string;
  watch(kubectl: Kubectl, args: readonly string[]): { until(text: string): Promise<string> };
}

async function startApi(): Promise<Running> {
  const home = await mkdtemp(path.join(tmpdir(), "keelson-kubectl-"));
  const stop = new AbortController();
  const now = Date.now();
  const ca = await issueAuthority("test", 1, now, stop.signal);
  const leaf = { orgs: ["system:masters"], sans: ["127.0.0.1"], days: 1 };
  const serving = await issueCertificate(
    { ...leaf, cn: "apiserver", usages: ["server"] },
    ca,
    now,
    stop.signal,
  );
  const admin = await issueCertificate({ ...leaf, cn: "admin", usages: ["client"] }, ca, now, stop.signal);
  const store = new SqliteStore(path.join(home, "state.db"), systemClock);
  const api = new ApiServer({
    store,
    resources: resourceTable(),
    content: kubernetesContent,
    authenticate: async ({ certificate }) =>
      certificate === undefined
        ? { state: "refused", why: "no certificate" }
        : { state: "known", user: { name: certificate.commonName, groups: certificate.organizations } },
    authorize: () => ({ allowed: true, why: "" }),
    admission: [],
    issueToken: async (_namespace, _name, request) => request,
    virtual: new Map(),
    clock: systemClock,
    log: noLog,
  });
  await api.start(stop.signal);
  const following = api.run(stop.signal);
  const tls = { ...serving, clientCa: ca.certificate };
  const served = await serveHttp(api, undefined, { host: "127.0.0.1", port: 0, tls });
  const kubeconfig = path.join(home, "kubeconfig");
  const server = `https://127.0.0.1:${served.port}`;
  await writeFile(kubeconfig, renderKubeconfig({ server, ca: ca.certificate, user: "admin", pair: admin }));
  const children = new Set<ReturnType<typeof spawn>>();
  return {
    kubeconfig,
    home,
    file: path.join(home, "manifest.yaml"),
    watch: (kubectl, args) => {
      const child = spawn(kubectl.file, [...args], { env: environment(home, kubeconfig) });
      children.add(child);
      let out = "";
      const collect = (chunk: Buffer): void => void (out += chunk.toString("utf8"));
      child.stdout.on("data", collect);
      child.stderr.on("data", collect);
      return {
        until: async (text) => {
          for (let tries = 0; !out.includes(text) && tries < 100; tries += 1)
            await new Promise((resolve) => setTimeout(resolve, 50));
          return out;
        },
      };
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of children) child.kill("SIGKILL");
      await served.close(200);
      stop.abort();
      await following;
      await store.close();
      await rm(home, { recursive: true, force: true });
    },
  };
}

const environment = (home: string, kubeconfig: string): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"] ?? "",
  HOME: home,
  KUBECONFIG: kubeconfig,
});

/** Both streams of one kubectl; killed after 30 s. */
async function runKubectl(
  kubectl: Kubectl,
  server: Running,
  args: readonly string[],
): Promise<{ readonly code: number | null; readonly out: string }> {
  const child = spawn(kubectl.file, [...args], {
    env: environment(server.home, server.kubeconfig),
    timeout: 30_000,
  });
  let out = "";
  const collect = (chunk: Buffer): void => void (out += chunk.toString("utf8"));
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  return { code, out };
}
