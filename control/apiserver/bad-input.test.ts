/** Everything a client can get wrong, and what it is told. */
import t from "tap";
import { kubernetesContent } from "./content.ts";
import { testApi } from "./test-api.ts";

const configMaps = "/api/v1/namespaces/default/configmaps";
const pods = "/api/v1/namespaces/default/pods";
const configMap = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a" }, data: { x: "1" } };
const merge = { "content-type": "application/merge-patch+json" };

interface Case {
  readonly name: string;
  readonly ask: readonly [
    method: string,
    path: string,
    body?: unknown,
    headers?: Readonly<Record<string, string>>,
  ];
  readonly status: number;
  readonly reason: string;
  readonly message: RegExp;
}

const cases: readonly Case[] = [
  {
    name: "JSON that does not parse",
    ask: ["POST", configMaps, '{"kind": '],
    status: 400,
    reason: "BadRequest",
    message: /json parse error: unexpected end of JSON input/,
  },
  {
    name: "YAML that does not parse",
    ask: ["POST", configMaps, "a: [1,", { "content-type": "application/yaml" }],
    status: 400,
    reason: "BadRequest",
    message: /yaml/i,
  },
  {
    name: "no body",
    ask: ["POST", configMaps],
    status: 400,
    reason: "BadRequest",
    message: /must be of type ConfigMap/,
  },
  {
    name: "a list instead of an object",
    ask: ["POST", configMaps, []],
    status: 400,
    reason: "BadRequest",
    message: /must be of type ConfigMap/,
  },
  {
    name: "another kind",
    ask: ["POST", configMaps, { ...configMap, kind: "Secret" }],
    status: 400,
    reason: "BadRequest",
    message: /must be of type ConfigMap/,
  },
  {
    name: "another version",
    ask: ["POST", configMaps, { ...configMap, apiVersion: "v2" }],
    status: 400,
    reason: "BadRequest",
    message: /API version in the data \(v2\) does not match the expected API version \(v1\)/,
  },
  {
    name: "a field of the wrong type",
    ask: ["POST", configMaps, { ...configMap, data: { x: 1 } }],
    status: 400,
    reason: "BadRequest",
    message: /cannot unmarshal number into Go struct field ConfigMap\.data of type string/,
  },
  {
    name: "an unknown field, strictly",
    ask: ["POST", `${configMaps}?fieldValidation=Strict`, { ...configMap, dta: {} }],
    status: 400,
    reason: "BadRequest",
    message: /strict decoding error: unknown field "dta"/,
  },
  {
    name: "a field twice, strictly",
    ask: [
      "POST",
      `${configMaps}?fieldValidation=Strict`,
      '{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"},"data":{},"data":{}}',
    ],
    status: 400,
    reason: "BadRequest",
    message: /strict decoding error: duplicate field "data"/,
  },
  {
    name: "a name that is not DNS-1123",
    ask: ["POST", configMaps, { ...configMap, metadata: { name: "A_b" } }],
    status: 422,
    reason: "Invalid",
    message: /metadata\.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain/,
  },
  {
    name: "no name",
    ask: ["POST", configMaps, { ...configMap, metadata: {} }],
    status: 422,
    reason: "Invalid",
    message: /metadata\.name: Required value/,
  },
  {
    name: "another namespace than the URL's",
    ask: ["POST", configMaps, { ...configMap, metadata: { name: "a", namespace: "b" } }],
    status: 400,
    reason: "BadRequest",
    message: /namespace of the provided object does not match the namespace sent on the request/,
  },
  {
    name: "another name than the URL's",
    ask: ["PUT", `${configMaps}/there`, { ...configMap, metadata: { name: "b" } }],
    status: 400,
    reason: "BadRequest",
    message: /the name of the object \(b\) does not match the name on the URL \(there\)/,
  },
  {
    name: "a resourceVersion on a new object",
    ask: ["POST", configMaps, { ...configMap, metadata: { name: "a", resourceVersion: "5" } }],
    status: 400,
    reason: "BadRequest",
    message: /resourceVersion should not be set on objects to be created/,
  },
  {
    name: "a stale resourceVersion",
    ask: ["PUT", `${configMaps}/there`, { ...configMap, metadata: { name: "there", resourceVersion: "1" } }],
    status: 409,
    reason: "Conflict",
    message: /the object has been modified; please apply your changes to the latest version and try again/,
  },
  {
    name: "a name that is taken",
    ask: ["POST", configMaps, { ...configMap, metadata: { name: "there" } }],
    status: 409,
    reason: "AlreadyExists",
    message: /^configmaps "there" already exists$/,
  },
  {
    name: "an object that is not there",
    ask: ["GET", `${configMaps}/nope`],
    status: 404,
    reason: "NotFound",
    message: /^configmaps "nope" not found$/,
  },
  {
    name: "an update of what is not there",
    ask: ["PUT", `${configMaps}/nope`, { ...configMap, metadata: { name: "nope" } }],
    status: 404,
    reason: "NotFound",
    message: /not found/,
  },
  {
    name: "a patch of what is not there",
    ask: ["PATCH", `${configMaps}/nope`, {}, merge],
    status: 404,
    reason: "NotFound",
    message: /not found/,
  },
  {
    name: "an unknown resource",
    ask: ["GET", "/api/v1/namespaces/default/nothings"],
    status: 404,
    reason: "NotFound",
    message: /^the server could not find the requested resource$/,
  },
  {
    name: "an unknown group",
    ask: ["GET", "/apis/nobody.example/v1/things"],
    status: 404,
    reason: "NotFound",
    message: /could not find the requested resource/,
  },
  {
    name: "an unknown path",
    ask: ["GET", "/nothing/here"],
    status: 404,
    reason: "NotFound",
    message: /could not find the requested resource/,
  },
  {
    name: "an unknown subresource",
    ask: ["GET", `${configMaps}/there/scale`],
    status: 404,
    reason: "NotFound",
    message: /could not find the requested resource/,
  },
  {
    name: "a percent escape that is none",
    ask: ["GET", `${configMaps}/%zz`],
    status: 400,
    reason: "BadRequest",
    message: /URI/,
  },
  {
    name: "a method nobody knows",
    ask: ["BREW", configMaps],
    status: 405,
    reason: "MethodNotAllowed",
    message: /does not allow/,
  },
  {
    name: "POST to an object",
    ask: ["POST", `${configMaps}/there`, configMap],
    status: 405,
    reason: "MethodNotAllowed",
    message: /does not allow/,
  },
  {
    name: "PUT to a collection",
    ask: ["PUT", configMaps, configMap],
    status: 405,
    reason: "MethodNotAllowed",
    message: /does not allow/,
  },
  {
    name: "deleting all namespaces",
    ask: ["DELETE", "/api/v1/namespaces"],
    status: 405,
    reason: "MethodNotAllowed",
    message: /does not allow/,
  },
  {
    name: "POST without a namespace",
    ask: ["POST", "/api/v1/configmaps", configMap],
    status: 405,
    reason: "MethodNotAllowed",
    message: /does not allow/,
  },
  {
    name: "a media type nobody reads",
    ask: ["POST", configMaps, "x", { "content-type": "text/html" }],
    status: 415,
    reason: "UnsupportedMediaType",
    message: /accepted media types include: application\/json/,
  },
  {
    name: "a patch without its media type",
    ask: ["PATCH", `${configMaps}/there`, {}, { "content-type": "application/json" }],
    status: 415,
    reason: "UnsupportedMediaType",
    message: /application\/merge-patch\+json/,
  },
  {
    name: "an apply without a manager",
    ask: ["PATCH", `${configMaps}/there`, {}, { "content-type": "application/apply-patch+yaml" }],
    status: 422,
    reason: "Invalid",
    message: /fieldManager: Required value: is required for apply patch/,
  },
  {
    name: "a form nobody writes",
    ask: ["GET", configMaps, undefined, { accept: "image/png" }],
    status: 406,
    reason: "NotAcceptable",
    message: /only the following media types are accepted/,
  },
  {
    name: "a label selector that does not parse",
    ask: ["GET", `${configMaps}?labelSelector=a%3D%3D%3Db`],
    status: 400,
    reason: "BadRequest",
    message: /parse/,
  },
  {
    name: "a field that nobody selects by",
    ask: ["GET", `${configMaps}?fieldSelector=data.x%3D1`],
    status: 400,
    reason: "BadRequest",
    message: /^field label not supported: data\.x$/,
  },
  {
    name: "a limit that is no number",
    ask: ["GET", `${configMaps}?limit=many`],
    status: 400,
    reason: "BadRequest",
    message: /invalid syntax/,
  },
  {
    name: "a continue token of nobody",
    ask: ["GET", `${configMaps}?continue=abc`],
    status: 400,
    reason: "BadRequest",
    message: /continue key is not valid/,
  },
  {
    name: "a resourceVersion that is no number",
    ask: ["GET", `${configMaps}?resourceVersion=x`],
    status: 400,
    reason: "BadRequest",
    message: /resource version/,
  },
  {
    name: "a match without a resourceVersion",
    ask: ["GET", `${configMaps}?resourceVersionMatch=Exact`],
    status: 422,
    reason: "Invalid",
    message: /resourceVersionMatch is forbidden unless resourceVersion is provided/,
  },
  {
    name: "a dryRun that does not exist",
    ask: ["POST", `${configMaps}?dryRun=Some`, configMap],
    status: 422,
    reason: "Invalid",
    message: /Unsupported value: "Some"/,
  },
  {
    name: "a patch that is no JSON",
    ask: ["PATCH", `${configMaps}/there`, "{", merge],
    status: 400,
    reason: "BadRequest",
    message: /./,
  },
  {
    name: "a JSON patch of a path that is not there",
    ask: [
      "PATCH",
      `${configMaps}/there`,
      [{ op: "remove", path: "/nope" }],
      { "content-type": "application/json-patch+json" },
    ],
    status: 422,
    reason: "Invalid",
    message: /./,
  },
  {
    name: "a patch that renames",
    ask: ["PATCH", `${configMaps}/there`, { metadata: { name: "other" } }, merge],
    status: 400,
    reason: "BadRequest",
    message: /does not match the name on the URL/,
  },
  {
    name: "delete options of another kind",
    ask: ["DELETE", `${configMaps}/there`, { kind: "Pod", apiVersion: "v1" }],
    status: 400,
    reason: "BadRequest",
    message: /DeleteOptions/,
  },
  {
    name: "a propagation policy that does not exist",
    ask: ["DELETE", `${configMaps}/there`, { propagationPolicy: "Sideways" }],
    status: 422,
    reason: "Invalid",
    message: /propagationPolicy: Unsupported value/,
  },
  {
    name: "an image that has no name",
    ask: ["POST", pods, { apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec: { containers: [] } }],
    status: 422,
    reason: "Invalid",
    message: /spec\.containers: Required value/,
  },
  {
    name: "logs of a pod that has no node",
    ask: ["GET", `${pods}/unbound/log`],
    status: 400,
    reason: "BadRequest",
    message: /pod unbound does not have a host assigned/,
  },
  {
    name: "exec without an upgrade",
    ask: ["POST", `${pods}/unbound/exec?command=ls`],
    status: 400,
    reason: "BadRequest",
    message: /Upgrade request required/,
  },
];

