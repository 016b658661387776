/** Ring 3 without a kernel: the table of flows, followed by hand through the planned rules. */
import t from "tap";
import { planIptablesBase } from "../../proxy/plan/iptables-base.ts";
import { planIptablesRules } from "../../proxy/plan/iptables-rules.ts";
import { isProxyChain } from "../../proxy/plan/own-chains.ts";
import { fullScript } from "../../proxy/plan/rule-script.ts";
import { servicePorts } from "../../proxy/plan/service-ports.ts";
import { flows, services, slices } from "./proxy-flow-table.ts";
import { address, type Place } from "./proxy-hosts.ts";
import { trace } from "./tracer.ts";

const node = { name: "node-1", zone: "", ips: [address.node], podCidrs: [] };
const settings = { masqueradeAll: false, localDetector: { by: "cidr", cidr: "10.244.0.0/16" } } as const;
const owned = services.flatMap((service, index) =>
  servicePorts(service, slices.slice(index, index + 1), 4, "node-1").map((port) =>
    planIptablesRules(port, node, settings),
  ),
);
const base = planIptablesBase({
  family: 4,
  masqueradeBit: 14,
  randomFully: true,
  tcpBeLiberal: false,
  localhostNodePorts: true,
  nodePortIps: [],
  serviceCidrs: ["10.96.0.0/16"],
});
const script = fullScript(base, owned, new Map(), isProxyChain);
const sources: Readonly<Record<Place, string>> = {
  "pod-a": address.podA,
  "pod-b": address.podB,
  node: address.node,
  outside: address.outside,
};
const localIps = [address.node, "10.244.1.1"];
const send = (from: Place, to: string) => {
  const [protocol = "", target = ""] = to.split(" ");
  const [destination = "", port = ""] = target.split(":");
  const source = destination.startsWith("127.") ? "127.0.0.1" : sources[from];
  return trace(
    script,
    { protocol, source, destination, port: Number(port), fromNode: from === "node" },
    localIps,
  );
};

for (const flow of flows) {
  t.test(flow.name, async (t) => {
    const outcomes = send(flow.from, flow.to);
    if (typeof flow.reaches === "string") return void t.same([...outcomes], [flow.reaches]);
    t.same(
      new Set([...outcomes].map((outcome) => outcome.replace(/^(masqueraded )?to /, ""))),
      new Set(flow.reaches),
    );
    if (flow.seenAs !== undefined)
      t.notMatch([...outcomes].join(), /masqueraded/, "the client's address is kept");
  });
}
t.test("what enters from outside under policy Cluster is masqueraded", async (t) => {
  for (const outcome of send("outside", `tcp ${address.node}:30080`)) t.match(outcome, /^masqueraded/);
});
t.test("a Pod that reaches itself is masqueraded", async (t) => {
  t.same([...send("pod-a", "tcp 10.96.0.14:80")], [`masqueraded to ${address.podA}`]);
});
t.test("what is none of our business is not touched", async (t) => {
  t.same([...send("pod-a", "tcp 8.8.8.8:80")], ["untouched"]);
  t.same([...send("outside", `tcp ${address.node}:22`)], ["untouched"]);
});
