import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { constants, gunzipSync } from "node:zlib";
import t from "tap";
import { aggregatedDiscovery } from "../discovery/aggregated.ts";
import type { Json } from "../json.ts";
import { resourceTable } from "../resources.ts";
import { decodeMessage, decodeProtobuf } from "./decode.ts";
import { fieldNumbers } from "./field-numbers.ts";
import { numbersOf } from "./numbers.ts";
import { lastBytes, lastVarint, readFields, utf8 } from "./wire.ts";
import { allKubectls } from "../../../../test/support/kubectl.ts";

const kubectl = allKubectls().findLast((each) => ["1.32", "1.33"].includes(each.version))?.file;
const noKubectl = kubectl === undefined && "needs kubectl 1.33 or 1.32";

/** A message by hand: number, then bytes, text, number or an inner message. */
function message(...fields: readonly (readonly [number, string | number | Uint8Array])[]): Uint8Array {
  const varint = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];
  return Uint8Array.from(
    fields.flatMap(([number, value]) => {
      if (typeof value === "number") return [...varint(number * 8), ...varint(value)];
      const bytes = typeof value === "string" ? new TextEncoder().encode(value) : value;
      return [...varint(number * 8 + 2), ...varint(bytes.length), ...bytes];
    }),
  );
}
const envelope = (apiVersion: string, kind: string, raw: Uint8Array): Uint8Array =>
  Uint8Array.from([0x6b, 0x38, 0x73, 0, ...message([1, message([1, apiVersion], [2, kind])], [2, raw])]);

t.test("quantities, times, int-or-strings, maps, bytes and embedded messages", async (t) => {
  const entry = (key: string, value: string | Uint8Array) => message([1, key], [2, value]);
  t.same(decodeMessage("ResourceRequirements", message([1, entry("cpu", message([1, "100m"]))])), {
    limits: { cpu: "100m" },
  });
  t.same(decodeMessage("Secret", message([2, entry("a", "x")], [2, entry("b", "")])), {
    data: { a: "eA==", b: "" },
  });
  t.same(decodeMessage("ObjectMeta", message([8, message([1, 1_700_000_000])], [9, message()])), {
    creationTimestamp: "2023-11-14T22:13:20Z",
  });
  t.same(decodeMessage("LeaseSpec", message([4, message([1, 1_700_000_000], [2, 5000])])), {
    renewTime: "2023-11-14T22:13:20.000005Z",
  });
  t.same(decodeMessage("ServicePort", message([3, 80], [4, message([1, 1], [2, 0], [3, "web"])])), {
    port: 80,
    targetPort: "web",
  });
  t.same(
    decodeMessage("Probe", message([1, message([2, message([1, "/x"], [2, message([2, 80])])])], [3, 0])),
    {
      httpGet: { path: "/x", port: 80 },
    },
  );
  t.same(decodeMessage("Volume", message([1, "v"], [2, message([2, message([1, ""])])])), {
    name: "v",
    emptyDir: {},
  });
  t.same(decodeMessage("SubjectAccessReviewSpec", message([5, entry("k", message([1, "a"], [1, "b"]))])), {
    extra: { k: ["a", "b"] },
  });
  t.same(decodeMessage("ControllerRevision", message([2, message([1, '{"a":1}'])], [3, 2])), {
    data: { a: 1 },
    revision: 2,
  });
  t.same(decodeMessage("ManagedFieldsEntry", message([7, message([1, '{"f:a":{}}'])])), {
    fieldsV1: { "f:a": {} },
  });
});

t.test("zeros are told from absence where Go tells them apart", async (t) => {
  t.same(decodeMessage("DeploymentSpec", message([1, 0], [5, 0])), { replicas: 0 });
  t.same(decodeMessage("PodSpec", message([11, 0], [30, 0], [10, ""])), { enableServiceLinks: false });
  t.same(decodeMessage("PersistentVolumeClaimSpec", message([5, ""])), { storageClassName: "" });
  t.same(decodeMessage("PolicyRule", message([1, "get"], [2, ""])), { verbs: ["get"], apiGroups: [""] });
});

