import t from "tap";
import { FakeIptables } from "#linux/fake-iptables.ts";
import type { ServicePort } from "../../model.ts";
import { planIptablesBase } from "../../plan/iptables-base.ts";
import { serviceChain } from "../../plan/iptables-names.ts";
import { planIptablesRules } from "../../plan/iptables-rules.ts";
import { testEndpoint, testPort } from "../../plan/test-ports.ts";
import { RuleWriter, removeAllRules } from "./rule-writer.ts";

const signal = AbortSignal.any([]);
const base = planIptablesBase({
  family: 4,
  masqueradeBit: 14,
  randomFully: true,
  tcpBeLiberal: false,
  localhostNodePorts: true,
  nodePortIps: [],
  serviceCidrs: ["172.30.0.0/16"],
});
const plan = (port: ServicePort) =>
  planIptablesRules(
    port,
    { name: "n1", zone: "", ips: [], podCidrs: [] },
    { masqueradeAll: false, localDetector: { by: "nothing" } },
  );
const web = testPort("ns/web", { endpoints: [testEndpoint("10.1.0.1", 80)] });
const api = testPort("ns/api", {
  clusterIp: "172.30.0.9",
  nodePort: 30009,
  endpoints: [testEndpoint("10.1.0.2", 80)],
});
const start = async () => {
  const kernel = new FakeIptables();
  const writer = new RuleWriter(kernel, base);
  await writer.write(
    new Map([
      ["web", plan(web)],
      ["api", plan(api)],
    ]),
    signal,
  );
  return { kernel, writer };
};

t.test("the first write is whole, and the same again writes nothing", async (t) => {
  const { kernel, writer } = await start();
  t.same(kernel.rules("nat", serviceChain("SVC", web))?.length, 1);
  t.same(await writer.write(new Map([["web", plan(web)]]), signal), { kind: "nothing", lines: 0 });
  t.equal(kernel.scripts.length, 1);
});
t.test("a change of one Service writes nothing of another", async (t) => {
  const { kernel, writer } = await start();
  const report = await writer.write(new Map([["web", plan({ ...web, endpoints: [] })]]), signal);
  t.equal(report.kind, "part");
  t.notMatch(kernel.scripts.at(-1) ?? "", /ns\/api/);
  t.match(kernel.rules("filter", "KUBE-SERVICES")?.join("\n"), /ns\/web has no endpoints/);
  t.notOk(kernel.rules("nat", serviceChain("SVC", web)));
});
t.test("what stands last in a shared chain stays last", async (t) => {
  const { kernel, writer } = await start();
  await writer.write(
    new Map([
      ["new", plan(testPort("ns/new", { clusterIp: "172.30.0.10" }))],
      [
        "more",
        plan(testPort("ns/more", { clusterIp: "172.30.0.11", endpoints: [testEndpoint("10.1.0.3", 80)] })),
      ],
    ]),
    signal,
  );
  t.match(kernel.rules("nat", "KUBE-SERVICES")?.at(-1), /must be the last rule/);
  t.match(kernel.rules("filter", "KUBE-SERVICES")?.at(-1), /no service has this address/);
});
t.test("a restarted proxy prunes what is ours and nobody asks for, and nothing else", async (t) => {
  const { kernel } = await start();
  await kernel.restore(
    "*nat\n:KUBE-KUBELET-CANARY - [0:0]\n:MINE - [0:0]\n:KUBE-PORTALS-HOST - [0:0]\n-A OUTPUT -m comment --comment old -j KUBE-PORTALS-HOST\nCOMMIT\n*filter\n-A KUBE-FIREWALL -j DROP\nCOMMIT\n",
  );
  const again = new RuleWriter(kernel, base);
  await again.write(new Map([["web", plan(web)]]), signal);
  t.notOk(kernel.rules("nat", serviceChain("SVC", api)), "a Service that went while we were away");
  t.notOk(kernel.rules("nat", "KUBE-PORTALS-HOST"), "the other mode");
  t.ok(kernel.rules("nat", "MINE"));
  t.ok(kernel.rules("nat", "KUBE-KUBELET-CANARY"));
  t.equal(
    kernel.rules("filter", "KUBE-FIREWALL")?.length,
    2,
    "the agent's rule in the shared chain stays, ours is not doubled",
  );
  t.equal(kernel.rules("nat", "PREROUTING")?.length, 1, "jumps are not doubled");
});
t.test("a flush by another program is found, and everything is written again", async (t) => {
  const { kernel, writer } = await start();
  t.equal(await writer.missing(signal), undefined);
  kernel.flush("nat");
  t.match(await writer.missing(signal), /KUBE-SERVICES in table nat/);
  writer.forget();
  t.equal((await writer.write(new Map(), signal)).kind, "full");
  t.equal(await writer.missing(signal), undefined);
  t.ok(kernel.rules("nat", serviceChain("SVC", api)));
});
t.test("a difference the kernel refuses is followed by a whole write", async (t) => {
  const { kernel, writer } = await start();
  kernel.flush("nat");
  const report = await writer.write(new Map([["web", undefined]]), signal);
  t.equal(report.kind, "full");
  t.notOk(kernel.rules("nat", serviceChain("SVC", web)));
  t.ok(kernel.rules("nat", serviceChain("SVC", api)));
});
t.test("a failed write is not forgotten: the next one brings it", async (t) => {
  const { kernel, writer } = await start();
  writer.forget();
  kernel.failNext = "busy";
  await t.rejects(writer.write(new Map([["web", undefined]]), signal), { code: "refused" });
  await writer.write(new Map(), signal);
  t.notOk(kernel.rules("nat", serviceChain("SVC", web)));
});
t.test("cleanup leaves the chains of others, and none of ours", async (t) => {
  const { kernel } = await start();
  await removeAllRules(kernel, signal);
  t.same(kernel.chains("nat"), ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]);
  t.same(kernel.chains("filter"), ["INPUT", "FORWARD", "OUTPUT", "KUBE-FIREWALL"]);
  t.same(kernel.rules("nat", "PREROUTING"), []);
});
