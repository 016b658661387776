/** The kernel's words, against the kernel: every test in namespaces of its own. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import t from "tap";
import { addAddress, listAddresses, removeAddress } from "#linux/netlink/addresses.ts";
import {
  createBridge,
  createVeth,
  createVxlan,
  deleteLink,
  findLink,
  listLinks,
  setBridgePort,
  setLink,
} from "#linux/netlink/links.ts";
import { Monitor, RTMGRP } from "#linux/netlink/monitor.ts";
import {
  listForwarding,
  listNeighbours,
  removeForwardingRequest,
  replaceForwardingRequest,
  replaceNeighbourRequest,
} from "#linux/netlink/neighbours.ts";
import { NetlinkSocket } from "#linux/netlink/netlink-socket.ts";
import {
  listRoutes,
  lookUpRoute,
  removeRoute,
  replaceRoute,
  replaceRouteRequest,
} from "#linux/netlink/routes.ts";
import { createNetns, deleteNetns, inNetns, isSameNetns } from "#linux/netns.ts";
import { readSysctl, writeSysctl } from "#linux/sysctl.ts";

const skip = process.getuid?.() === 0 ? false : "needs root: sudo make test";
let made = 0;

/** A namespace with `lo` up and a socket in it. */
function namespace(): {
  readonly name: string;
  readonly path: string;
  readonly socket: NetlinkSocket;
} & Disposable {
  made += 1;
  const name = `kl-nl-${process.pid}-${made}`;
  const path = createNetns(name);
  const socket = inNetns(path, () => new NetlinkSocket());
  setLink(socket, 1, { up: true });
  return {
    name,
    path,
    socket,
    [Symbol.dispose]: () => {
      socket.close();
      deleteNetns(name);
    },
  };
}

function underlay(socket: NetlinkSocket): number {
  createBridge(socket, "br0", { up: true });
  const index = findLink(socket, "br0")?.index ?? 0;
  addAddress(socket, { link: index, address: "192.0.2.1", prefix: 24 });
  return index;
}

t.test("a namespace is another one, and we come back from it", { skip }, async (t) => {
  using ns = namespace();
  t.notOk(isSameNetns("/proc/self/ns/net", ns.path));
  t.same(
    inNetns(ns.path, () => listLinks(new NetlinkSocket()).map((link) => link.name)),
    ["lo"],
  );
  t.ok(isSameNetns("/proc/thread-self/ns/net", "/proc/self/ns/net"));
  t.throws(
    () =>
      inNetns(ns.path, () => {
        throw new Error("inside");
      }),
    { message: "inside" },
  );
  t.ok(isSameNetns("/proc/thread-self/ns/net", "/proc/self/ns/net"));
  inNetns(ns.path, () => writeSysctl("net/ipv4/ip_forward", "1"));
  t.equal(
    inNetns(ns.path, () => readSysctl("net/ipv4/ip_forward")),
    "1",
  );
  t.equal(writeSysctl("net/ipv4/conf/no-such-link/forwarding", "1"), false);
});

t.test("a bridge and a veth pair whose other end is made in another namespace", { skip }, async (t) => {
  using host = namespace();
  using pod = namespace();
  createBridge(host.socket, "cni0", { up: true });
  const bridge = findLink(host.socket, "cni0");
  t.match(bridge, { kind: "bridge", up: true });
  const netnsFd = fs.openSync(pod.path, "r");
  t.teardown(() => fs.closeSync(netnsFd));
  createVeth(
    host.socket,
    "veth1",
    { name: "eth0", netnsFd, mtuBytes: 1400, mac: "0a:58:0a:f4:01:02" },
    { mtuBytes: 1400, up: true, master: bridge?.index ?? 0 },
  );
  const veth = findLink(host.socket, "veth1");
  t.match(veth, { kind: "veth", mtuBytes: 1400, master: bridge?.index, up: true, hairpin: false });
  setBridgePort(host.socket, veth?.index ?? 0, { hairpin: true });
  t.equal(findLink(host.socket, "veth1")?.hairpin, true);
  t.match(findLink(pod.socket, "eth0"), { mac: "0a:58:0a:f4:01:02", mtuBytes: 1400, up: false });
  t.equal(findLink(host.socket, "eth0"), undefined);
  await deleteLink(host.socket, veth?.index ?? 0);
  t.equal(findLink(pod.socket, "eth0"), undefined);
  await deleteLink(host.socket, veth?.index ?? 0);
});

t.test("addresses come and go, and doing it twice changes nothing", { skip }, async (t) => {
  using ns = namespace();
  const link = underlay(ns.socket);
  addAddress(ns.socket, { link, address: "192.0.2.1", prefix: 24 });
  addAddress(ns.socket, { link, address: "fd00:1::1", prefix: 64 });
  const global = () => listAddresses(ns.socket, link).filter((address) => address.scope === 0);
  t.match(global(), [
    { address: "192.0.2.1", prefix: 24, permanent: true },
    { address: "fd00:1::1", prefix: 64 },
  ]);
  removeAddress(ns.socket, { link, address: "192.0.2.1", prefix: 24 });
  removeAddress(ns.socket, { link, address: "192.0.2.1", prefix: 24 });
  t.match(global(), [{ address: "fd00:1::1" }]);
});

