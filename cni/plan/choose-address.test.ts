import t from "tap";
import { chooseAddress } from "./choose-address.ts";

const ranges = [{ subnet: "10.1.0.0/29" }]; // .1 gateway, .2 to .6
const free = (): boolean => false;

t.test("addresses are given out in turn, so that one just given back rests", async (t) => {
  t.match(chooseAddress(ranges, undefined, free), { address: "10.1.0.2/29", gateway: "10.1.0.1" });
  t.match(chooseAddress(ranges, "10.1.0.3", free), { address: "10.1.0.4/29" });
  t.match(chooseAddress(ranges, "10.1.0.6", free), { address: "10.1.0.2/29" });
  t.match(
    chooseAddress(ranges, "10.1.0.3", (ip) => ip !== "10.1.0.3"),
    { address: "10.1.0.3/29" },
  );
});

t.test("neither the gateway nor the broadcast address is given out, and the end is an end", async (t) => {
  const asked: string[] = [];
  t.equal(
    chooseAddress(ranges, "10.1.0.4", (ip) => asked.push(ip) > 0),
    undefined,
  );
  t.same(asked.toSorted(), ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]);
});

t.test("a set may have several ranges, with ends and gateways of their own", async (t) => {
  const set = [
    { subnet: "10.1.0.0/24", rangeStart: "10.1.0.10", rangeEnd: "10.1.0.10", gateway: "10.1.0.254" },
    { subnet: "fd00::/64", rangeStart: "fd00::10" },
  ];
  t.match(chooseAddress(set, undefined, free), { address: "10.1.0.10/24", gateway: "10.1.0.254" });
  t.match(chooseAddress(set, "10.1.0.10", free), { address: "fd00::10/64", gateway: "fd00::1" });
  t.throws(
    () => chooseAddress([{ subnet: "10.1.0.0/24", rangeStart: "10.2.0.1" }], undefined, free),
    /outside/,
  );
  t.throws(() => chooseAddress([{ subnet: "10.1.0.0/31" }], undefined, free), /too small/);
});
