import t from "tap";
import { forwardPlan, masqueradePlan, renderChain } from "./filter-rules.ts";

const plan = masqueradePlan("10.5.0.0/16", "10.5.52.0/24", true);

t.test("the first script makes the chain and the way to it", async (t) => {
  t.equal(
    renderChain(forwardPlan("10.5.0.0/16"), { from: [], chain: undefined }),
    `*filter
:FLANNEL-FWD - [0:0]
-A FLANNEL-FWD -s 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.5.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
COMMIT
`,
  );
});

t.test("what is there already is not written again", async (t) => {
  t.equal(renderChain(plan, { from: [plan.entry], chain: plan.rules }), undefined);
});

t.test(
  "a rule that is missing, strange or out of order has the chain written anew, the entry once",
  async (t) => {
    for (const chain of [
      plan.rules.slice(1),
      [...plan.rules, "-j ACCEPT"],
      plan.rules.toReversed(),
      undefined,
    ]) {
      const script = renderChain(plan, { from: [plan.entry], chain }) ?? "";
      t.equal(script.match(/^-A FLANNEL-POSTRTG/gm)?.length, plan.rules.length);
      t.notMatch(script, /-A POSTROUTING/);
    }
  },
);
