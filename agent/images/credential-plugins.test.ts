import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock } from "#lib/clock.ts";
import { type Log, noLog } from "#lib/log.ts";
import { CredentialPlugins } from "./credential-plugins.ts";
import type { PodAccount } from "./pod-account.ts";

const never = new AbortController().signal;

/** A folder with one provider, the shell script given, which notes what it is asked in `asked`. */
async function setUp(t: Test, answer: string, more: object = {}, log: Log = noLog) {
  const folder = await mkdtemp(path.join(os.tmpdir(), "providers-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  await writeFile(
    path.join(folder, "keys"),
    `#!/bin/sh\ncat >>"${folder}/asked"\necho >>"${folder}/asked"\n${answer}\n`,
  );
  await chmod(path.join(folder, "keys"), 0o755);
  const provider = {
    name: "keys",
    apiVersion: "credentialprovider.kubelet.k8s.io/v1",
    matchImages: ["*.registry.example"],
    defaultCacheDuration: "1m",
    args: ["first"],
    env: [{ name: "WHO", value: "me" }],
    ...more,
  };
  const config = {
    apiVersion: "kubelet.config.k8s.io/v1",
    kind: "CredentialProviderConfig",
    providers: [provider],
  };
  const file = path.join(folder, "config.yaml");
  await writeFile(file, JSON.stringify(config));
  const clock = new FakeClock();
  const open = () => CredentialPlugins.open(file, folder, { clock, log });
  const asked = async () =>
    (await readFile(path.join(folder, "asked"), "utf8").catch(() => ""))
      .split("\n")
      .filter((line) => line !== "");
  return { clock, open, asked };
}

const says = (cacheKeyType: string, more = ""): string =>
  `echo '{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderResponse","cacheKeyType":"${cacheKeyType}",${more}"auth":{"a.registry.example":{"username":"'$WHO'","password":"'$1'"},"b.registry.example":{"username":"b","password":"b"}}}'`;

t.test(
  "IM4: a provider is asked for the images of its patterns, with its arguments and environment",
  async (t) => {
    const { open, asked } = await setUp(t, says("Image"));
    const plugins = await open();
    t.same(await plugins.credentials("a.registry.example/web:1", undefined, never), [
      { auth: { username: "me", password: "first" } },
    ]);
    t.same(await plugins.credentials("web:1", undefined, never), []);
    t.same(await plugins.credentials("registry.example/web:1", undefined, never), []);
    t.same(
      (await asked()).map((line) => JSON.parse(line)),
      [
        {
          apiVersion: "credentialprovider.kubelet.k8s.io/v1",
          kind: "CredentialProviderRequest",
          image: "a.registry.example/web:1",
        },
      ],
    );
  },
);

const caches = [
  { key: "Image", asks: 3 },
  { key: "Registry", asks: 2 },
  { key: "Global", asks: 1 },
] as const;
for (const { key, asks } of caches) {
  t.test(`IM4: an answer for ${key} is remembered for its time`, async (t) => {
    const { clock, open, asked } = await setUp(t, says(key));
    const plugins = await open();
    const images = ["a.registry.example/one", "a.registry.example/two", "b.registry.example/one"];
    for (const image of [...images, ...images]) await plugins.credentials(image, undefined, never);
    t.equal((await asked()).length, asks);
    await clock.advance(60_000);
    await plugins.credentials("a.registry.example/one", undefined, never);
    t.equal((await asked()).length, asks + 1);
  });
}

t.test("IM4: an answer that says 0s is not remembered", async (t) => {
  const { open, asked } = await setUp(t, says("Global", '"cacheDuration":"0s",'));
  const plugins = await open();
  await plugins.credentials("a.registry.example/one", undefined, never);
  await plugins.credentials("a.registry.example/one", undefined, never);
  t.equal((await asked()).length, 2);
});

const faults = [
  { name: "ends badly", answer: "exit 1" },
  { name: "answers nonsense", answer: "echo nonsense" },
  { name: "answers another kind", answer: "echo '{}'" },
  { name: "writes without end", answer: "yes" },
];
for (const { name, answer } of faults) {
  t.test(`IM4: a provider that ${name} gives nothing and harms nothing`, async (t) => {
    const { open } = await setUp(t, answer);
    t.same(await (await open()).credentials("a.registry.example/web", undefined, never), []);
  });
}

const refusals = [
  { name: "no images", more: { matchImages: [] }, why: /no matchImages/ },
  { name: "a path for a name", more: { name: "../keys" }, why: /no name of a provider/ },
  { name: "an unknown version", more: { apiVersion: "v7" }, why: /unknown apiVersion/ },
  { name: "no time to remember", more: { defaultCacheDuration: undefined }, why: /defaultCacheDuration/ },
];
for (const { name, more, why } of refusals) {
  t.test(`IM4: a configuration with ${name} is refused at the start`, async (t) => {
    const { open } = await setUp(t, "true", more);
    await t.rejects(open(), why);
  });
}

t.test("IM4: Pods that want one image at the same time share one run of the provider", async (t) => {
  const { open, asked } = await setUp(t, says("Image", '"cacheDuration":"0s",'));
  const plugins = await open();
  const all = await Promise.all(
    Array.from({ length: 20 }, () => plugins.credentials("a.registry.example/one", undefined, never)),
  );
  t.equal((await asked()).length, 1);
  t.ok(all.every((auths) => auths.length === 1));
});

t.test("IM4: no more than eight providers run at the same time", async (t) => {
  const folder = t.testdir();
  const count = `mkdir "${folder}/$$"; ls "${folder}" | wc -l >>"${folder}.most"; sleep 0.2; rmdir "${folder}/$$"`;
  t.teardown(() => rm(`${folder}.most`, { force: true }));
  const { open } = await setUp(t, `${count}\n${says("Image")}`);
  const plugins = await open();
  const images = Array.from({ length: 20 }, (_, place) => `a.registry.example/${place}`);
  await Promise.all(images.map((image) => plugins.credentials(image, undefined, never)));
  const most = (await readFile(`${folder}.most`, "utf8")).trim().split("\n").map(Number);
  t.equal(most.length, 20, "each has its turn");
  t.ok(Math.max(...most) > 1 && Math.max(...most) <= 8, `${Math.max(...most)} at once`);
});

t.test("IM4: what a provider prints goes into no log", async (t) => {
  const said: string[] = [];
  const log = { ...noLog, warn: (text: string, data?: object) => said.push(text, JSON.stringify(data)) };
  const { open } = await setUp(t, "echo 'token=hush'", {}, log);
  t.same(await (await open()).credentials("a.registry.example/one", undefined, never), []);
  t.match(said.join(), /its answer is not JSON/);
  t.notMatch(said.join(), /hush/);
});

/** The account `builder`, whose token changes with `turn`. */
function account(annotations: Readonly<Record<string, string>>, turn: { value: number }): PodAccount {
  return {
    read: async () => ({ metadata: { uid: "a1", namespace: "default", name: "builder", annotations } }),
    token: async (audience) => `token ${turn.value} for ${audience}`,
  };
}

const attributes = {
  serviceAccountTokenAudience: "registry.example",
  cacheType: "ServiceAccount",
  requireServiceAccount: true,
  requiredServiceAccountAnnotationKeys: ["example.com/role"],
  optionalServiceAccountAnnotationKeys: ["example.com/hint", "example.com/none"],
};

t.test(
  "IM4: a provider is told of the Pod's service account, and its answer is that account's",
  async (t) => {
    const { open, asked } = await setUp(t, says("Registry"), { tokenAttributes: attributes });
    const plugins = await open();
    const image = "a.registry.example/web:1";
    const turn = { value: 1 };
    const annotations = { "example.com/role": "reader", "example.com/hint": "h", "example.com/other": "o" };
    const found = await plugins.credentials(image, account(annotations, turn), never);
    const mark = { uid: "a1", namespace: "default", name: "builder" };
    t.same(found, [{ auth: { username: "me", password: "first" }, account: mark }]);
    t.same(
      (await asked()).map((line) => JSON.parse(line)),
      [
        {
          apiVersion: "credentialprovider.kubelet.k8s.io/v1",
          kind: "CredentialProviderRequest",
          image,
          serviceAccountToken: "token 1 for registry.example",
          serviceAccountAnnotations: { "example.com/role": "reader", "example.com/hint": "h" },
        },
      ],
    );
    turn.value = 2;
    await plugins.credentials(image, account(annotations, turn), never);
    t.equal((await asked()).length, 1, "a new token of the same account is answered from memory");
    await plugins.credentials(image, account({ ...annotations, "example.com/role": "writer" }, turn), never);
    t.equal((await asked()).length, 2, "other annotations are another question");
    t.same(await plugins.credentials(image, account({}, turn), never), [], "the role is missing");
    t.same(await plugins.credentials(image, undefined, never), [], "a static Pod has no account");
    t.equal((await asked()).length, 2);
  },
);

t.test("IM4: an answer may be for one token only, and an account may be no must", async (t) => {
  const token = {
    ...attributes,
    cacheType: "Token",
    requireServiceAccount: false,
    requiredServiceAccountAnnotationKeys: [],
  };
  const { open, asked } = await setUp(t, says("Global"), { tokenAttributes: token });
  const plugins = await open();
  const image = "a.registry.example/web:1";
  const turn = { value: 1 };
  await plugins.credentials(image, account({}, turn), never);
  await plugins.credentials(image, account({}, turn), never);
  t.equal((await asked()).length, 1);
  turn.value = 2;
  await plugins.credentials(image, account({}, turn), never);
  t.equal((await asked()).length, 2);
  const found = await plugins.credentials(image, undefined, never);
  t.same(found, [{ auth: { username: "me", password: "first" } }], "for the node, as it was told of nobody");
  t.notOk((await asked())[2]?.includes("serviceAccount"));
});

t.test(
  "IM4: tokenAttributes that make no sense keep the node from starting, and say what is wrong",
  async (t) => {
    const cases: readonly (readonly [object, RegExp])[] = [
      [{ serviceAccountTokenAudience: "" }, /serviceAccountTokenAudience is required/],
      [{ cacheType: "Pod" }, /cacheType must be ServiceAccount or Token, not "Pod"/],
      [{ requireServiceAccount: undefined }, /requireServiceAccount must be true or false/],
      [{ requireServiceAccount: false }, /need requireServiceAccount to be true/],
      [
        { optionalServiceAccountAnnotationKeys: ["example.com/role"] },
        /names the annotation "example.com\/role" twice/,
      ],
    ];
    for (const [change, words] of cases) {
      const { open } = await setUp(t, "", { tokenAttributes: { ...attributes, ...change } });
      await t.rejects(open(), words);
    }
    const old = { apiVersion: "credentialprovider.kubelet.k8s.io/v1beta1", tokenAttributes: attributes };
    const { open } = await setUp(t, "", old);
    await t.rejects(open(), /apiVersion must be credentialprovider.kubelet.k8s.io\/v1/);
  },
);
