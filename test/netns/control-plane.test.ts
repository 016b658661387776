/** The whole control plane as its users meet it: kubectl, tokens, other people's rights, DNS, restarts. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import path from "node:path";
import dnsPacket, { type DecodedPacket } from "dns-packet";
import t from "tap";
import { eventually } from "../support/cluster.ts";
import { ControlPlane, machineAddress } from "../support/control-plane.ts";
import { enterNetns } from "../support/enter-netns.ts";
import { allKubectls } from "../support/kubectl.ts";

const missing =
  process.getuid?.() !== 0
    ? "needs root"
    : allKubectls().length === 0
      ? "needs kubectl"
      : !existsSync("/usr/sbin/ip") && !existsSync("/sbin/ip")
        ? "needs iproute2"
        : false;

t.setTimeout(300_000);
t.test("a control plane", { skip: missing }, async (t) => {
  const plane = await ControlPlane.make();
  t.teardown(() => plane[Symbol.asyncDispose]());
  await plane.start();
  const kubectl = (...args: readonly string[]): Promise<string> => plane.kubectl(...args);

  await t.test("has its namespaces, its Services lead to it, its parts are healthy", async (t) => {
    t.match(
      await kubectl("get", "ns", "-o", "name"),
      /namespace\/default\nnamespace\/kube-node-lease\nnamespace\/kube-public\nnamespace\/kube-system/,
    );
    t.match(
      await kubectl(
        "get",
        "endpointslices",
        "kubernetes",
        "-o",
        "jsonpath={.endpoints[0].addresses[0]}:{.ports[0].port}",
      ),
      `${machineAddress}:6443`,
    );
    t.match(await kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"), "10.96.0.1");
    t.match(
      await kubectl("-n", "kube-system", "get", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"),
      "10.96.0.10",
    );
    t.match(
      await kubectl("get", "componentstatuses", "-o", "jsonpath={.items[*].conditions[*].status}"),
      "True True True",
    );
    t.match(await kubectl("get", "--raw", "/readyz?verbose"), /\[\+\]bootstrap ok[\s\S]*readyz check passed/);
  });

  await t.test("the Services that lead to it come back when they are deleted", async (t) => {
    await kubectl("delete", "service", "kubernetes");
    // Not "kubectl wait --for=jsonpath", which releases before 1.23 do not know.
    const address = await eventually(
      "the Service is back",
      () => kubectl("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"),
      (text) => text !== "",
      { timeoutMs: 10_000 },
    );
    t.equal(address, "10.96.0.1");
  });

  await t.test(
    "a Deployment becomes Pods with an account, its token, tolerations and a priority",
    async (t) => {
      await kubectl("create", "deployment", "web", "--image=example/web", "--replicas=2");
      await eventually(
        "both Pods are counted",
        () => kubectl("get", "deployment", "web", "-o", "jsonpath={.status.replicas}"),
        (count) => count === "2",
        { timeoutMs: 20_000 },
      );
      const pods = JSON.parse(await kubectl("get", "pods", "-l", "app=web", "-o", "json")) as {
        items: unknown[];
      };
      t.match(pods.items, [
        {
          spec: {
            serviceAccountName: "default",
            priority: 0,
            volumes: [{ name: /^kube-api-access-[a-z0-9]{5}$/ }],
            tolerations: [{ tolerationSeconds: 300 }, { tolerationSeconds: 300 }],
          },
        },
        {},
      ]);
      t.match(
        await kubectl("get", "cm", "kube-root-ca.crt", "-o", "jsonpath={.data['ca\\.crt']}"),
        /BEGIN CERTIFICATE/,
      );
    },
  );

  await t.test(
    "Services get addresses and node ports; a taken one is refused in Kubernetes' words",
    async (t) => {
      await kubectl("create", "service", "nodeport", "np", "--tcp=80:8080", "--node-port=30080");
      t.match(await kubectl("get", "svc", "np", "-o", "jsonpath={.spec.clusterIP}"), /^10\.96\.\d+\.\d+$/);
      await t.rejects(
        kubectl("create", "service", "nodeport", "np2", "--tcp=80:8080", "--node-port=30080"),
        /provided port is already allocated/,
      );
      await t.rejects(
        kubectl("create", "service", "clusterip", "c", "--tcp=80", "--clusterip=10.96.0.10"),
        /provided IP is already allocated/,
      );
      t.match(
        await kubectl("create", "service", "clusterip", "h", "--tcp=80", "--clusterip=None"),
        /created/,
      );
    },
  );

  await t.test(
    "a token of a ServiceAccount proves who it is and gives no more than was granted",
    async (t) => {
      const token = await tokenOf(plane, "default");
      const asToken = (...args: readonly string[]): Promise<string> =>
        plane.exec(
          allKubectls().at(-1)?.file ?? "",
          "--server=https://127.0.0.1:6443",
          `--certificate-authority=${plane.dataDir}/pki/ca.crt`,
          `--token=${token}`,
          ...args,
        );
      t.match(await asToken("get", "--raw", "/version"), /v1\.36/);
      await t.rejects(
        asToken("get", "pods"),
        /pods is forbidden: User "system:serviceaccount:default:default" cannot list resource "pods" in API group "" in the namespace "default"/,
      );
      await apply(plane, {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "readers", namespace: "default" },
        roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "view" },
        subjects: [{ kind: "ServiceAccount", name: "default", namespace: "default" }],
      });
      t.match(await asToken("get", "pods", "-o", "name"), /pod\/web-/);
      await t.rejects(asToken("get", "secrets"), /forbidden/);
      await t.rejects(asToken("get", "pods", "-n", "kube-system"), /forbidden/);
      await t.rejects(
        plane.exec(
          allKubectls().at(-1)?.file ?? "",
          "--server=https://127.0.0.1:6443",
          `--certificate-authority=${plane.dataDir}/pki/ca.crt`,
          `--token=${token}x`,
          "get",
          "pods",
        ),
        /must be logged in|Unauthorized/,
      );
      const review = await post(plane, "/apis/authentication.k8s.io/v1/tokenreviews", {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token },
      });
      t.match(review, {
        status: { authenticated: true, user: { username: "system:serviceaccount:default:default" } },
      });
    },
  );

  await t.test(
    "a node does what its kubeconfig is for and nothing else; nobody without one does anything",
    async (t) => {
      t.match(await plane.kubectlAs("node", "get", "services", "-A", "-o", "name"), /service\/kubernetes/);
      await t.rejects(
        plane.kubectlAs("node", "get", "secrets", "-A"),
        /forbidden: User "system:node:n1" cannot list resource "secrets"/,
      );
      await t.rejects(plane.kubectlAs("node", "delete", "namespace", "default"), /forbidden/);
      t.match(
        await plane.kubectlAs("proxy", "get", "endpointslices", "-A", "-o", "name"),
        /endpointslice.*kubernetes/,
      );
      await t.rejects(plane.kubectlAs("proxy", "get", "pods"), /forbidden/);
      t.match(await plane.exec("curl", "-sk", "https://127.0.0.1:6443/livez"), "ok");
      t.match(await plane.exec("curl", "-sk", "https://127.0.0.1:6443/api/v1/pods"), /"code":\s*401/);
      t.match(await plane.exec("curl", "-sk", "https://127.0.0.1:10259/healthz"), "ok");
      t.match(await plane.exec("curl", "-sk", "https://127.0.0.1:10257/healthz"), "ok");
      t.match(
        await plane.exec("curl", "-sk", "https://127.0.0.1:10257/metrics"),
        /certificate of this cluster is needed/,
      );
    },
  );

  await t.test("kubectl auth answers for us and for others", async (t) => {
    t.match(await kubectl("auth", "can-i", "*", "*"), /yes/);
    await t.rejects(kubectl("auth", "can-i", "list", "nodes", "--as=alice"));
    t.match(await kubectl("get", "clusterrole", "cluster-admin", "-o", "jsonpath={.rules[0].verbs}"), /\*/);
  });

  await t.test("it counts requests, for those who may ask", async (t) => {
    const text = await kubectl("get", "--raw", "/metrics");
    t.match(text, /^apiserver_request_total\{.*verb="LIST".*resource="namespaces".*code="200"\} [1-9]/m);
    t.match(text, /^apiserver_request_duration_seconds_bucket\{/m);
    await t.rejects(kubectl("--as=nobody", "get", "--raw", "/metrics"), /forbidden/i);
  });

  await t.test("its DNS server knows the Services", async (t) => {
    const answered = await dig(plane.netns, "kubernetes.default.svc.cluster.local");
    t.match(answered, { answers: [{ type: "A", data: "10.96.0.1" }] });
    t.match(await dig(plane.netns, "nothing.default.svc.cluster.local"), { rcode: "NXDOMAIN" });
  });

  await t.test(
    "killed without warning, it comes back with everything it acknowledged and the same keys",
    async (t) => {
      const ca = await readFile(path.join(plane.dataDir, "pki/ca.crt"), "utf8");
      await kubectl("create", "configmap", "kept", "--from-literal=a=b");
      await plane.stop("SIGKILL");
      const tookMs = await plane.start();
      t.comment(`ready ${Math.round(tookMs)} ms after its start`);
      t.match(await kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}"), "b");
      t.equal(await readFile(path.join(plane.dataDir, "pki/ca.crt"), "utf8"), ca);
      await t.rejects(
        kubectl("create", "service", "nodeport", "np2", "--tcp=80:8080", "--node-port=30080"),
        /already allocated/,
      );
    },
  );

  await t.test("a second one on the same port or the same store says so in one line", async (t) => {
    await using other = await ControlPlane.make();
    await t.rejects(other.start("--data-dir", plane.dataDir), /cannot open the store/);
    await using busy = await ControlPlane.make();
    await busy.start("--disable-dns", "--scheduler-port=0", "--controllers-port=0");
    const same = busy.start("--data-dir", `${busy.folder}/two`);
    await t.rejects(same, /cannot listen on "0\.0\.0\.0:6443"/);
  });

  await t.test("asked to stop, it stops cleanly", async (t) => {
    t.equal(await plane.stop(), 0);
  });
});

