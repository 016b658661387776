import t from "tap";
import { previousSubnet, renderSubnetEnv } from "./subnet-env.ts";

const text = renderSubnetEnv({
  network: "10.5.0.0/16",
  subnet: "10.5.52.0/24",
  mtuBytes: 1450,
  ipMasq: true,
});

t.test("the file is flannel's", async (t) => {
  t.equal(
    text,
    "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
  );
});

t.test("the subnet of another network is not taken over", async (t) => {
  t.equal(previousSubnet(text, "10.5.0.0/16"), "10.5.52.0/24");
  t.equal(previousSubnet(text, "10.6.0.0/16"), undefined);
  t.equal(previousSubnet("", "10.5.0.0/16"), undefined);
});
