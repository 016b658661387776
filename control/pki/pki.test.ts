import { X509Certificate } from "node:crypto";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { loadKubeconfig } from "#api/kubeconfig.ts";
import t from "tap";
import { writeKubeconfigs } from "./kubeconfig-files.ts";
import { ensurePki } from "./pki.ts";
import { isDue } from "./renewal.ts";

const signal = AbortSignal.timeout(60_000);
const now = Date.UTC(2026, 0, 1);
const dayMs = 86_400_000;

async function folder(t: { teardown(f: () => unknown): unknown }): Promise<string> {
  const made = await mkdtemp(path.join(tmpdir(), "keelson-pki-"));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

t.test("a PKI is made once, with keys that only root reads, and kept", async (t) => {
  const dir = await folder(t);
  const options = { folder: dir, clusterDomain: "cluster.local", names: ["10.96.0.1", "192.0.2.7", "::1"] };
  const first = await ensurePki(options, now, signal);
  const again = await ensurePki(options, now + 30 * dayMs, signal);
  t.same(again, first);
  t.equal((await stat(path.join(dir, "ca.key"))).mode & 0o777, 0o600);
  t.equal((await stat(path.join(dir, "sa.key"))).mode & 0o777, 0o600);
  const server = new X509Certificate(first.apiserver.certificate);
  for (const name of ["kubernetes", "kubernetes.default.svc.cluster.local", "localhost"]) {
    t.ok(server.checkHost(name), name);
  }
  for (const ip of ["127.0.0.1", "10.96.0.1", "192.0.2.7", "::1"]) t.ok(server.checkIP(ip), ip);
  t.ok(server.checkIssued(new X509Certificate(first.ca.certificate)));
  const client = new X509Certificate(first.kubeletClient.certificate);
  t.match(client.subject, /O=system:masters\nCN=kube-apiserver-kubelet-client/);
  t.notOk(server.ca);
  t.ok(new X509Certificate(first.ca.certificate).ca);
});

t.test(
  "a leaf is renewed when 30 % of its life is left, or when a name is added; the authority stays",
  async (t) => {
    const options = { folder: await folder(t), clusterDomain: "cluster.local", names: [] };
    const first = await ensurePki(options, now, signal);
    const late = await ensurePki(options, now + 260 * dayMs, signal);
    t.not(late.apiserver.certificate, first.apiserver.certificate);
    t.equal(late.ca.certificate, first.ca.certificate);
    const named = await ensurePki({ ...options, names: ["host.example"] }, now + 260 * dayMs, signal);
    t.not(named.apiserver.certificate, late.apiserver.certificate);
    t.equal(named.kubeletClient.certificate, late.kubeletClient.certificate);
    t.notOk(isDue({ notBeforeMs: 0, notAfterMs: 100, sans: [] }, 69));
    t.ok(isDue({ notBeforeMs: 0, notAfterMs: 100, sans: [] }, 71));
  },
);

t.test("a damaged key is refused by name instead of being replaced", async (t) => {
  const dir = await folder(t);
  const options = { folder: dir, clusterDomain: "cluster.local", names: [] };
  await ensurePki(options, now, signal);
  const { writeFile } = await import("node:fs/promises");
  await writeFile(path.join(dir, "ca.key"), "not a key");
  await t.rejects(ensurePki(options, now, signal), /cannot use ".*ca\.key": it is damaged/);
});

t.test("kubeconfigs prove who they are for, are readable by us, and are kept while they fit", async (t) => {
  const dir = await folder(t);
  const { ca } = await ensurePki({ folder: dir, clusterDomain: "cluster.local", names: [] }, now, signal);
  const options = { folder: dir, server: "https://127.0.0.1:6443", nodeNames: ["n1", "n2"] };
  t.same(
    (await writeKubeconfigs(options, ca, now, signal)).map((file) => path.basename(file)),
    ["admin.kubeconfig", "node.kubeconfig", "node-n2.kubeconfig", "proxy.kubeconfig"],
  );
  t.same(await writeKubeconfigs(options, ca, now, signal), []);
  const node = loadKubeconfig(path.join(dir, "node.kubeconfig"));
  t.equal(node.server, "https://127.0.0.1:6443");
  t.match(new X509Certificate(node.clientCertificate ?? "").subject, /O=system:nodes\nCN=system:node:n1/);
  t.equal((await stat(path.join(dir, "admin.kubeconfig"))).mode & 0o777, 0o600);
  t.equal(
    (await writeKubeconfigs({ ...options, server: "https://127.0.0.1:7443" }, ca, now, signal)).length,
    4,
  );
  t.match(await readFile(path.join(dir, "admin.kubeconfig"), "utf8"), /server: https:\/\/127\.0\.0\.1:7443/);
});