t.test("a VXLAN device with its neighbour, forwarding entry and route", { skip }, async (t) => {
  using ns = namespace();
  const device = underlay(ns.socket);
  const info = { vni: 1, port: 8472, local: "192.0.2.1", device, learning: false, gbp: false };
  createVxlan(ns.socket, "flannel.1", info, { mac: "c6:bf:00:00:00:01", mtuBytes: 1450, up: true });
  const made = findLink(ns.socket, "flannel.1");
  t.match(made, { kind: "vxlan", mac: "c6:bf:00:00:00:01", mtuBytes: 1450, vxlan: info });
  const link = made?.index ?? 0;
  addAddress(ns.socket, { link, address: "10.5.1.0", prefix: 32 });
  const neighbour = { link, address: "10.5.2.0", mac: "c6:bf:00:00:00:02" };
  const forwarding = { link, mac: "c6:bf:00:00:00:02", remote: "192.0.2.2" };
  const route = { destination: "10.5.2.0/24", link, gateway: "10.5.2.0", onlink: true, protocol: 77 };
  const failures = ns.socket.changeAll([
    replaceForwardingRequest(forwarding),
    replaceNeighbourRequest(neighbour),
    replaceRouteRequest(route),
  ]);
  t.same(failures, [undefined, undefined, undefined]);
  t.same(listNeighbours(ns.socket, link), [neighbour]);
  t.same(listForwarding(ns.socket, link), [forwarding]);
  t.same(
    listRoutes(ns.socket).filter((one) => one.protocol === 77),
    [route],
  );
  t.match(lookUpRoute(ns.socket, "10.5.2.9"), { link, gateway: "10.5.2.0" });
  const [gone] = ns.socket.changeAll([removeForwardingRequest({ ...forwarding, mac: "c6:bf:00:00:00:03" })]);
  t.match(gone, { code: "ENOENT" });
  removeRoute(ns.socket, route);
  removeRoute(ns.socket, route);
  t.equal(lookUpRoute(ns.socket, "10.5.2.9"), undefined);
});

t.test("a refusal carries errno's name and the kernel's own words", { skip }, async (t) => {
  using ns = namespace();
  const link = underlay(ns.socket);
  t.throws(() => createBridge(ns.socket, "br0", {}), { name: "NetlinkError", code: "EEXIST" });
  t.throws(() => replaceRoute(ns.socket, { destination: "10.9.0.0/24", link, gateway: "203.0.113.1" }), {
    code: "ENETUNREACH",
    message: /cannot set route to "10\.9\.0\.0\/24": ENETUNREACH: Nexthop has invalid gateway/,
  });
  t.equal(findLink(ns.socket, "nothing"), undefined);
});

t.test("a thousand routes are written and read in one go", { skip }, async (t) => {
  using ns = namespace();
  const link = underlay(ns.socket);
  const routes = Array.from({ length: 1_000 }, (_, i) =>
    replaceRouteRequest({
      destination: `10.${100 + (i >> 8)}.${i & 255}.0/24`,
      link,
      gateway: "192.0.2.9",
      protocol: 77,
    }),
  );
  t.same(
    ns.socket.changeAll(routes).filter((failure) => failure !== undefined),
    [],
  );
  t.equal(listRoutes(ns.socket).filter((route) => route.protocol === 77).length, 1_000);
});

t.test(
  "a monitor tells of changes, survives an overflow, and ends when it is closed",
  { skip },
  async (t) => {
    using ns = namespace();
    const link = underlay(ns.socket);
    const monitor = inNetns(ns.path, () => new Monitor(RTMGRP.ipv4Route));
    // Nobody reads while this happens: more than the receive buffer holds.
    for (let round = 0; round < 12; round += 1) {
      ns.socket.changeAll(
        Array.from({ length: 1_000 }, (_, i) =>
          replaceRouteRequest({
            destination: `10.${round}.${i >> 8}.${i & 255}/32`,
            link,
            gateway: "192.0.2.9",
          }),
        ),
      );
    }
    const seen = { message: 0, lost: 0 };
    for await (const event of monitor) {
      seen[event.type] += 1;
      if (event.type === "lost")
        replaceRoute(ns.socket, { destination: "172.16.0.0/24", link, gateway: "192.0.2.9" });
      if (seen.lost > 0 && seen.message > 0) monitor.close();
    }
    t.equal(seen.lost, 1);
    t.ok(seen.message > 0);
  },
);

t.test("a process with a monitor that waits can still end", { skip }, async (t) => {
  const code = `const { Monitor } = await import("#linux/netlink/monitor.ts"); const m = new Monitor(1);
    setTimeout(() => process.exit(7), 50); for await (const _ of m);`;
  const started = performance.now();
  const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], { timeout: 10_000 });
  t.equal(status, 7);
  t.ok(performance.now() - started < 5_000);
});
