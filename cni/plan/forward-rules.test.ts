import t from "tap";
import { renderForward } from "./forward-rules.ts";

const rules = [
  '-s 10.1.0.0/24 -m comment --comment "keelson pod network pods" -j ACCEPT',
  '-d 10.1.0.0/24 -m comment --comment "keelson pod network pods" -j ACCEPT',
];
const table = (forward: readonly string[], own?: readonly string[]) =>
  new Map([
    ["FORWARD", { rules: forward }],
    ...(own === undefined ? [] : [["CNI-FORWARD", { rules: own }] as const]),
  ]);

t.test("the Pod subnet is let through both ways, and nothing is written twice", async (t) => {
  const script = renderForward("pods", "10.1.0.0/24", table(["-j DOCKER-USER"])) ?? "";
  t.match(script, /^:CNI-FORWARD - \[0:0\]$/m);
  for (const rule of rules) t.ok(script.includes(`-A CNI-FORWARD ${rule}\n`), rule);
  t.match(script, /^-I FORWARD 1 .*-j CNI-FORWARD$/m, "before Docker's");
  t.equal(renderForward("pods", "10.1.0.0/24", table(["-j CNI-FORWARD"], rules)), undefined);
});

t.test("a jump that somebody removed comes back, and the chain is not emptied", async (t) => {
  const script = renderForward("pods", "10.1.0.0/24", table([], ["-j CNI-ADMIN", ...rules])) ?? "";
  t.equal(script, '*filter\n-I FORWARD 1 -m comment --comment "pod network" -j CNI-FORWARD\nCOMMIT\n');
});

t.test("the proxy's refusals stay in front", async (t) => {
  const forward = [
    '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
    '-m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    "-j DOCKER-FORWARD",
  ];
  t.match(renderForward("pods", "10.1.0.0/24", table(forward)), /^-I FORWARD 3 .*-j CNI-FORWARD$/m);
});

t.test("the node's former subnet is closed again, another network's stays open", async (t) => {
  const other = '-s 10.2.0.0/24 -m comment --comment "keelson pod network other" -j ACCEPT';
  const script = renderForward("pods", "10.3.0.0/24", table(["-j CNI-FORWARD"], [...rules, other])) ?? "";
  for (const rule of rules) t.ok(script.includes(`-D CNI-FORWARD ${rule}\n`), rule);
  t.notMatch(script, /10\.2\.0\.0/);
});
