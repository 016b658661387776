import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import t from "tap";
import { aggregatedDiscovery } from "../discovery/aggregated.ts";
import { at, list, record } from "../json.ts";
import { resourceTable } from "../resources.ts";
import { openApiV2, openApiV2ContentType, openApiV2Json } from "./v2.ts";
import { openApiV3, openApiV3Index } from "./v3.ts";
import { allKubectls } from "../../../../test/support/kubectl.ts";

const all = resourceTable();
const fileOf = (version: string): string | undefined =>
  allKubectls().find((each) => each.version === version)?.file;

t.test("every $ref leads somewhere, in both versions", async (t) => {
  const documents = [
    openApiV2Json(all),
    ...["api/v1", "apis/apps/v1", "apis/autoscaling/v2"].map((each) => openApiV3(all, each)),
  ];
  for (const document of documents) {
    const schemas = record(at(document, "definitions") ?? at(document, "components.schemas"));
    const refs = new Set(
      [
        ...JSON.stringify(document).matchAll(/"\$ref":"#\/(?:definitions|components\/schemas)\/([^"]+)"/g),
      ].map(([, name = ""]) => name),
    );
    t.ok(refs.size > 20);
    t.same(
      [...refs].filter((name) => !(name in schemas)),
      [],
    );
  }
  t.equal(openApiV3(all, "apis/nobody/v1"), undefined);
});

t.test("the index names every group-version with a hash", async (t) => {
  const paths = record(openApiV3Index(all)["paths"]);
  t.match(
    record(paths["apis/apps/v1"])["serverRelativeURL"],
    /^\/openapi\/v3\/apis\/apps\/v1\?hash=[0-9A-F]{64}$/,
  );
  for (const each of Object.keys(paths)) t.ok(openApiV3(all, each) !== undefined, each);
});

t.test("a PATCH tells that it knows fieldValidation and which media types it takes", async (t) => {
  const paths = record(openApiV3(all, "apis/apps/v1")?.["paths"]);
  const patch = record(record(paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"])["patch"]);
  t.ok(list(patch["parameters"]).some((each) => record(each)["name"] === "fieldValidation"));
  t.ok("application/strategic-merge-patch+json" in record(at(patch, "requestBody.content")));
  t.same(patch["x-kubernetes-group-version-kind"], { group: "apps", kind: "Deployment", version: "v1" });
});

t.test("merge keys and kinds stand in the schemas", async (t) => {
  const schemas = record(at(openApiV3(all, "apis/apps/v1"), "components.schemas"));
  t.match(record(schemas["io.k8s.api.apps.v1.Deployment"])["x-kubernetes-group-version-kind"], [
    { group: "apps", kind: "Deployment", version: "v1" },
  ]);
  t.match(at(record(schemas["io.k8s.api.core.v1.PodSpec"])["properties"], "containers"), {
    type: "array",
    "x-kubernetes-patch-merge-key": "name",
    "x-kubernetes-patch-strategy": "merge",
    "x-kubernetes-list-map-keys": ["name"],
  });
  t.match(at(record(schemas["io.k8s.api.core.v1.Container"])["properties"], "ports"), {
    "x-kubernetes-patch-merge-key": "containerPort",
    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
  });
});

/** Runs one kubectl against the documents on loopback. */
async function kubectl(
  version: string,
  withV3: boolean,
  args: readonly string[],
  input = "",
): Promise<string> {
  const v2 = openApiV2(all);
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://localhost");
    const send = (type: string, body: string | Uint8Array): void =>
      void response.writeHead(200, { "content-type": type }).end(body);
    const document = withV3 ? openApiV3(all, url.pathname.replace("/openapi/v3/", "")) : undefined;
    if (url.pathname === "/api" || url.pathname === "/apis") {
      const root = url.pathname === "/api" ? "api" : "apis";
      send(
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        JSON.stringify(aggregatedDiscovery(all, root, "v2beta1")),
      );
    } else if (url.pathname === "/openapi/v2") send(openApiV2ContentType, v2);
    else if (withV3 && url.pathname === "/openapi/v3")
      send("application/json", JSON.stringify(openApiV3Index(all)));
    else if (document !== undefined) send("application/json", JSON.stringify(document));
    else
      response
        .writeHead(404, { "content-type": "application/json" })
        .end('{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}');
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const cache = mkdtempSync(path.join(tmpdir(), "keelson-kubectl-"));
  let output = "";
  try {
    const flags = [`--server=http://127.0.0.1:${port}`, `--cache-dir=${cache}`, "--kubeconfig=/dev/null"];
    const child = spawn(fileOf(version) ?? "kubectl", [...flags, ...args]);
    child.stdin.end(input);
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    await new Promise((resolve) => child.on("close", resolve));
  } finally {
    server.close();
    rmSync(cache, { recursive: true });
  }
  return output;
}

const missing = (version: string) => fileOf(version) === undefined && `needs kubectl ${version}`;

t.test("kubectl 1.27 explains from the protobuf document", { skip: missing("1.27") }, async (t) => {
  const said = await kubectl("1.27", false, ["explain", "deployment.spec.strategy"]);
  t.match(said, /RESOURCE: strategy <Object>|FIELD: +strategy/);
  t.match(said, /rollingUpdate/);
});

t.test("kubectl 1.27 validates a manifest with it", { skip: missing("1.27") }, async (t) => {
  const manifest = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "c" }, data: { a: "b" } };
  const args = ["create", "--dry-run=client", "--validate=true", "-f", "-"];
  t.match(await kubectl("1.27", false, args, JSON.stringify(manifest)), /configmap\/c created \(dry run\)/);
});

t.test("kubectl 1.33 explains from version 3", { skip: missing("1.33") }, async (t) => {
  const said = await kubectl("1.33", true, ["explain", "pod.spec.containers"]);
  t.match(said, /KIND: +Pod/);
  t.match(said, /imagePullPolicy\t<string>/);
});