async function tokenOf(plane: ControlPlane, account: string): Promise<string> {
  const review = await post(plane, `/api/v1/namespaces/default/serviceaccounts/${account}/token`, {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { audiences: [] },
  });
  const token = /"token":"([^"]+)"/.exec(JSON.stringify(review))?.[1];
  if (token === undefined) throw new Error(`cannot read a token from ${JSON.stringify(review)}`);
  return token;
}

async function post(plane: ControlPlane, at: string, body: object): Promise<unknown> {
  return JSON.parse(await withFile(plane, body, (file) => plane.kubectl("create", "--raw", at, "-f", file)));
}

async function apply(plane: ControlPlane, object: object): Promise<void> {
  await withFile(plane, object, (file) => plane.kubectl("create", "--validate=false", "-f", file));
}

async function withFile<T>(
  plane: ControlPlane,
  object: object,
  use: (file: string) => Promise<T>,
): Promise<T> {
  const { writeFile } = await import("node:fs/promises");
  const file = path.join(plane.folder, "body.json");
  await writeFile(file, JSON.stringify(object));
  return await use(file);
}

async function dig(netns: string, name: string): Promise<DecodedPacket> {
  enterNetns(netns);
  const socket = createSocket("udp4");
  try {
    const query = dnsPacket.encode({
      type: "query",
      id: 1,
      flags: dnsPacket.RECURSION_DESIRED,
      questions: [{ name, type: "A" }],
    });
    socket.send(query, 10_053, machineAddress);
    const [message] = (await once(socket, "message", { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    return dnsPacket.decode(message);
  } finally {
    socket.close();
  }
}
