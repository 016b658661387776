import t from "tap";
import { jsonPatch } from "./json-patch.ts";

t.test("each operation of RFC 6902", async (t) => {
  const doc = { a: [1, 2], b: { c: "x" } };
  const cases: readonly (readonly [string, unknown, unknown])[] = [
    ["add a member", [{ op: "add", path: "/b/d", value: 1 }], { a: [1, 2], b: { c: "x", d: 1 } }],
    ["add in a list", [{ op: "add", path: "/a/1", value: 9 }], { a: [1, 9, 2], b: { c: "x" } }],
    ["add at the end", [{ op: "add", path: "/a/-", value: 9 }], { a: [1, 2, 9], b: { c: "x" } }],
    ["remove", [{ op: "remove", path: "/a/0" }], { a: [2], b: { c: "x" } }],
    ["replace", [{ op: "replace", path: "/b/c", value: null }], { a: [1, 2], b: { c: null } }],
    ["move", [{ op: "move", from: "/b/c", path: "/c" }], { a: [1, 2], b: {}, c: "x" }],
    ["copy", [{ op: "copy", from: "/a", path: "/c" }], { a: [1, 2], b: { c: "x" }, c: [1, 2] }],
    ["test", [{ op: "test", path: "/b", value: { c: "x" } }], doc],
    ["test of nothing", [{ op: "test", path: "/z", value: null }], doc],
    ["the whole document", [{ op: "replace", path: "", value: 7 }], 7],
  ];
  for (const [name, patch, expected] of cases) t.same(jsonPatch(doc, patch), expected, name);
  t.same(doc, { a: [1, 2], b: { c: "x" } }, "the document is not changed");
});

t.test("escaped pointers and dangerous names are plain members", async (t) => {
  t.same(
    jsonPatch({ metadata: { annotations: {} } }, [
      { op: "add", path: "/metadata/annotations/a.b~1c~0d", value: "1" },
    ]),
    { metadata: { annotations: { "a.b/c~d": "1" } } },
  );
  const patched = jsonPatch({}, [{ op: "add", path: "/__proto__", value: { bad: true } }]);
  t.equal(Reflect.get({}, "bad"), undefined);
  t.ok(Object.hasOwn(Object(patched), "__proto__"));
});

t.test("what does not fit the object is 422, what is no patch is 400", async (t) => {
  for (const patch of [
    [{ op: "remove", path: "/nope" }],
    [{ op: "replace", path: "/nope", value: 1 }],
    [{ op: "add", path: "/no/where", value: 1 }],
    [{ op: "test", path: "/a", value: 2 }],
    [{ op: "add", path: "/list/5", value: 2 }],
  ]) {
    t.throws(() => jsonPatch({ a: 1, list: [] }, patch), { code: 422, reason: "Invalid" });
  }
  for (const patch of [
    {},
    "x",
    [1],
    [{ op: "explode", path: "/a" }],
    [{ op: "add" }],
    [{ op: "add", path: "/a" }],
  ]) {
    t.throws(() => jsonPatch({ a: 1 }, patch), { code: 400, reason: "BadRequest" });
  }
  const many = Array.from({ length: 10_001 }, () => ({ op: "test", path: "", value: {} }));
  t.throws(() => jsonPatch({}, many), { code: 413 });
});