t.test("each mistake has its code, its reason and Kubernetes' words, as a Status", async (t) => {
  await using server = await testApi();
  await server.ask("POST", configMaps, { ...configMap, metadata: { name: "there" } });
  await server.ask("POST", pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "unbound" },
    spec: { containers: [{ name: "c", image: "i" }] },
  });
  const before = (await server.ask("GET", configMaps)).text;
  for (const { name, ask, status, reason, message } of cases) {
    const answer = await server.ask(...ask);
    t.equal(answer.status, status, `${name}: ${answer.text.slice(0, 300)}`);
    t.match(answer.json, { kind: "Status", apiVersion: "v1", status: "Failure", reason, code: status }, name);
    t.match(answer.json["message"], message, name);
  }
  t.equal((await server.ask("GET", configMaps)).text, before, "nothing was half-written");
});

t.test("a future revision is waited for, then refused with 504", async (t) => {
  const { FakeClock } = await import("#lib/clock.ts");
  const clock = new FakeClock();
  await using server = await testApi({ clock });
  const answering = server.ask("GET", `${configMaps}?resourceVersion=999`);
  await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(3_000);
  const answer = await answering;
  t.equal(answer.status, 504);
  t.match(answer.json, {
    reason: "Timeout",
    message: /^Too large resource version: 999, current: \d+$/,
    details: { retryAfterSeconds: 1 },
  });
});

