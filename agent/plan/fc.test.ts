import t from "tap";
import { fcDiskName, fcFault, isFcLink } from "./fc.ts";

t.test("VO1: a Fibre Channel disk is known by udev's links", async (t) => {
  const byPort = { targetWWNs: ["500A0982991B8DC5", "500a0982891b8dc5"], lun: 2 };
  const byId = { wwids: ["3600508b400105e21 0000900000490000"] };
  const cases = [
    { name: "pci-0000:41:00.0-fc-0x500a0982991b8dc5-lun-2", kind: "by-path", fc: byPort, is: true },
    { name: "fc-0x500a0982891b8dc5-lun-2", kind: "by-path", fc: byPort, is: true },
    { name: "pci-0000:41:00.0-fc-0x500a0982991b8dc5-lun-20", kind: "by-path", fc: byPort, is: false },
    { name: "pci-0000:41:00.0-fc-0x500a0982991b8dc5-lun-2-part1", kind: "by-path", fc: byPort, is: false },
    { name: "pci-0000:41:00.0-fc-0x500a0982991b8dc6-lun-2", kind: "by-path", fc: byPort, is: false },
    { name: "scsi-3600508b400105e21_0000900000490000", kind: "by-id", fc: byId, is: true },
    { name: "scsi-3600508b400105e21_0000900000490000-part1", kind: "by-id", fc: byId, is: false },
    { name: "fc-0x500a0982891b8dc5-lun-2", kind: "by-path", fc: byId, is: false },
  ] as const;
  for (const { name, kind, fc, is } of cases) t.equal(isFcLink(kind, name, fc), is, name);
  t.equal(fcDiskName(byPort), "500A0982991B8DC5-lun-2");
  t.equal(fcDiskName(byId), "3600508b400105e21_0000900000490000");
  t.equal(fcFault(byPort), undefined);
  t.equal(fcFault(byId), undefined);
  for (const none of [{}, { targetWWNs: ["1"] }, { lun: 1 }])
    t.match(fcFault(none), /no fc disk information found/);
});
