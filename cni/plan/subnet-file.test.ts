import t from "tap";
import { parseSubnetFile } from "./subnet-file.ts";

t.test("flannel's file gives the subnet, the MTU and the network", async (t) => {
  const text =
    "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
  t.same(parseSubnetFile(text), {
    rangeSets: [[{ subnet: "10.5.52.0/24" }]],
    mtuBytes: 1450,
    networks: ["10.5.0.0/16"],
  });
});

t.test("so does a file of nothing but CIDRs", async (t) => {
  t.same(parseSubnetFile("# written by the agent\n10.244.1.0/24,fd00::/64\n").rangeSets, [
    [{ subnet: "10.244.1.0/24" }],
    [{ subnet: "fd00::/64" }],
  ]);
  t.same(parseSubnetFile("").rangeSets, []);
  t.throws(() => parseSubnetFile("nonsense"), { name: "RangeError" });
});
