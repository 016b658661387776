import t from "tap";
import { endpointChain, isServiceChain, serviceChain } from "./iptables-names.ts";
import { planIptablesRules } from "./iptables-rules.ts";
import { testEndpoint, testPort } from "./test-ports.ts";

const node = { name: "n1", zone: "", ips: ["192.168.0.2"], podCidrs: [] };
const settings = { masqueradeAll: false, localDetector: { by: "cidr", cidr: "10.0.0.0/8" } } as const;

t.test("chains have the names kube-proxy gives them", async (t) => {
  const port = { name: "ns1/svc1:p80", protocol: "tcp" } as const;
  t.equal(serviceChain("SVC", port), "KUBE-SVC-XPGD46QRK7WJZT7O");
  t.equal(endpointChain(port, { ip: "10.180.0.1", port: 80 }), "KUBE-SEP-SXIVWICOYRO3J4NJ");
  t.ok(isServiceChain("KUBE-SVC-XPGD46QRK7WJZT7O"));
  t.notOk(isServiceChain("KUBE-SERVICES"));
  t.notOk(isServiceChain("KUBE-SVC-mine"));
});
t.test("every chain that is jumped to is there, for every mix of policies and endpoints", async (t) => {
  const flags = [false, true];
  const sets = [
    [],
    [testEndpoint("10.180.0.1", 80)],
    [testEndpoint("10.180.0.1", 80, { local: true }), testEndpoint("10.180.0.2", 80)],
  ];
  let cases = 0;
  for (const internalLocal of flags)
    for (const externalLocal of flags)
      for (const nodePort of [0, 30001])
        for (const ranges of [[], ["1.2.3.0/24"]])
          for (const endpoints of sets) {
            const port = testPort("ns1/svc1:p80", {
              internalLocal,
              externalLocal,
              nodePort,
              sourceRanges: ranges,
              loadBalancerIps: nodePort === 0 ? [] : ["5.6.7.8"],
              endpoints,
            });
            const rules = planIptablesRules(port, node, settings);
            const known = new Set([
              ...rules.chains.keys(),
              "KUBE-MARK-MASQ",
              "DROP",
              "REJECT",
              "DNAT",
              "ACCEPT",
            ]);
            const targets = [
              ...rules.shared.map(({ rule }) => rule),
              ...[...rules.chains.values()].flat(),
            ].map((rule) => / -j (\S+)/.exec(` ${rule}`)?.[1]);
            for (const target of targets)
              if (target !== undefined && !known.has(target)) t.fail(`${target} is not there`, { port });
            const used = new Set(targets);
            for (const chain of rules.chains.keys())
              if (!used.has(chain)) t.fail(`${chain} is never reached`, { port });
            cases += 1;
          }
  t.equal(cases, 48);
});
t.test("n endpoints draw equal shares", async (t) => {
  const port = testPort("ns1/svc1:p80", {
    endpoints: [1, 2, 3].map((n) => testEndpoint(`10.180.0.${n}`, 80)),
  });
  const rules = planIptablesRules(port, node, settings).chains.get(serviceChain("SVC", port)) ?? [];
  t.same(
    rules.map((rule) => /--probability (\S+)/.exec(rule)?.[1]),
    [undefined, "0.3333333333", "0.5000000000", undefined],
  );
});
