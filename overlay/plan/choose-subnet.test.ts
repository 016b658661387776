import t from "tap";
import { chooseSubnet, type RegisteredLease } from "./choose-subnet.ts";
import { parseNetConf } from "./parse-net-conf.ts";

const config = parseNetConf('{"Network":"10.5.0.0/22","Backend":{"Type":"host-gw"}}'); // .1 .2 .3

function lease(subnet: string, publicIp: string): RegisteredLease {
  return {
    subnet,
    attributes: { publicIp, backendType: "host-gw", vtep: undefined },
    modRevision: 7n,
    isReservation: false,
  };
}

t.test("the lease registered for our address is taken again", async (t) => {
  const leases = [lease("10.5.1.0/24", "10.0.0.1"), lease("10.5.2.0/24", "10.0.0.2")];
  t.match(chooseSubnet(config, leases, "10.0.0.2", "10.5.3.0/24", 0), {
    action: "reuse",
    lease: { subnet: "10.5.2.0/24" },
  });
});

t.test("a lease of ours that no longer fits the network is thrown away first", async (t) => {
  for (const subnet of ["10.9.1.0/24", "10.5.0.0/24", "10.5.1.0/25"]) {
    t.match(chooseSubnet(config, [lease(subnet, "10.0.0.2")], "10.0.0.2", undefined, 0), {
      action: "discard",
      leases: [{ subnet }],
    });
  }
});

t.test("the subnet this node had before is preferred while it is free", async (t) => {
  t.same(chooseSubnet(config, [], "10.0.0.2", "10.5.3.0/24", 0), { action: "create", subnet: "10.5.3.0/24" });
  t.same(chooseSubnet(config, [lease("10.5.3.0/24", "10.0.0.9")], "10.0.0.2", "10.5.3.0/24", 0), {
    action: "create",
    subnet: "10.5.1.0/24",
  });
  t.same(chooseSubnet(config, [], "10.0.0.2", "10.9.3.0/24", 0), { action: "create", subnet: "10.5.1.0/24" });
});

t.test("else one is drawn from those that overlap with nobody's", async (t) => {
  const taken = [lease("10.5.1.128/25", "10.0.0.1")];
  t.same(chooseSubnet(config, taken, "10.0.0.2", undefined, 0), { action: "create", subnet: "10.5.2.0/24" });
  t.same(chooseSubnet(config, taken, "10.0.0.2", undefined, 0.99), {
    action: "create",
    subnet: "10.5.3.0/24",
  });
  const all = ["10.5.1.0/24", "10.5.2.0/24", "10.5.3.0/24"].map((subnet, i) =>
    lease(subnet, `10.0.0.${10 + i}`),
  );
  t.same(chooseSubnet(config, all, "10.0.0.2", undefined, 0), { action: "none-left" });
});
