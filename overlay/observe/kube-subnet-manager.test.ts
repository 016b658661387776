import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t from "tap";
import { ApiClient } from "#api/client.ts";
import type { Node } from "#api/generated/kubernetes.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";
import { FakeClock, systemClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import type { SubnetLease } from "../model.ts";
import { parseNetConf } from "../plan/parse-net-conf.ts";
import { KubeSubnetManager } from "./kube-subnet-manager.ts";

const config = parseNetConf('{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}');
const attributes = {
  publicIp: "192.0.2.1",
  backendType: "vxlan",
  vtep: { vni: 1, mac: "c6:bf:00:00:00:01" },
};
const options = {
  nodeName: "n1",
  annotationPrefix: "flannel.alpha.coreos.com",
  netConfigPath: "",
  setNetworkUnavailable: true,
};

/** Nodes in memory: get, list, a watch that stays open, and merging patches of annotations and conditions. */
class FakeNodes implements Transport {
  readonly nodes = new Map<string, Node>();
  readonly patches: string[] = [];

  async send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    const url = new URL(request.path, "http://api");
    const [, , , , name = "", subresource = ""] = url.pathname.split("/");
    if (url.searchParams.has("watch")) return { status: 200, headers: {}, body: silence(signal) };
    if (name === "") {
      return answer({ metadata: { resourceVersion: "1" }, items: [...this.nodes.values()] });
    }
    const node = this.nodes.get(name);
    if (node === undefined) throw new Error(`no node "${name}"`);
    if (request.method === "GET") return answer(node);
    const patch = JSON.parse(String(request.body)) as Node;
    this.patches.push(subresource === "" ? "metadata" : subresource);
    this.nodes.set(name, {
      ...node,
      metadata: {
        ...node.metadata,
        annotations: { ...node.metadata?.annotations, ...patch.metadata?.annotations },
      },
      status: { ...node.status, ...patch.status },
    });
    return answer(node);
  }

  reset(): void {}
  async close(): Promise<void> {}
}

function answer(value: unknown): ApiResponse {
  return {
    status: 200,
    headers: {},
    body: (async function* () {
      yield Buffer.from(JSON.stringify(value));
    })(),
  };
}

async function* silence(signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
  signal.throwIfAborted();
  await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  yield Buffer.alloc(0);
}

function managerOf(nodes: FakeNodes, netConfigPath = ""): KubeSubnetManager {
  const ports = { client: new ApiClient(nodes), clock: systemClock, log: noLog, random: () => 0 };
  return new KubeSubnetManager({ ...options, netConfigPath }, ports);
}

t.test("the subnet is the node's podCIDR, and the node says how it is reached", async (t) => {
  const nodes = new FakeNodes();
  nodes.nodes.set("n1", { metadata: { name: "n1", uid: "1" }, spec: { podCIDR: "10.244.1.0/24" } });
  const manager = managerOf(nodes);
  const signal = AbortSignal.timeout(5_000);
  t.same(await manager.acquire(config, attributes, undefined, signal), {
    subnet: "10.244.1.0/24",
    attributes,
  });
  t.same(nodes.patches, ["metadata", "status"]);
  await manager.acquire(config, attributes, undefined, signal);
  t.same(nodes.patches, ["metadata", "status"], "what is said already is not said again");
  nodes.nodes.set("n2", { metadata: { name: "n2", uid: "2" }, spec: { podCIDR: "10.244.2.0/24" } });
  const stop = new AbortController();
  const seen: (readonly SubnetLease[])[] = [];
  const told = {
    leases: (all: readonly SubnetLease[]) => {
      seen.push(all);
      stop.abort();
    },
    moved: () => undefined,
  };
  await manager.run(told, stop.signal);
  t.same(seen[0], [{ subnet: "10.244.1.0/24", attributes }], "a node without the overlay is none of them");
});

t.test("a podCIDR outside the network is an error, a missing one is waited for", async (t) => {
  const nodes = new FakeNodes();
  nodes.nodes.set("n1", { metadata: { name: "n1" }, spec: { podCIDR: "10.9.1.0/24" } });
  await t.rejects(managerOf(nodes).acquire(config, attributes, undefined, AbortSignal.timeout(5_000)), {
    code: "no-subnet",
  });
  nodes.nodes.set("n1", { metadata: { name: "n1" } });
  const clock = new FakeClock();
  const ports = { client: new ApiClient(nodes), clock, log: noLog, random: () => 0 };
  const waiting = new KubeSubnetManager(options, ports).acquire(
    config,
    attributes,
    undefined,
    AbortSignal.timeout(5_000),
  );
  await clock.advance(3_000);
  nodes.nodes.set("n1", { metadata: { name: "n1" }, spec: { podCIDRs: ["fd00::/64", "10.244.3.0/24"] } });
  await clock.advance(1_000);
  t.match(await waiting, { subnet: "10.244.3.0/24" });
});

t.test("the configuration is a file", async (t) => {
  const directory = await mkdtemp(path.join(os.tmpdir(), "keelson-netconf-"));
  t.teardown(() => rm(directory, { recursive: true }));
  const file = path.join(directory, "net-conf.json");
  const signal = AbortSignal.timeout(5_000);
  await t.rejects(managerOf(new FakeNodes(), file).networkConfig(signal), { code: "bad-config" });
  await writeFile(file, '{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}');
  t.match(await managerOf(new FakeNodes(), file).networkConfig(signal), { backend: { type: "host-gw" } });
});