t.test("delete options come under any group", async (t) => {
  const uid = message([1, "u"]);
  t.same(decodeProtobuf(envelope("apps/v1", "DeleteOptions", message([1, 0], [2, uid], [4, "Background"]))), {
    apiVersion: "apps/v1",
    kind: "DeleteOptions",
    gracePeriodSeconds: 0,
    preconditions: { uid: "u" },
    propagationPolicy: "Background",
  });
});

t.test("malformed bodies are 400, kinds without a table 415", async (t) => {
  t.throws(() => decodeProtobuf(new TextEncoder().encode("{}")), { code: 400 });
  t.throws(() => decodeProtobuf(envelope("v1", "Pod", Uint8Array.of(0x0a, 0x7f))), { code: 400 });
  t.throws(() => decodeProtobuf(envelope("v1", "Pod", Uint8Array.of(0xff))), { code: 400 });
  t.throws(() => decodeProtobuf(envelope("example.com/v1", "Thing", new Uint8Array())), { code: 415 });
  t.throws(() => decodeProtobuf(envelope("apps/v1beta1", "Deployment", new Uint8Array())), { code: 415 });
});

const kinds = [
  "Namespace",
  "Deployment",
  "ReplicaSet",
  "ConfigMap",
  "Secret",
  "ServiceAccount",
  "Service",
  "Role",
  "RoleBinding",
  "ClusterRole",
  "ClusterRoleBinding",
  "Job",
  "CronJob",
  "ResourceQuota",
  "PodDisruptionBudget",
  "Ingress",
  "PriorityClass",
  "AuthenticationV1TokenRequest",
  "SelfSubjectAccessReview",
  "SelfSubjectRulesReview",
  "SelfSubjectReview",
  "SubjectAccessReview",
  "TokenReview",
  "Pod",
  "PodSpec",
  "Node",
  "CoreV1Event",
  "EventsV1Event",
  "Lease",
  "Endpoints",
  "EndpointSlice",
  "Eviction",
  "Binding",
  "DeleteOptions",
  "HorizontalPodAutoscaler",
  "V2HorizontalPodAutoscaler",
  "StatefulSet",
  "DaemonSet",
  "PersistentVolume",
  "PersistentVolumeClaim",
];

t.test("every kind that clients send has numbers", async (t) => {
  for (const kind of kinds) t.ok(numbersOf(kind) !== undefined, kind);
});

t.test("the numbers are those of the descriptors inside kubectl", { skip: noKubectl }, async (t) => {
  const descriptors = descriptorsIn(kubectl ?? "");
  t.ok(descriptors.size > 500, `${descriptors.size} messages found`);
  let compared = 0;
  for (const [model, table] of Object.entries(fieldNumbers)) {
    const entries = table.split(" ");
    const name = model.replace(/^(?:[A-Z][a-z]+)?V\d(?=[A-Z])/, "");
    const group = /^([A-Z][a-z]+)V1(?=[A-Z])/.exec(model)?.[1]?.toLowerCase();
    const version = model.startsWith("V2") ? "v2" : "v1";
    const candidates = [...descriptors].filter(
      ([full]) =>
        full.endsWith(`.${version}.${name}`) && (group === undefined || full.includes(`.${group}.`)),
    );
    const fits = candidates.some(([, fields]) =>
      entries.every((entry) => {
        const [field = "", number = ""] = entry.split("=");
        const found = fields.get(Number(number));
        if (!field.startsWith("^")) return found?.name.toLowerCase() === field.toLowerCase();
        return found?.type.endsWith(`.${field.slice(1)}`) ?? false;
      }),
    );
    compared += entries.length;
    if (!fits) t.fail(`${model} differs from its descriptor`);
  }
  t.ok(compared > 1500, `${compared} field numbers compared`);
});

interface Described {
  readonly name: string;
  /** The full name of a message type, or "". */
  readonly type: string;
}

