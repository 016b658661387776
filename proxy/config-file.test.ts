import t from "tap";
import { parseFlags } from "#lib/flags.ts";
import { flags } from "./config.ts";
import { applyConfigFile } from "./config-file.ts";

const defaults = parseFlags("keelson proxy", flags, []);
const head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
const read = (body: string) => applyConfigFile(defaults, head + body, "f.yaml");

t.test("the file kubeadm writes is taken", async (t) => {
  const config = read(
    'bindAddress: 0.0.0.0\nbindAddressHardFail: false\nclientConnection:\n  acceptContentTypes: ""\n  burst: 0\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\n  qps: 0\nclusterCIDR: 10.244.0.0/16\nconfigSyncPeriod: 0s\nconntrack:\n  maxPerCore: null\n  min: null\ndetectLocal:\n  bridgeInterface: ""\n  interfaceNamePrefix: ""\ndetectLocalMode: ""\nhostnameOverride: ""\niptables:\n  localhostNodePorts: null\n  masqueradeAll: false\n  masqueradeBit: null\n  minSyncPeriod: 1s\n  syncPeriod: 30s\nipvs:\n  scheduler: ""\nlogging: {flushFrequency: 0}\nmode: ""\nnodePortAddresses: null\nwinkernel: {networkName: ""}\n',
  );
  t.match(config, {
    kubeconfig: "/var/lib/kube-proxy/kubeconfig.conf",
    clusterCidrs: ["10.244.0.0/16"],
    minSyncMs: 1_000,
    syncPeriodMs: 30_000,
    mode: "iptables",
    masqueradeBit: 14,
    nodeName: defaults.nodeName,
  });
});
t.test("a period of 0s means the default, as Kubernetes reads it", async (t) => {
  const config = read(
    "iptables: {syncPeriod: 0s, minSyncPeriod: 0s}\nconntrack: {tcpEstablishedTimeout: 24h0m0s}",
  );
  t.match(config, { syncPeriodMs: 10_000, minSyncMs: 100, conntrackTcpEstablishedMs: 86_400_000 });
});
const wrong = [
  { name: "an unknown field is refused by name", body: "mod: iptables", message: /unknown field "mod"/ },
  {
    name: "an unknown field within another is refused by name",
    body: "iptables: {masq: 1}",
    message: /unknown field "iptables.masq"/,
  },
  {
    name: "a wrong value names the field",
    body: "iptables: {masqueradeBit: 99}",
    message: /iptables\.masqueradeBit: want a bit/,
  },
  { name: "ipvs is refused in words", body: "mode: ipvs", message: /ipvs.*not supported/ },
];
for (const { name, body, message } of wrong)
  t.test(name, async (t) => void t.throws(() => read(body), message));
t.test("another kind is refused", async (t) => {
  t.throws(() => applyConfigFile(defaults, "kind: KubeletConfiguration", "f.yaml"), /KubeProxyConfiguration/);
});
