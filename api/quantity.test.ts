import t from "tap";
import { formatBytes, formatMilli, milliValue, parseQuantity, quantityValue } from "./quantity.ts";

const cases = [
  { text: "1", value: 1, milli: 1_000 },
  { text: "100m", value: 1, milli: 100 },
  { text: "0.5", value: 1, milli: 500 },
  { text: "1.5Gi", value: 1_610_612_736, milli: 1_610_612_736_000 },
  { text: "2e3", value: 2_000, milli: 2_000_000 },
  { text: "1E", value: 1e18, milli: 1e21 },
  { text: "1n", value: 1, milli: 1 },
  { text: "-3", value: -3, milli: -3_000 },
];
for (const { text, value, milli } of cases) {
  t.test(`"${text}" is ${value}, or ${milli} thousandths`, async (t) => {
    t.equal(quantityValue(text), value);
    t.equal(milliValue(text), milli);
  });
}
t.test("what is not a quantity is refused", async (t) => {
  for (const bad of ["", "abc", "1.2.3", "1 Gi", "Gi", "1KB", "."])
    t.throws(() => parseQuantity(bad), RangeError);
});
t.test("sums are exact", async (t) => {
  t.equal(parseQuantity("0.1") + parseQuantity("0.2"), parseQuantity("0.3"));
});
t.test("formats are the shortest that lose nothing", async (t) => {
  t.equal(formatMilli(1_500), "1500m");
  t.equal(formatMilli(2_000), "2");
  t.equal(formatBytes(2_147_483_648), "2Gi");
  t.equal(formatBytes(1_000), "1000");
});