/** Message name -> number -> field, from every gzipped FileDescriptorProto in a Go program. */
function descriptorsIn(file: string): ReadonlyMap<string, ReadonlyMap<number, Described>> {
  const program = readFileSync(file);
  const found = new Map<string, ReadonlyMap<number, Described>>();
  const gzip = Buffer.from([0x1f, 0x8b, 0x08]);
  for (let at = program.indexOf(gzip); at !== -1; at = program.indexOf(gzip, at + 3)) {
    let text: Uint8Array;
    try {
      text = gunzipSync(program.subarray(at, at + 400_000), { finishFlush: constants.Z_SYNC_FLUSH });
    } catch {
      continue; // these three bytes were something else
    }
    if (!Buffer.from(text.subarray(0, 200)).includes("k8s.io/")) continue;
    const fields = readFields(text);
    const prefix = utf8(lastBytes(fields, 2));
    for (const each of fields) {
      if (each.number !== 4 || each.is !== "bytes") continue;
      const inner = readFields(each.bytes);
      const members = inner.flatMap((member) => {
        if (member.number !== 2 || member.is !== "bytes") return [];
        const field = readFields(member.bytes);
        return [
          [
            Number(lastVarint(field, 3)),
            { name: utf8(lastBytes(field, 1)), type: utf8(lastBytes(field, 6)) },
          ] as const,
        ];
      });
      found.set(`${prefix}.${utf8(lastBytes(inner, 1))}`, new Map(members));
    }
  }
  return found;
}

t.test("what kubectl really sends is read", { skip: noKubectl }, async (t) => {
  const bodies = await recorded([
    ["create", "namespace", "n"],
    ["create", "deployment", "web", "--image=nginx:1", "--replicas=2", "--port=80"],
    ["create", "configmap", "c", "--from-literal=a=b", "--from-literal=e="],
    ["create", "secret", "generic", "s", "--from-literal=p=q"],
    ["create", "sa", "x"],
    ["create", "svc", "clusterip", "w", "--tcp=80:8080"],
    ["create", "role", "r", "--verb=get,list", "--resource=pods"],
    ["create", "job", "j", "--image=busybox", "--", "echo", "hi"],
  ]);
  t.match(bodies["Namespace"], { apiVersion: "v1", metadata: { name: "n" } });
  t.match(bodies["Deployment"], {
    apiVersion: "apps/v1",
    spec: {
      replicas: 2,
      selector: { matchLabels: { app: "web" } },
      template: {
        spec: { containers: [{ name: "nginx", image: "nginx:1", ports: [{ containerPort: 80 }] }] },
      },
    },
  });
  t.same(bodies["ConfigMap"]?.["data"], { a: "b", e: "" });
  t.same(bodies["Secret"]?.["data"], { p: "cQ==" });
  t.match(bodies["ServiceAccount"], { metadata: { name: "x" } });
  t.match(bodies["Service"], {
    spec: { ports: [{ name: "80-8080", port: 80, targetPort: 8080 }], selector: { app: "w" } },
  });
  t.same(bodies["Role"]?.["rules"], [{ verbs: ["get", "list"], apiGroups: [""], resources: ["pods"] }]);
  t.match(bodies["Job"], {
    spec: { template: { spec: { restartPolicy: "Never", containers: [{ command: ["echo", "hi"] }] } } },
  });
});

/** Runs kubectl against a server on loopback that answers discovery and echoes what is posted. */
async function recorded(commands: readonly (readonly string[])[]): Promise<Readonly<Record<string, Json>>> {
  const bodies: Record<string, Json> = {};
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const root = /^\/(apis?)\?/.exec(request.url ?? "")?.[1];
      const discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
      if (request.method === "POST") {
        const object = decodeProtobuf(Buffer.concat(chunks)) as Json;
        bodies[String(object["kind"])] = object;
        response.writeHead(201, { "content-type": "application/json" }).end(JSON.stringify(object));
      } else if (root === "api" || root === "apis") {
        const body = JSON.stringify(aggregatedDiscovery(resourceTable(), root, "v2"));
        response.writeHead(200, { "content-type": discovery }).end(body);
      } else {
        response
          .writeHead(404, { "content-type": "application/json" })
          .end('{"kind":"Status","apiVersion":"v1","code":404}');
      }
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const cache = mkdtempSync(path.join(tmpdir(), "keelson-kubectl-"));
  try {
    for (const command of commands) {
      const flags = [`--server=http://127.0.0.1:${port}`, `--cache-dir=${cache}`, "--kubeconfig=/dev/null"];
      await new Promise((resolve) =>
        spawn(kubectl ?? "", [...flags, ...command], { stdio: "ignore" }).on("close", resolve),
      );
    }
  } finally {
    server.close();
    rmSync(cache, { recursive: true });
  }
  return bodies;
}
