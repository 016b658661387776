/** Ring 2: the rule sets of iptables mode as text, and as the kernel's own checker reads them. */
import { execFileSync } from "node:child_process";
import t from "tap";
import { type ServicePort, servicePortKey } from "../../proxy/model.ts";
import { planIptablesBase } from "../../proxy/plan/iptables-base.ts";
import { isServiceChain } from "../../proxy/plan/iptables-names.ts";
import { planIptablesRules } from "../../proxy/plan/iptables-rules.ts";
import { diffScript, fullScript } from "../../proxy/plan/rule-script.ts";
import { testEndpoint, testPort } from "../../proxy/plan/test-ports.ts";
import { isRoot, matchGolden } from "./golden.ts";

const node = { name: "node-1", zone: "", ips: ["192.168.0.2"], podCidrs: [] };
const settings = { masqueradeAll: false, localDetector: { by: "cidr", cidr: "10.0.0.0/8" } } as const;
const baseSettings = {
  family: 4,
  masqueradeBit: 14,
  randomFully: true,
  tcpBeLiberal: false,
  localhostNodePorts: true,
  nodePortIps: [],
  serviceCidrs: ["172.30.0.0/16"],
} as const;
const base = planIptablesBase(baseSettings);

/** The Services of kube-proxy's own overall test: one of each kind. */
const ports: readonly ServicePort[] = [
  testPort("ns1/svc1:p80", { clusterIp: "172.30.0.41", endpoints: [testEndpoint("10.180.0.1", 80)] }),
  testPort("ns2/svc2:p80", {
    clusterIp: "172.30.0.42",
    externalLocal: true,
    nodePort: 3001,
    externalIps: ["192.168.99.22"],
    loadBalancerIps: ["1.2.3.4"],
    healthCheckNodePort: 30000,
    endpoints: [testEndpoint("10.180.0.2", 80)],
  }),
  testPort("ns3/svc3:p80", {
    clusterIp: "172.30.0.43",
    nodePort: 3003,
    endpoints: [testEndpoint("10.180.0.3", 80)],
  }),
  testPort("ns4/svc4:p80", {
    clusterIp: "172.30.0.44",
    externalIps: ["192.168.99.33"],
    endpoints: [testEndpoint("10.180.0.4", 80), testEndpoint("10.180.0.5", 80)],
  }),
  testPort("ns5/svc5:p80", {
    clusterIp: "172.30.0.45",
    nodePort: 3002,
    loadBalancerIps: ["5.6.7.8"],
    sourceRanges: ["203.0.113.0/25"],
    affinitySeconds: 10_800,
    endpoints: [testEndpoint("10.180.0.3", 80)],
  }),
  testPort("ns6/svc6:p80", { clusterIp: "172.30.0.46" }),
];
const plans = new Map(ports.map((port) => [servicePortKey(port), planIptablesRules(port, node, settings)]));
const full = fullScript(base, plans.values(), new Map(), isServiceChain);

const scale = testPort("ns4/svc4:p80", {
  clusterIp: "172.30.0.44",
  externalIps: ["192.168.99.33"],
  endpoints: [testEndpoint("10.180.0.4", 80), testEndpoint("10.180.0.6", 80)],
});
const before = plans.get("ns4/svc4:p80/tcp") ?? { chains: new Map(), shared: [] };
const replaced = diffScript([{ before, after: planIptablesRules(scale, node, settings) }]);
const restored = diffScript([{ before: planIptablesRules(scale, node, settings), after: before }]);
const emptied = diffScript([
  { before, after: planIptablesRules({ ...scale, endpoints: [] }, node, settings) },
]);
const removed = diffScript([{ before, after: { chains: new Map(), shared: [] } }]);

t.test("the full rule set reads as kube-proxy's does", async (t) =>
  matchGolden(t, "proxy-iptables-full.rules", full),
);
t.test("a replaced endpoint rewrites its Service's chain and nothing that Services share", async (t) => {
  matchGolden(t, "proxy-iptables-endpoint-replaced.rules", replaced);
  t.notMatch(replaced, /KUBE-SERVICES|KUBE-NODEPORTS/);
});
t.test("the last endpoint gone turns sending into refusing", async (t) =>
  matchGolden(t, "proxy-iptables-endpoints-gone.rules", emptied),
);
t.test("a removed Service takes its chains and rules with it", async (t) =>
  matchGolden(t, "proxy-iptables-service-removed.rules", removed),
);
t.test("nothing changed writes nothing", async (t) => t.equal(diffScript([{ before, after: before }]), ""));

const skip = isRoot ? false : "needs root: sudo make test";
for (const backend of ["iptables", "iptables-legacy"]) {
  t.test(`${backend} takes every script, one after another`, { skip }, async (t) => {
    const name = `kpx-golden-${process.pid}`;
    execFileSync("ip", ["netns", "add", name]);
    t.teardown(() => void execFileSync("ip", ["netns", "del", name]));
    const run = (program: string, args: string[], input = "") =>
      execFileSync("nsenter", [`--net=/run/netns/${name}`, program, ...args], { input, encoding: "utf8" });
    const restore = ["-w", "5", "--noflush", "--counters"];
    run(`${backend}-restore`, [...restore, "--test"], full);
    t.notMatch(run(`${backend}-save`, []), /KUBE-SERVICES/, "the checker commits nothing");
    for (const script of [full, replaced]) run(`${backend}-restore`, restore, script);
    const saved = run(`${backend}-save`, ["-t", "nat"]);
    t.match(saved, /--to-destination 10\.180\.0\.6:80/);
    t.notMatch(saved, /10\.180\.0\.5/);
    run(`${backend}-restore`, restore, restored);
    run(`${backend}-restore`, restore, removed);
    t.notMatch(run(`${backend}-save`, []), /svc4/);
    t.match(run(`${backend}-save`, []), /svc5/);
  });
}

t.test("ip6tables takes the rules of the other family", { skip }, async (t) => {
  const name = `kpx-golden6-${process.pid}`;
  execFileSync("ip", ["netns", "add", name]);
  t.teardown(() => void execFileSync("ip", ["netns", "del", name]));
  const port = testPort("ns1/svc1:p80", {
    family: 6,
    clusterIp: "fd00:1::7",
    nodePort: 30_001,
    externalIps: ["fd00:2::1"],
    affinitySeconds: 60,
    endpoints: [testEndpoint("fd00:3::1", 80), testEndpoint("fd00:3::2", 80)],
  });
  const detector = { by: "cidr", cidr: "fd00:3::/64" } as const;
  const script = fullScript(
    planIptablesBase({ ...baseSettings, family: 6, serviceCidrs: ["fd00:1::/112"] }),
    [planIptablesRules(port, node, { masqueradeAll: false, localDetector: detector })],
    new Map(),
    isServiceChain,
  );
  const run = (input: string, ...args: string[]) =>
    execFileSync("nsenter", [`--net=/run/netns/${name}`, ...args], { input, encoding: "utf8" });
  run(script, "ip6tables-restore", "-w", "5", "--noflush", "--counters");
  t.match(run("", "ip6tables-save", "-t", "nat"), /--to-destination \[fd00:3::1\]:80/);
});
