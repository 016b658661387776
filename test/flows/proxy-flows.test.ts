/** Ring 3: real packets through the rules the proxy writes, in network namespaces without an uplink. */
import type { ChildProcessWithoutNullStreams } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import type { KubeObject } from "#api/meta.ts";
import { type Flow, flows, nodeObject, services, slice, slices } from "./proxy-flow-table.ts";
import { address, type Hosts, makeHosts, type Reply, stopped } from "./proxy-hosts.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: sudo make test";
const slicePath = "/apis/discovery.k8s.io/v1/endpointslices";

interface Proxy {
  readonly child: ChildProcessWithoutNullStreams;
  put(path: string, object: KubeObject): void;
  readonly log: () => string;
}

function startProxy(hosts: Hosts, mode: string): Proxy {
  const settings = {
    "proxy-mode": mode,
    "hostname-override": "node-1",
    "cluster-cidr": "10.244.0.0/16",
    "service-cluster-ip-range": "10.96.0.0/16",
    "conntrack-max-per-core": "0",
    "iptables-sync-period": "2s",
  };
  const args = Object.entries(settings).map(([flag, value]) => `--${flag}=${value}`);
  const child = hosts.startOnNode("proxy-under-test.ts", ...args);
  let log = "";
  child.stderr.on("data", (chunk: Buffer) => {
    log = (log + chunk.toString("utf8")).slice(-20_000);
  });
  const put = (path: string, object: KubeObject): void =>
    void child.stdin.write(`${JSON.stringify({ put: path, object })}\n`);
  put("/api/v1/nodes", nodeObject);
  for (const object of services) put("/api/v1/services", object);
  for (const object of slices) put(slicePath, object);
  return { child, put, log: () => log };
}

async function until(what: string, ms: number, check: () => boolean | Promise<boolean>): Promise<number> {
  const start = performance.now();
  while (!(await check())) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await delay(20);
  }
  return performance.now() - start;
}

/** Asks until every expected server has answered; a fair draw between two misses one 20 times in a million. */
async function observe(hosts: Hosts, flow: Flow, expected: Flow["reaches"]): Promise<readonly Reply[]> {
  const replies: Reply[] = [];
  const wanted = new Set(typeof expected === "string" ? [] : expected);
  for (let tries = 0; tries < 16; tries += 1) {
    // The kernel limits ICMP errors (and redirects with them) per destination: a refusal may need a second SYN.
    const timeoutMs = expected === "dropped" ? 700 : 4_000;
    const reply = await hosts.ask(flow.from, flow.to, { timeoutMs });
    replies.push(reply);
    if (reply.server === undefined) break;
    wanted.delete(reply.server);
    if (wanted.size === 0) break;
  }
  return replies;
}

