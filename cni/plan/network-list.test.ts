import t from "tap";
import type { NetworkAttachment } from "../model.ts";
import { capabilityArgs, cniArgs, parseNetworkList, pluginInput } from "./network-list.ts";
import { parseCached, renderCached } from "./result-cache.ts";

const attachment: NetworkAttachment = {
  sandboxId: "s1",
  netnsPath: "/proc/1/ns/net",
  podName: "web",
  podNamespace: "default",
  podUid: "u1",
  portMappings: [
    { protocol: "UDP", containerPort: 53, hostPort: 5353, hostIp: "192.0.2.1" },
    { protocol: "TCP", containerPort: 80, hostPort: 0, hostIp: "" },
  ],
  annotations: { "kubernetes.io/ingress-bandwidth": "10M" },
};
const network = parseNetworkList(
  '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"a","x":1},{"type":"portmap","capabilities":{"portMappings":true}}]}',
);

t.test("a plugin gets the capabilities it declares, and no others", async (t) => {
  const args = capabilityArgs(attachment);
  const [first, second] = network.plugins.map(
    (plugin) => JSON.parse(pluginInput(network, plugin, args, { ips: [] })) as object,
  );
  t.same(first, { type: "a", x: 1, name: "n", cniVersion: "1.0.0", prevResult: { ips: [] } });
  t.match(second, {
    runtimeConfig: {
      portMappings: [{ hostPort: 5353, containerPort: 53, protocol: "udp", hostIP: "192.0.2.1" }],
    },
  });
  t.notMatch(second, { capabilities: {} });
  t.notMatch(second, { runtimeConfig: { bandwidth: {} } });
  t.match(args, { bandwidth: { ingressRate: 10_000_000 } });
});

t.test("a file with one plugin is a chain of one; nonsense is refused", async (t) => {
  t.match(parseNetworkList('{"name":"n","type":"bridge"}'), {
    cniVersion: "0.2.0",
    plugins: [{ type: "bridge" }],
  });
  for (const text of ["", "[]", "{}", '{"name":"n","plugins":[]}', '{"name":"n","plugins":[{}]}']) {
    t.throws(() => parseNetworkList(text), { name: "CniError" }, text);
  }
});

t.test("Kubernetes' arguments are there in its order", async (t) => {
  t.equal(
    cniArgs(attachment)
      .map((pair) => pair.join("="))
      .join(";"),
    "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=u1",
  );
});

t.test("what is cached is what DEL gets back", async (t) => {
  const cached = parseCached(
    renderCached(network, attachment, "eth0", { ips: [{ address: "10.1.0.2/24" }] }),
  );
  t.match(cached, {
    config: network.source,
    result: { ips: [{ address: "10.1.0.2/24" }] },
    capabilityArgs: { portMappings: [{}] },
  });
  t.equal(parseCached("{}"), undefined);
  t.equal(parseCached("nothing"), undefined);
});
