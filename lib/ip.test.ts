import t from "tap";
import {
  addressBytes,
  addressOfBytes,
  contains,
  formatAddress,
  formatNetwork,
  overlaps,
  parseAddress,
  parseCidr,
} from "./ip.ts";

t.test("an address is written back in its shortest form", async (t) => {
  for (const [text, short] of [
    ["10.0.0.1", "10.0.0.1"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["fd00:0:0:1::", "fd00:0:0:1::"],
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"],
    ["fe80:0:0:0:10:0:0:0", "fe80::10:0:0:0"],
    ["2001:db8:10:20:30:40:50:60", "2001:db8:10:20:30:40:50:60"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
  ] as const) {
    t.equal(formatAddress(parseAddress(text)), short, text);
    t.equal(addressOfBytes(addressBytes(text)), short, `${text} as bytes`);
  }
});

t.test("a CIDR knows its network and its ends", async (t) => {
  const cidr = parseCidr("10.244.1.7/24");
  t.equal(formatNetwork(cidr), "10.244.1.0/24");
  t.equal(formatAddress({ family: 4, value: cidr.last }), "10.244.1.255");
  t.ok(contains(parseCidr("10.244.0.0/16"), cidr));
  t.notOk(contains(cidr, parseCidr("10.244.0.0/16")));
  t.ok(contains(parseCidr("0.0.0.0/0"), parseAddress("1.2.3.4")));
  t.notOk(contains(parseCidr("0.0.0.0/0"), parseAddress("::1")));
  t.ok(overlaps(parseCidr("10.0.0.0/8"), cidr));
  t.notOk(overlaps(parseCidr("10.244.2.0/24"), cidr));
});

t.test("what is no address is refused", async (t) => {
  for (const text of ["", "10.0.0", "10.0.0.256", "a", "fe80::1%eth0"])
    t.throws(() => parseAddress(text), { name: "RangeError" });
  for (const text of ["10.0.0.0", "10.0.0.0/33", "::/129", "/8", "10.0.0.0/"])
    t.throws(() => parseCidr(text), { name: "RangeError" });
});