for (const mode of ["iptables", "userspace"] as const) {
  t.test(`${mode} mode`, { skip, timeout: 120_000 }, async (t) => {
    const hosts = await makeHosts();
    let proxy = startProxy(hosts, mode);
    t.teardown(async () => {
      await stopped(proxy.child);
      await hosts.close();
      if (!t.passing()) console.error(proxy.log());
    });
    await until(`rules are written: ${proxy.log()}`, 20_000, () => proxy.log().includes("wrote rules"));
    await until("every Service is in the rules", 5_000, () =>
      services.every(({ metadata }) => hosts.onNode("iptables-save").includes(`ns/${metadata?.name ?? "?"}`)),
    );

    for (const flow of flows) {
      const expected = mode === "userspace" ? (flow.userspace ?? flow.reaches) : flow.reaches;
      t.test(
        flow.name,
        { skip: expected === "unsupported" && "userspace mode has one listener for all traffic of a port" },
        async (t) => {
          if (expected === "unsupported") return;
          const replies = await observe(hosts, flow, expected);
          const errors = new Set(replies.flatMap(({ error }) => error ?? []));
          if (expected === "dropped") t.same([...errors], ["ETIMEDOUT"]);
          // A userspace portal accepts before it looks for an endpoint: refusing means closing.
          else if (expected === "refused") {
            t.equal(errors.size, 1);
            t.match([...errors][0], /^(ECONNREFUSED|CLOSED|ECONNRESET)$/);
          } else {
            t.same([...errors], []);
            t.same(new Set(replies.map(({ server }) => server)), new Set(expected));
            if (flow.seenAs !== undefined && mode === "iptables") t.equal(replies[0]?.client, flow.seenAs);
          }
        },
      );
    }

    t.test("with affinity a client stays with its endpoint", async (t) => {
      const servers = new Set<string | undefined>();
      for (let i = 0; i < 8; i += 1) servers.add((await hosts.ask("pod-b", "tcp 10.96.0.13:80")).server);
      t.equal(servers.size, 1);
      t.not([...servers][0], undefined);
    });

    t.test("iptables-save shows the chains people look for", async (t) => {
      const saved = hosts.onNode("iptables-save");
      const chains =
        mode === "iptables"
          ? ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-SVC-", "KUBE-SEP-", "KUBE-EXT-"]
          : ["KUBE-PORTALS-CONTAINER", "KUBE-PORTALS-HOST", "KUBE-NODEPORT-CONTAINER", "KUBE-NODEPORT-HOST"];
      for (const chain of chains) t.match(saved, `:${chain}`);
      t.match(
        saved,
        mode === "iptables" ? /-j DNAT --to-destination 10\.244\.1\.5:8080/ : /-j REDIRECT --to-ports \d+/,
      );
    });

    t.test("health, metrics and the Services' own health checks answer on the node", async (t) => {
      const get = (url: string): { readonly status: number; readonly body: string } => {
        const script = `const r = await fetch("${url}"); console.log(JSON.stringify({ status: r.status, body: await r.text() }))`;
        return JSON.parse(hosts.onNode(process.execPath, "--input-type=module", "-e", script)) as never;
      };
      t.match(get("http://127.0.0.1:10256/healthz"), {
        status: 200,
        body: /"nodeEligible":true,"healthy":true/,
      });
      t.match(get("http://127.0.0.1:10256/livez"), { status: 200 });
      t.match(get("http://127.0.0.1:10249/proxyMode"), { status: 200, body: mode });
      t.match(get("http://127.0.0.1:10249/metrics"), {
        status: 200,
        body: /kubeproxy_sync_full_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} 1/,
      });
      t.match(get("http://127.0.0.1:32000/"), { status: 200, body: /"localEndpoints": 1/ });
      t.match(get("http://127.0.0.1:32001/"), { status: 503, body: /"localEndpoints": 0/ });
    });

    t.test("an endpoint that is no longer ready gets nothing within a second", async (t) => {
      proxy.put(slicePath, slice("web", [address.podB]));
      const ms = await until("only pod-b answers", 1_000, async () => {
        const replies = await Promise.all(
          [1, 2, 3, 4, 5, 6].map(() => hosts.ask("pod-b", "tcp 10.96.0.7:80")),
        );
        return replies.every(({ server }) => server === address.podB);
      });
      t.comment(`${Math.round(ms)} ms`);
      proxy.put(slicePath, slice("web", [address.podA, address.podB]));
    });

    t.test("a UDP flow moves when its endpoint leaves", async (t) => {
      const ask = () => hosts.ask("pod-b", "udp 10.96.0.15:80", { fromPort: 45_000 });
      const first = (await ask()).server;
      t.ok(first);
      const other = first === address.podA ? address.podB : address.podA;
      proxy.put(slicePath, slice("udp", [other], "UDP"));
      await until("the other endpoint answers", 2_000, async () => (await ask()).server === other);
      t.equal((await ask()).server, other);
    });

    t.test("rules that another program flushed come back", async (t) => {
      hosts.onNode("iptables", "-t", "nat", "-F");
      t.ok((await hosts.ask("pod-b", "tcp 10.96.0.7:80")).error);
      const ms = await until(
        "the Service answers again",
        10_000,
        async () => (await hosts.ask("pod-b", "tcp 10.96.0.7:80")).server !== undefined,
      );
      t.comment(`${Math.round(ms)} ms`);
    });

    if (mode === "iptables") {
      t.test(
        "kill -9 of the proxy breaks no connection, and its restart leaves rules in place",
        async (t) => {
          const keep = { keep: "one" };
          const first = await hosts.ask("outside", `tcp ${address.node}:30080`, keep);
          t.ok(first.server);
          await stopped(proxy.child);
          t.same(await hosts.ask("outside", `tcp ${address.node}:30080`, keep), first);
          t.ok((await hosts.ask("pod-b", "tcp 10.96.0.7:80")).server, "new connections go on as well");
          proxy = startProxy(hosts, mode);
          await until("rules are written", 20_000, () => proxy.log().includes("wrote rules"));
          t.same(await hosts.ask("outside", `tcp ${address.node}:30080`, keep), first);
          t.ok((await hosts.ask("pod-b", "tcp 10.96.0.7:80")).server);
        },
      );
    }

    t.test("started in the other mode, the proxy takes the rules of this one away", async (t) => {
      await stopped(proxy.child);
      proxy = startProxy(hosts, mode === "iptables" ? "userspace" : "iptables");
      await until("rules are written", 20_000, () => proxy.log().includes("wrote rules"));
      const saved = hosts.onNode("iptables-save");
      t.notMatch(saved, mode === "iptables" ? /KUBE-S(VC|EP)-|KUBE-POSTROUTING/ : /KUBE-PORTALS/);
      await until(
        "the Service answers",
        5_000,
        async () => (await hosts.ask("pod-b", "tcp 10.96.0.7:80")).server !== undefined,
      );
    });

    t.test("--cleanup leaves no chain of ours", async (t) => {
      await stopped(proxy.child, "SIGTERM");
      const child = hosts.startOnNode("proxy-under-test.ts", "--cleanup", "--hostname-override", "node-1");
      await new Promise((resolve) => child.once("exit", resolve));
      t.equal(child.exitCode, 0);
      t.same(hosts.onNode("iptables-save").match(/KUBE-(?!FIREWALL)[A-Z-]+/g), null);
    });
  });
}

t.test("Pods on one bridge, iptables mode", { skip, timeout: 60_000 }, async (t) => {
  const hosts = await makeHosts("bridged");
  const proxy = startProxy(hosts, "iptables");
  t.teardown(async () => {
    await stopped(proxy.child);
    await hosts.close();
    if (!t.passing()) console.error(proxy.log());
  });
  await until("rules are written", 20_000, () => proxy.log().includes("wrote rules"));
  await until("every Service is in the rules", 5_000, () =>
    services.every(({ metadata }) => hosts.onNode("iptables-save").includes(`ns/${metadata?.name ?? "?"}`)),
  );
  for (const flow of flows.filter(({ from }) => from.startsWith("pod"))) {
    t.test(flow.name, async (t) => {
      const replies = await observe(hosts, flow, flow.reaches);
      const errors = new Set(replies.flatMap(({ error }) => error ?? []));
      if (typeof flow.reaches === "string") {
        t.same([...errors], [flow.reaches === "dropped" ? "ETIMEDOUT" : "ECONNREFUSED"]);
      } else {
        t.same([...errors], []);
        t.same(new Set(replies.map(({ server }) => server)), new Set(flow.reaches));
        if (flow.seenAs !== undefined) t.equal(replies[0]?.client, flow.seenAs);
      }
    });
  }
});