t.test("unknown fields are warned about unless they are refused", async (t) => {
  await using server = await testApi();
  const answer = await server.ask("POST", configMaps, { ...configMap, dta: {} });
  t.equal(answer.status, 201);
  t.equal(answer.headers["warning"], '299 - "unknown field \\"dta\\""');
  t.notOk("dta" in answer.json);
  const silent = await server.ask("PUT", `${configMaps}/a?fieldValidation=Ignore`, { ...configMap, dta: {} });
  t.equal(silent.headers["warning"], undefined);
});

t.test("a bug in a handler is a 500 with a Status, and the server goes on", async (t) => {
  await using server = await testApi({
    ports: {
      content: {
        ...kubernetesContent,
        mergePatch: () => {
          throw new TypeError("a bug");
        },
      },
    },
  });
  await server.ask("POST", configMaps, configMap);
  const broken = await server.ask("PATCH", `${configMaps}/a`, {}, merge);
  t.equal(broken.status, 500);
  t.match(broken.json, {
    kind: "Status",
    reason: "InternalError",
    message: /Internal error occurred: a bug/,
  });
  t.equal((await server.ask("GET", `${configMaps}/a`)).status, 200);
});

t.test("a full disk refuses the write, says so, and nothing else changes", async (t) => {
  const { FakeClock } = await import("#lib/clock.ts");
  const { SqliteStore } = await import("../store/sqlite/sqlite-store.ts");
  const store = new SqliteStore(":memory:", new FakeClock(), { maxPages: 60 });
  await using server = await testApi({ ports: { store } });
  await server.ask("POST", configMaps, configMap);
  const big = await server.ask("POST", configMaps, {
    metadata: { name: "big" },
    data: { x: "y".repeat(500_000) },
  });
  t.equal(big.status, 500);
  t.match(big.json, {
    reason: "InternalError",
    message: /cannot write to the store: .*full.*; free some space/,
  });
  t.equal((await server.ask("GET", `${configMaps}/big`)).status, 404);
  t.equal((await server.ask("GET", `${configMaps}/a`)).status, 200);
  t.equal((await server.ask("DELETE", `${configMaps}/a`)).status, 200);
  await store.close();
});

