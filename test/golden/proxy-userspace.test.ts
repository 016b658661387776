/** Ring 2: the rule set of userspace mode as text, and as the kernel's own checker reads it. */
import { execFileSync } from "node:child_process";
import t from "tap";
import { isProxyChain } from "../../proxy/plan/own-chains.ts";
import { fullScript } from "../../proxy/plan/rule-script.ts";
import { testPort } from "../../proxy/plan/test-ports.ts";
import { planUserspaceBase, planUserspaceRules } from "../../proxy/plan/userspace-rules.ts";
import { isRoot, matchGolden } from "./golden.ts";

const listener = { proxyPort: 41_000, hostIp: "192.168.0.2" };
const ports = [
  testPort("ns1/svc1:p80", { externalIps: ["192.168.99.22"], nodePort: 30_001 }),
  testPort("ns2/dns", { protocol: "udp", port: 53, clusterIp: "172.30.0.10" }),
  testPort("ns3/lb", {
    clusterIp: "172.30.0.43",
    loadBalancerIps: ["1.2.3.4"],
    sourceRanges: ["203.0.113.0/25"],
  }),
];
const full = fullScript(
  planUserspaceBase(["172.30.0.0/16"]),
  ports.map((port) => planUserspaceRules(port, listener)),
  new Map(),
  isProxyChain,
);

t.test("portals read as the userspace proxy's did", async (t) =>
  matchGolden(t, "proxy-userspace-full.rules", full),
);
t.test("the kernel takes them", { skip: !isRoot && "needs root: sudo make test" }, async (t) => {
  const name = `kpx-portals-${process.pid}`;
  execFileSync("ip", ["netns", "add", name]);
  t.teardown(() => void execFileSync("ip", ["netns", "del", name]));
  const run = (input: string, ...args: string[]) =>
    execFileSync("nsenter", [`--net=/run/netns/${name}`, ...args], { input, encoding: "utf8" });
  run(full, "iptables-restore", "-w", "5", "--noflush", "--counters", "--test");
  run(full, "iptables-restore", "-w", "5", "--noflush", "--counters");
  const jumps = run("", "iptables", "-t", "nat", "-S", "PREROUTING").match(/-j \S+/g);
  t.same(jumps, ["-j KUBE-PORTALS-CONTAINER", "-j KUBE-NODEPORT-CONTAINER"], "portals first, NodePorts last");
});
