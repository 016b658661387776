import t from "tap";
import {
  formatSelector,
  hasLabels,
  matches,
  parseFieldSelector,
  parseLabelSelector,
  requirementsOf,
} from "./selectors.ts";

const cases = [
  { selector: "app=web", labels: { app: "web" }, selects: true },
  { selector: "app==web,tier!=db", labels: { app: "web" }, selects: true },
  { selector: "app!=web", labels: { app: "web" }, selects: false },
  { selector: "app in (web, api)", labels: { app: "api" }, selects: true },
  { selector: "app notin (web,api)", labels: { app: "api" }, selects: false },
  { selector: "app notin (web)", labels: {}, selects: true },
  { selector: "app", labels: { app: "" }, selects: true },
  { selector: "!app", labels: { app: "" }, selects: false },
  { selector: "", labels: {}, selects: true },
  { selector: "kubernetes.io/name=x,!old", labels: { "kubernetes.io/name": "x" }, selects: true },
];
for (const { selector, labels, selects } of cases) {
  t.test(`"${selector}" ${selects ? "selects" : "leaves out"} ${JSON.stringify(labels)}`, async (t) => {
    t.equal(matches(parseLabelSelector(selector), labels), selects);
  });
}
t.test("what is not a selector is refused", async (t) => {
  for (const bad of ["a b", "=x", "a in b", "a=b=c"])
    t.throws(() => parseLabelSelector(bad), RangeError, bad);
  t.throws(() => parseFieldSelector("metadata.name"), /can't understand/);
});
t.test("fields know equal and not equal", async (t) => {
  t.same(parseFieldSelector("metadata.name=x,status.phase!=Failed"), [
    { key: "metadata.name", operator: "=", values: ["x"] },
    { key: "status.phase", operator: "!=", values: ["Failed"] },
  ]);
});
t.test("a selector object means what its text means", async (t) => {
  const requirements = requirementsOf({
    matchLabels: { app: "web" },
    matchExpressions: [
      { key: "tier", operator: "In", values: ["a", "b"] },
      { key: "old", operator: "DoesNotExist" },
    ],
  });
  t.equal(formatSelector(requirements), "app=web,tier in (a,b),!old");
  t.ok(matches(requirements, { app: "web", tier: "b" }));
  t.throws(() => requirementsOf({ matchExpressions: [{ key: "a", operator: "Like" }] }), /"Like"/);
});
t.test("a Service's selector wants every pair", async (t) => {
  t.ok(hasLabels({ a: "1" }, { a: "1", b: "2" }));
  t.notOk(hasLabels({ a: "1", b: "1" }, { a: "1", b: "2" }));
});
