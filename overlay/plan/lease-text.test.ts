import t from "tap";
import { leaseKey, parseLease, parseLeaseKey, renderLeaseValue } from "./lease-text.ts";

t.test("keys and values are flannel's, to the byte", async (t) => {
  t.equal(leaseKey("/coreos.com/network", "10.5.52.0/24"), "/coreos.com/network/subnets/10.5.52.0-24");
  t.equal(leaseKey("/a/", "10.5.52.0/24"), "/a/subnets/10.5.52.0-24");
  t.equal(
    renderLeaseValue({
      publicIp: "192.168.64.3",
      backendType: "vxlan",
      vtep: { vni: 1, mac: "c6:bf:1a:2b:3c:4d" },
    }),
    '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:bf:1a:2b:3c:4d"}}',
  );
  t.equal(
    renderLeaseValue({ publicIp: "192.168.64.3", backendType: "host-gw", vtep: undefined }),
    '{"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"host-gw"}',
  );
});

t.test("flannel's own leases are understood, old and dual-stack ones too", async (t) => {
  t.equal(parseLeaseKey("/coreos.com/network/subnets/10.5.52.0-24"), "10.5.52.0/24");
  t.equal(parseLeaseKey("/coreos.com/network/subnets/10.5.52.0-24&fc00:1::-64"), "10.5.52.0/24");
  t.equal(parseLeaseKey("/coreos.com/network/subnets/nothing"), undefined);
  t.equal(parseLeaseKey("/coreos.com/network/subnets/10.5.52.0-99"), undefined);
  t.same(
    parseLease(
      "/x/10.5.1.0-24",
      '{"PublicIP":"10.0.0.1","BackendType":"vxlan","BackendData":{"VtepMAC":"C6:BF:00:00:00:01"}}',
    ),
    {
      subnet: "10.5.1.0/24",
      attributes: { publicIp: "10.0.0.1", backendType: "vxlan", vtep: { vni: 1, mac: "c6:bf:00:00:00:01" } },
    },
  );
  for (const value of ["", "null", "[]", '{"PublicIP":7}', '{"PublicIP":"nowhere"}']) {
    t.equal(parseLease("/x/10.5.1.0-24", value), undefined, value);
  }
});