t.test("hostile shapes are refused and the server goes on", async (t) => {
  await using server = await testApi();
  const deep = "[".repeat(200_000) + "]".repeat(200_000);
  const shapes = [
    `{"metadata":{"name":"a"},"data":${deep}}`,
    `{"metadata":{"name":"a"},"data":{"x":${deep}}}`,
    deep,
    '{"metadata":{"name":"a","labels":{"__proto__":{"x":1}}}}',
    '{"metadata":{"name":"a","__proto__":{"name":"b"}},"__proto__":{"kind":"Pod"},"data":7}',
    '{"metadata":[],"data":{}}',
    '{"metadata":{"name":{"a":1}}}',
    "\u0000\u0001",
    '"text"',
    "null",
  ];
  for (const shape of shapes) {
    const posted = await server.ask("POST", configMaps, shape);
    t.ok(posted.status >= 400 && posted.status < 500, `${posted.status} for ${shape.slice(0, 60)}`);
    t.equal(posted.json["kind"], "Status");
  }
  const bomb = Array.from(
    { length: 12 },
    (_, at) => `l${at}: &l${at} [${`*l${at - 1},`.repeat(9).slice(0, -1)}]`,
  );
  const yaml = ["l0: &l0 [a,a,a,a,a,a,a,a,a]", ...bomb.slice(1)].join("\n");
  const started = performance.now();
  const answer = await server.ask("POST", configMaps, yaml, { "content-type": "application/yaml" });
  t.ok(answer.status >= 400, `${answer.status}`);
  t.ok(performance.now() - started < 5_000, "a small text does not become a large object");
  await server.ask("POST", configMaps, configMap);
  const patch = await server.ask("PATCH", `${configMaps}/a`, `{"data":${deep}}`, merge);
  t.ok(patch.status >= 400);
  t.equal((await server.ask("GET", `${configMaps}/a`)).status, 200);
});
