import t from "tap";
import { checkFields, unreadableBody } from "./check-fields.ts";
import { parseBody } from "./parse-body.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const deployment = {
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", creationTimestamp: null },
  spec: {
    replicas: 2,
    foo: 1,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: {
        containers: [{ name: "c", image: "i", bar: true, resources: { limits: { cpu: 1, memory: "1Gi" } } }],
      },
    },
  },
  status: {},
};

t.test("unknown fields go, and are told at the asked level", async (t) => {
  const found = ['unknown field "spec.foo"', 'unknown field "spec.template.spec.containers[0].bar"'];
  const warned = checkFields("Deployment", deployment, "warn");
  t.same(warned.warnings, found);
  t.same(warned.errors, []);
  t.notMatch(JSON.stringify(warned.object), /"foo"|"bar"|null/);
  t.match(JSON.stringify(warned.object), /"cpu":"1"/, "numbers become quantities");
  const strict = checkFields("Deployment", deployment, "strict", ['duplicate field "kind"']);
  t.same(strict.errors, [`strict decoding error: duplicate field "kind", ${found.join(", ")}`]);
  t.same(checkFields("Deployment", deployment, "ignore").warnings, []);
  t.equal(
    unreadableBody("Deployment", "v1", ["x"]).message,
    'Deployment in version "v1" cannot be handled as a Deployment: x',
  );
});

t.test("wrong types are worded as Go words them", async (t) => {
  const cases: readonly (readonly [string, unknown, string])[] = [
    [
      "Deployment",
      { spec: { replicas: "2" } },
      "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
    ],
    [
      "Deployment",
      { spec: { replicas: 1.5 } },
      "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
    ],
    [
      "Pod",
      { spec: { containers: [{ image: 5 }] } },
      "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
    ],
    [
      "Pod",
      { spec: { containers: {} } },
      "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
    ],
    ["Pod", { spec: [] }, "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"],
    [
      "ConfigMap",
      { data: { a: 1 } },
      "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    ],
    [
      "Pod",
      { metadata: { labels: { a: true } } },
      "json: cannot unmarshal bool into Go struct field ObjectMeta.metadata.labels of type string",
    ],
    ["Secret", { data: { a: "!!" } }, "illegal base64 data at input byte 0"],
    [
      "Pod",
      { spec: { overhead: { cpu: "lots" } } },
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ],
  ];
  for (const [model, object, expected] of cases) {
    t.same(checkFields(model, object, "ignore").errors, [expected]);
  }
  t.same(checkFields("Pod", "x", "ignore").errors, [
    "json: cannot unmarshal string into Go value of type v1.Pod",
  ]);
});

t.test("dangerous keys stay data", async (t) => {
  const { object } = parseBody("application/json", bytes('{"metadata":{"labels":{"__proto__":"x"}}}'));
  const checked = checkFields("Pod", object, "strict");
  t.same(checked.errors, []);
  t.match(JSON.stringify(checked.object), /"__proto__":"x"/);
});

t.test("JSON bodies: duplicates are found at any depth", async (t) => {
  const body = parseBody(
    "application/json; charset=utf-8",
    bytes('{"a":1,"b":[{"c":"\\"x","c":2}],"a":{"d":[],"e":{}}}'),
  );
  t.same(body.object, { a: { d: [], e: {} }, b: [{ c: 2 }] });
  t.same(body.duplicates, ['duplicate field "b[0].c"', 'duplicate field "a"']);
  t.same(parseBody("", bytes("{}")).duplicates, []);
});

t.test("YAML bodies: octals, words, anchors, duplicates", async (t) => {
  const body = parseBody(
    "application/yaml",
    bytes("a: 0644\nb: yes\nc: 22:22\nd: 2020-01-01\ne: &x {f: 1}\ng: *x\n---\nz: 1\n"),
  );
  t.same(body.object, { a: 420, b: true, c: "22:22", d: "2020-01-01", e: { f: 1 }, g: { f: 1 } });
  t.same(parseBody("application/yaml", bytes("---\na: 1\nb:\n  c: 1\n  c: 2\n")).duplicates, [
    'yaml: unmarshal errors:\n  line 5: key "c" already set in map',
  ]);
  t.same(parseBody("application/yaml", bytes('{"json": true}')).object, { json: true });
});

t.test("what cannot be read is 400, other media types are 415", async (t) => {
  t.throws(() => parseBody("application/json", bytes("{x}")), { code: 400, message: /invalid character/ });
  t.throws(() => parseBody("application/json", bytes('{"a":')), {
    code: 400,
    message: /unexpected end of JSON input/,
  });
  t.throws(() => parseBody("application/json", Uint8Array.of(0x22, 0xff, 0x22)), { code: 400 });
  t.throws(() => parseBody("application/yaml", bytes("a: b: c")), { code: 400, message: /yaml: line 1/ });
  t.throws(() => parseBody("text/plain", bytes("x")), { code: 415, reason: "UnsupportedMediaType" });
});
