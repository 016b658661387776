import t from "tap";
import type { Backend, SubnetLease } from "../model.ts";
import { diffTunnel } from "./diff-tunnel.ts";
import { planPeers } from "./peers.ts";

const vxlan: Backend = {
  type: "vxlan",
  vni: 1,
  port: 8472,
  mtuBytes: 0,
  gbp: false,
  learning: false,
  directRouting: false,
};
const own: SubnetLease = peer(1);

function peer(n: number, backendType = "vxlan"): SubnetLease {
  const vtep = { vni: 1, mac: `c6:bf:00:00:00:0${n}` };
  return { subnet: `10.5.${n}.0/24`, attributes: { publicIp: `192.0.2.${n}`, backendType, vtep } };
}

t.test("a peer is a forwarding entry, a neighbour and a route; we are no peer of ourselves", async (t) => {
  const { state, notes } = planPeers(vxlan, own.subnet, [own, peer(2)], () => false);
  t.same(state.fdb, new Map([["c6:bf:00:00:00:02", "192.0.2.2"]]));
  t.same(state.neighbours, new Map([["10.5.2.0", "c6:bf:00:00:00:02"]]));
  t.same(state.routes, new Map([["10.5.2.0/24", { gateway: "10.5.2.0", by: "tunnel" }]]));
  t.same(notes, []);
});

t.test("with direct routing only peers behind a router use the tunnel", async (t) => {
  const { state } = planPeers(
    { ...vxlan, directRouting: true },
    own.subnet,
    [peer(2), peer(3)],
    (ip) => ip === "192.0.2.2",
  );
  t.same(state.routes.get("10.5.2.0/24"), { gateway: "192.0.2.2", by: "direct" });
  t.same(state.routes.get("10.5.3.0/24"), { gateway: "10.5.3.0", by: "tunnel" });
  t.equal(state.fdb.size, 1);
});

t.test("who cannot be reached is left out, and said", async (t) => {
  const silent = { ...peer(3), attributes: { ...peer(3).attributes, vtep: undefined } };
  t.match(
    planPeers(vxlan, own.subnet, [peer(2, "host-gw"), silent], () => true),
    {
      state: { routes: new Map() },
      notes: [/backend "host-gw", we use "vxlan"/, /does not say the MAC/],
    },
  );
  t.match(planPeers({ type: "host-gw" }, own.subnet, [peer(2, "host-gw")], () => false).notes, [
    /behind a router/,
  ]);
});

t.test(
  "the difference is empty for equal states, and never leaves a route without its entries",
  async (t) => {
    const before = planPeers(vxlan, own.subnet, [peer(2), peer(3)], () => false).state;
    t.same(diffTunnel(before, before), []);
    const after = planPeers(vxlan, own.subnet, [peer(3), peer(4)], () => false).state;
    t.same(
      diffTunnel(after, before).map((change) => change.type),
      ["remove-route", "set-fdb", "set-neighbour", "set-route", "remove-neighbour", "remove-fdb"],
    );
    const moved = {
      ...peer(3),
      attributes: { ...peer(3).attributes, vtep: { vni: 1, mac: "c6:bf:00:00:00:99" } },
    };
    const changes = diffTunnel(planPeers(vxlan, own.subnet, [peer(2), moved], () => false).state, before);
    t.same(
      changes.map((change) => change.type),
      ["set-fdb", "set-neighbour", "remove-fdb"],
      "a new MAC replaces the old one, whose entry does not stay behind",
    );
  },
);
