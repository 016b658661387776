import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import t, { type Test } from "tap";
import { FakeClock } from "#lib/clock.ts";
import { type Log, noLog } from "#lib/log.ts";
import { CredentialPlugins } from "./credential-plugins.ts";

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
    t.same(await plugins.credentials("a.registry.example/web:1", never), [
      { username: "me", password: "first" },
    ]);
    t.same(await plugins.credentials("web:1", never), []);
    t.same(await plugins.credentials("registry.example/web:1", never), []);
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
    for (const image of [...images, ...images]) await plugins.credentials(image, never);
    t.equal((await asked()).length, asks);
    await clock.advance(60_000);
    await plugins.credentials("a.registry.example/one", never);
    t.equal((await asked()).length, asks + 1);
  });
}

t.test("IM4: an answer that says 0s is not remembered", async (t) => {
  const { open, asked } = await setUp(t, says("Global", '"cacheDuration":"0s",'));
  const plugins = await open();
  await plugins.credentials("a.registry.example/one", never);
  await plugins.credentials("a.registry.example/one", never);
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
    t.same(await (await open()).credentials("a.registry.example/web", never), []);
  });
}

const refusals = [
  { name: "no images", more: { matchImages: [] }, why: /no matchImages/ },
  { name: "a path for a name", more: { name: "../keys" }, why: /no name of a provider/ },
  { name: "an unknown version", more: { apiVersion: "v7" }, why: /unknown apiVersion/ },
  { name: "no time to remember", more: { defaultCacheDuration: undefined }, why: /defaultCacheDuration/ },
  { name: "a service account's token", more: { tokenAttributes: {} }, why: /does not support/ },
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
    Array.from({ length: 20 }, () => plugins.credentials("a.registry.example/one", never)),
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
  await Promise.all(images.map((image) => plugins.credentials(image, never)));
  const most = (await readFile(`${folder}.most`, "utf8")).trim().split("\n").map(Number);
  t.equal(most.length, 20, "each has its turn");
  t.ok(Math.max(...most) > 1 && Math.max(...most) <= 8, `${Math.max(...most)} at once`);
});

t.test("IM4: what a provider prints goes into no log", async (t) => {
  const said: string[] = [];
  const log = { ...noLog, warn: (text: string, data?: object) => said.push(text, JSON.stringify(data)) };
  const { open } = await setUp(t, "echo 'token=hush'", {}, log);
  t.same(await (await open()).credentials("a.registry.example/one", never), []);
  t.match(said.join(), /its answer is not JSON/);
  t.notMatch(said.join(), /hush/);
});
