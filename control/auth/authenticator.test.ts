import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { generateKeyPairSync } from "node:crypto";
import { tmpdir } from "node:os";
import path from "node:path";
import type { KubeObject } from "#api/meta.ts";
import { FakeClock } from "#lib/clock.ts";
import t from "tap";
import type { Lookup } from "../observe/lookup.ts";
import { Authenticator } from "./authenticator.ts";
import { issueToken, type TokenIssuerPorts } from "./issue-token.ts";
import { parseUserFile } from "./plan/parse-user-file.ts";
import { serviceAccountAuthenticator } from "./service-account-token.ts";
import { TokenKey } from "./token-key.ts";
import { basicFileAuthenticator, tokenFileAuthenticator } from "./user-file.ts";

const signal = AbortSignal.timeout(30_000);
const issuer = "https://kubernetes.default.svc.cluster.local";
const newKey = (): TokenKey =>
  new TokenKey(
    generateKeyPairSync("ec", {
      namedCurve: "P-256",
      privateKeyEncoding: { type: "pkcs8", format: "pem" },
      publicKeyEncoding: { type: "spki", format: "pem" },
    }).privateKey,
  );

/** A cluster with one account, one Pod of it and one node; objects can be taken away. */
function world() {
  const objects = new Map<string, KubeObject>([
    ["sa/d/default", { metadata: { name: "default", namespace: "d", uid: "sa-1" } }],
    [
      "pod/d/web",
      Object.assign(
        { metadata: { name: "web", namespace: "d", uid: "pod-1" } },
        { spec: { containers: [], serviceAccountName: "default", nodeName: "n1" } },
      ),
    ],
    ["node//n1", { metadata: { name: "n1", uid: "node-1" } }],
  ]);
  const find =
    <T extends KubeObject>(kind: string): Lookup<T> =>
    (namespace, name) =>
      Promise.resolve(objects.get(`${kind}/${namespace}/${name}`) as T | undefined);
  const clock = new FakeClock();
  const key = newKey();
  const ports: TokenIssuerPorts = {
    key,
    issuer,
    clock,
    serviceAccount: find("sa"),
    pod: find("pod"),
    secret: find("secret"),
    node: find("node"),
  };
  const authenticator = new Authenticator({
    audiences: [issuer],
    tokens: [serviceAccountAuthenticator(key, issuer, ports, clock)],
  });
  const ask = (token: string, audiences = [issuer]) =>
    authenticator.authenticateToken(token, audiences, signal);
  return { objects, clock, ports, ask, authenticator };
}

t.test("a client certificate is its common name and organizations", async (t) => {
  const { authenticator } = world();
  const certificate = { commonName: "kubernetes-admin", organizations: ["system:masters"] };
  t.match(await authenticator.authenticate({ certificate, authorization: undefined, path: "/api" }, signal), {
    state: "known",
    user: { name: "kubernetes-admin", groups: ["system:masters", "system:authenticated"] },
  });
});

t.test("who brings nothing sees health and nothing else", async (t) => {
  const { authenticator } = world();
  const none = { certificate: undefined, authorization: undefined };
  t.match(await authenticator.authenticate({ ...none, path: "/livez/ping" }, signal), {
    state: "known",
    user: { name: "system:anonymous", groups: ["system:unauthenticated"] },
  });
  t.match(await authenticator.authenticate({ ...none, path: "/livezz" }, signal), { state: "refused" });
  t.match(await authenticator.authenticate({ ...none, path: "/api/v1/pods" }, signal), { state: "refused" });
});

t.test("a token bound to a Pod proves the account while the Pod is the same one", async (t) => {
  const { objects, ports, ask } = world();
  const answer = await issueToken(
    "d",
    "default",
    { spec: { audiences: [], boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "web", uid: "pod-1" } } },
    ports,
    signal,
  );
  const token = answer.status?.token ?? "";
  t.match(await ask(token), {
    state: "known",
    user: {
      name: "system:serviceaccount:d:default",
      uid: "sa-1",
      groups: ["system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated"],
      extra: {
        "authentication.kubernetes.io/pod-name": ["web"],
        "authentication.kubernetes.io/node-name": ["n1"],
      },
    },
    audiences: [issuer],
  });
  objects.set("pod/d/web", { metadata: { name: "web", namespace: "d", uid: "pod-2" } });
  t.match(await ask(token), { state: "refused", why: /bound to a pod that is gone/ });
});

t.test("a token is refused when it is late, for others, from others or changed", async (t) => {
  const { clock, ports, ask } = world();
  const answer = await issueToken(
    "d",
    "default",
    { spec: { audiences: ["vault"], expirationSeconds: 600 } },
    ports,
    signal,
  );
  const token = answer.status?.token ?? "";
  t.match(await ask(token), { state: "refused", why: /audiences/ });
  t.match(await ask(token, ["vault", "x"]), { state: "known", audiences: ["vault"] });
  const foreign = await issueToken(
    "d",
    "default",
    { spec: { audiences: [] } },
    { ...ports, key: newKey() },
    signal,
  );
  t.match(await ask(foreign.status?.token ?? ""), { state: "refused", why: "invalid bearer token" });
  const [head, payload, signature] = token.split(".");
  const other = Buffer.from(payload ?? "", "base64url")
    .toString()
    .replaceAll("default", "admin");
  t.match(await ask(`${head}.${Buffer.from(other).toString("base64url")}.${signature}`, ["vault"]), {
    state: "refused",
    why: /bad signature/,
  });
  await clock.advance(601_000);
  t.match(await ask(token, ["vault"]), { state: "refused", why: /expired/ });
});

t.test("the token of a projected volume lives a year, and says it expires in 3607 s", async (t) => {
  const { clock, ports, ask } = world();
  const spec = {
    audiences: [],
    expirationSeconds: 3_607,
    boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "web" },
  };
  const answer = await issueToken("d", "default", { spec }, ports, signal);
  t.equal(answer.status?.expirationTimestamp, "2026-01-01T01:00:07Z");
  await clock.advance(300 * 86_400_000);
  t.match(await ask(answer.status?.token ?? ""), { state: "known" });
});

t.test("impossible token requests are refused as Kubernetes words it", async (t) => {
  const { ports } = world();
  const ask = (name: string, spec: object) =>
    issueToken("d", name, { spec: { audiences: [], ...spec } }, ports, signal);
  await t.rejects(ask("default", { expirationSeconds: 60 }), {
    code: 422,
    message: /spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes/,
  });
  await t.rejects(ask("nobody", {}), { code: 404, message: 'serviceaccounts "nobody" not found' });
  const stale = { apiVersion: "v1", kind: "Pod", name: "web", uid: "old" };
  await t.rejects(ask("default", { boundObjectRef: stale }), {
    code: 409,
    message: /does not match the UID in record/,
  });
});

t.test("token and password files are read as upstream writes them", async (t) => {
  const folder = mkdtempSync(path.join(tmpdir(), "keelson-auth-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, "users.csv");
  writeFileSync(file, 'secret1,alice,u1,"devs,ops"\nsecret2,bob,u2\n');
  t.match(await tokenFileAuthenticator(file)("secret1", [], signal), {
    user: { name: "alice", uid: "u1", groups: ["devs", "ops", "system:authenticated"] },
  });
  t.equal(await tokenFileAuthenticator(file)("secret", [], signal), undefined);
  const basic = basicFileAuthenticator(file);
  t.match(basic("bob", "secret2"), { name: "bob", groups: [] });
  t.equal(basic("bob", "secret1"), undefined);
  t.throws(() => parseUserFile("onlytoken\n"), /line 1/);
});
