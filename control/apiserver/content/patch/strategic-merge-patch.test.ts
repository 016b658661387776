import t from "tap";
import { mergePatch } from "./merge-patch.ts";
import { strategicMergePatch } from "./strategic-merge-patch.ts";

const pod = {
  metadata: { name: "p", finalizers: ["a/b"], labels: { app: "web" } },
  spec: {
    containers: [
      { name: "one", image: "i:1", env: [{ name: "A", value: "1" }], ports: [{ containerPort: 80 }] },
      { name: "two", image: "j:1" },
    ],
    tolerations: [{ key: "x" }],
    volumes: [{ name: "v", emptyDir: {} }],
  },
};
const apply = (patch: unknown, doc: unknown = pod) => strategicMergePatch("Pod", doc, patch);

t.test("merge patch follows RFC 7386", async (t) => {
  t.same(mergePatch({ a: { b: 1, c: 2 }, d: [1] }, { a: { b: null }, d: [2], e: { f: null, g: 1 } }), {
    a: { c: 2 },
    d: [2],
    e: { g: 1 },
  });
  t.throws(() => mergePatch({}, []), { code: 400 });
});

t.test("containers merge by name, inner lists by their own keys", async (t) => {
  t.match(
    apply({ spec: { containers: [{ name: "one", image: "i:2", env: [{ name: "B", value: "2" }] }] } }),
    {
      spec: {
        containers: [
          {
            name: "one",
            image: "i:2",
            env: [
              { name: "A", value: "1" },
              { name: "B", value: "2" },
            ],
            ports: [{ containerPort: 80 }],
          },
          { name: "two", image: "j:1" },
        ],
      },
    },
  );
});

t.test("lists without a key are replaced, null removes", async (t) => {
  t.match(apply({ spec: { tolerations: [{ key: "y" }] } }), { spec: { tolerations: [{ key: "y" }] } });
  const patched = apply({ metadata: { labels: { app: null } } });
  t.same(patched, { ...pod, metadata: { ...pod.metadata, labels: {} } });
});

t.test("$patch: delete and replace, on elements, lists and maps", async (t) => {
  const names = (value: unknown) => JSON.stringify(value).match(/"name":"(one|two|three)"/g);
  t.same(names(apply({ spec: { containers: [{ name: "one", $patch: "delete" }] } })), ['"name":"two"']);
  t.same(names(apply({ spec: { containers: [{ $patch: "replace" }, { name: "three", image: "k" }] } })), [
    '"name":"three"',
  ]);
  t.same(apply({ metadata: { labels: { $patch: "replace", x: "y" } } }), {
    ...pod,
    metadata: { ...pod.metadata, labels: { x: "y" } },
  });
  t.match(apply({ metadata: { labels: { $patch: "delete" } } }), { metadata: { labels: {} } });
});

t.test("primitive lists merge as sets, and $deleteFromPrimitiveList takes out", async (t) => {
  t.match(apply({ metadata: { finalizers: ["c/d", "a/b"] } }), { metadata: { finalizers: ["a/b", "c/d"] } });
  t.match(apply({ metadata: { "$deleteFromPrimitiveList/finalizers": ["a/b"], finalizers: ["e/f"] } }), {
    metadata: { finalizers: ["e/f"] },
  });
});

t.test(
  "$setElementOrder arranges the merged list, keeping others' elements in front of what they preceded",
  async (t) => {
    const patched = apply({
      spec: {
        "$setElementOrder/containers": [{ name: "three" }, { name: "one" }],
        containers: [{ name: "three", image: "k" }],
      },
    });
    t.same(JSON.stringify(patched).match(/"name":"(one|two|three)"/g), [
      '"name":"three"',
      '"name":"one"',
      '"name":"two"',
    ]);
    const onlyOrder = apply({ spec: { "$setElementOrder/containers": [{ name: "two" }, { name: "one" }] } });
    t.same(JSON.stringify(onlyOrder).match(/"name":"(one|two)"/g), ['"name":"two"', '"name":"one"']);
  },
);

t.test("kubectl set image: the order lists all, the patch one", async (t) => {
  t.match(
    apply({
      spec: {
        "$setElementOrder/containers": [{ name: "one" }, { name: "two" }],
        containers: [{ image: "j:9", name: "two" }],
      },
    }),
    {
      spec: {
        containers: [
          { name: "one", image: "i:1" },
          { name: "two", image: "j:9" },
        ],
      },
    },
  );
});

t.test("$retainKeys clears the other members of a union", async (t) => {
  const deployment = { spec: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1 } } } };
  t.same(
    strategicMergePatch("Deployment", deployment, {
      spec: { strategy: { $retainKeys: ["type"], type: "Recreate" } },
    }),
    { spec: { strategy: { type: "Recreate" } } },
  );
  t.same(
    apply(
      { spec: { volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: { path: "/x" } }] } },
      { spec: pod.spec },
    ),
    { spec: { ...pod.spec, volumes: [{ name: "v", hostPath: { path: "/x" } }] } },
  );
  t.throws(() => apply({ spec: { $retainKeys: ["a"], b: 1 } }), { code: 400 });
});

t.test("directives never reach the object", async (t) => {
  const patched = apply(
    {
      spec: {
        containers: [{ name: "n", $patch: "merge", env: [{ name: "A", $patch: "delete" }], command: null }],
        "$setElementOrder/containers": [{ name: "n" }],
      },
    },
    {},
  );
  t.notMatch(JSON.stringify(patched), /\$/);
  t.same(patched, { spec: { containers: [{ name: "n", env: [] }] } });
});

t.test("bad patches are refused", async (t) => {
  t.throws(() => apply([]), { code: 400 });
  t.throws(() => apply({ spec: { containers: [{ image: "x" }] } }), {
    code: 422,
    message: /does not contain declared merge key: name/,
  });
  t.throws(() => apply({ spec: { containers: ["x"] } }), { code: 400 });
  t.throws(() => apply({ spec: { $patch: "fold" } }), { code: 400 });
  t.throws(
    () => apply({ spec: { "$setElementOrder/containers": [{ name: "a" }], containers: [{ name: "b" }] } }),
    { code: 400 },
  );
});
