import t from "tap";
import {
  discoveryCalls,
  interfaceCalls,
  iscsiDisk,
  iscsiDiskName,
  iscsiLink,
  loginCalls,
  logoutCalls,
  parseDiskName,
  sessionPortals,
} from "./iscsi.ts";

const source = { targetPortal: "10.0.2.15", iqn: "iqn.2001-04.com.example:storage.disk-1", lun: 0 };
const none = new Map<string, string>();
const words = (calls: readonly (readonly string[])[]): readonly string[] =>
  calls.map((call) => call.join(" "));

t.test("VO1: an iSCSI disk is told with its ports and its interface", async (t) => {
  const disk = iscsiDisk(source, "pv");
  t.match(disk, { portals: ["10.0.2.15:3260"], iface: "default", fsType: "", readOnly: false });
  t.equal(iscsiDiskName(disk), "iface-default/10.0.2.15:3260-iqn.2001-04.com.example:storage.disk-1-lun-0");
  t.equal(
    iscsiLink("10.0.2.15:3260", disk),
    "ip-10.0.2.15:3260-iscsi-iqn.2001-04.com.example:storage.disk-1-lun-0",
  );
  for (const name of [iscsiDiskName(disk), `/dev/disk/by-path/${iscsiLink("[fd00::1]:3260", disk)}`])
    t.same(parseDiskName(name), { iqn: source.iqn, lun: 0 }, name);
  t.equal(parseDiskName("/dev/sda"), undefined);
  const portals = ["10.0.2.16:860", "10.0.2.15", "[fd00::1]", "[fd00::1]:860"];
  t.same(iscsiDisk({ ...source, portals }, "pv").portals, [
    "10.0.2.15:3260",
    "10.0.2.16:860",
    "[fd00::1]:3260",
    "[fd00::1]:860",
  ]);
});

t.test("VO1: an iSCSI target is asked for, logged in to and forgotten", async (t) => {
  const disk = iscsiDisk(source, "pv");
  const portal = disk.portals[0] ?? "";
  t.same(words(discoveryCalls(portal, disk, none)), [
    "-m discoverydb -t sendtargets -p 10.0.2.15:3260 -I default -o new",
    "-m discoverydb -t sendtargets -p 10.0.2.15:3260 -I default --discover",
  ]);
  const node = `-m node -p 10.0.2.15:3260 -T ${source.iqn}`;
  t.same(words(loginCalls(portal, disk, none)), [
    `${node} -I default -o update -n node.startup -v manual`,
    `${node} -I default --login`,
  ]);
  t.same(words(logoutCalls(portal, source.iqn)), [`${node} --logout`, `${node} -o delete`]);
  const sessions = [
    `tcp: [1] 10.0.2.15:3260,1 ${source.iqn} (non-flash)`,
    `tcp: [2] [fd00::1]:3260,1 ${source.iqn} (non-flash)`,
    `tcp: [3] 10.0.2.15:3260,1 ${source.iqn}0 (non-flash)`,
    "",
  ].join("\n");
  t.same(sessionPortals(sessions, source.iqn), ["10.0.2.15:3260", "[fd00::1]:3260"]);
});

t.test("VO1: CHAP takes its names from the Secret, and says which is missing", async (t) => {
  const disk = iscsiDisk({ ...source, chapAuthDiscovery: true, chapAuthSession: true }, "pv");
  const prefix = "discovery.sendtargets.auth";
  const secrets = new Map([
    [`${prefix}.username`, "one"],
    [`${prefix}.password`, "hush"],
    ["node.session.auth.username", "two"],
    ["node.session.auth.password", "psst"],
    ["node.session.auth.username_in", "back"],
  ]);
  const updates = (calls: readonly (readonly string[])[]): readonly string[] =>
    calls.filter((call) => call.includes("-n")).map((call) => call.slice(-3).join(" "));
  t.same(updates(discoveryCalls("p", disk, secrets)), [
    `${prefix}.authmethod -v CHAP`,
    `${prefix}.username -v one`,
    `${prefix}.password -v hush`,
  ]);
  t.same(updates(loginCalls("p", disk, secrets)), [
    "node.session.auth.authmethod -v CHAP",
    "node.session.auth.username -v two",
    "node.session.auth.password -v psst",
    "node.session.auth.username_in -v back",
    "node.startup -v manual",
  ]);
  secrets.delete("node.session.auth.password");
  t.throws(() => loginCalls("p", disk, secrets), {
    message: 'iscsi: the CHAP secret has no key "node.session.auth.password"',
  });
});

t.test("VO1: an initiator of one's own has an interface like the one it is based on", async (t) => {
  t.same(interfaceCalls(iscsiDisk(source, "pv"), ""), []);
  const disk = iscsiDisk({ ...source, initiatorName: "iqn.me", iscsiInterface: "nic0" }, "pv");
  t.equal(disk.iface, "10.0.2.15:3260:pv");
  const shown = [
    "# BEGIN RECORD 2.1.8",
    "iface.iscsi_ifacename = nic0",
    "iface.net_ifacename = <empty>",
    "iface.transport_name = tcp",
    "iface.initiatorname = iqn.node",
    "# END RECORD",
  ].join("\n");
  t.same(words(interfaceCalls(disk, shown)), [
    "-m iface -I 10.0.2.15:3260:pv -o new",
    "-m iface -I 10.0.2.15:3260:pv -o update -n iface.transport_name -v tcp",
    "-m iface -I 10.0.2.15:3260:pv -o update -n iface.initiatorname -v iqn.me",
  ]);
});
