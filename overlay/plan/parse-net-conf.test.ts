import t from "tap";
import { parseNetConf } from "./parse-net-conf.ts";

const read = (conf: object): unknown => parseNetConf(JSON.stringify({ Backend: { Type: "vxlan" }, ...conf }));

t.test("defaults follow from the network's prefix", async (t) => {
  const cases = [
    { network: "10.0.0.0/8", subnetLen: 24, subnetMin: "10.0.1.0", subnetMax: "10.255.255.0" },
    { network: "10.3.0.0/22", subnetLen: 24, subnetMin: "10.3.1.0", subnetMax: "10.3.3.0" },
    { network: "10.3.0.0/23", subnetLen: 25, subnetMin: "10.3.0.128", subnetMax: "10.3.1.128" },
    { network: "10.3.0.0/28", subnetLen: 30, subnetMin: "10.3.0.4", subnetMax: "10.3.0.12" },
  ];
  for (const { network, ...rest } of cases)
    t.match(read({ Network: network }), { network, ...rest }, network);
});

t.test("keys are read without regard to case, as Go reads them", async (t) => {
  const text = `{"network":"10.5.0.0/16","SUBNETLEN":20,"subnetmin":"10.5.16.0","backend":{"type":"vxlan","vni":7,"DIRECTROUTING":true,"port":4789}}`;
  t.match(parseNetConf(text), {
    subnetLen: 20,
    subnetMin: "10.5.16.0",
    backend: { type: "vxlan", vni: 7, port: 4789, directRouting: true, learning: false },
  });
});

t.test("VXLAN has the kernel's own port unless told otherwise", async (t) => {
  t.match(read({ Network: "10.5.0.0/16" }), { backend: { vni: 1, port: 8472, mtuBytes: 0 } });
});

t.test("what cannot work is refused by its key", async (t) => {
  const cases = [
    { conf: { Network: "10.5.0.0/29" }, says: /"Network".*\/28/ },
    { conf: { Network: "fd00::/48" }, says: /"Network"/ },
    { conf: {}, says: /"Network" is missing/ },
    { conf: { Network: "10.5.0.0/16", SubnetLen: 31 }, says: /"SubnetLen".*at most 30/ },
    { conf: { Network: "10.5.0.0/16", SubnetLen: 17 }, says: /"SubnetLen".*at least 18/ },
    { conf: { Network: "10.5.0.0/16", SubnetMin: "10.6.0.0" }, says: /"SubnetMin".*not in 10\.5\.0\.0\/16/ },
    { conf: { Network: "10.5.0.0/16", SubnetMax: "10.5.1.8" }, says: /"SubnetMax".*not the start of a \/24/ },
    {
      conf: { Network: "10.5.0.0/16", Backend: { Type: "udp" } },
      says: /"Backend\.Type".*"vxlan" and "host-gw"/,
    },
    { conf: { Network: "10.5.0.0/16", Backend: { Type: "vxlan", VNI: 2 ** 24 } }, says: /"Backend\.VNI"/ },
  ];
  for (const { conf, says } of cases) t.throws(() => read(conf), { code: "bad-config", message: says });
  t.throws(() => parseNetConf("{"), { code: "bad-config" });
});
