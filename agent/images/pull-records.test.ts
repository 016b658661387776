import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import type { SourcedAuth, VerificationPolicy } from "../plan/pull-records.ts";
import { PullRecords, recordFolder } from "./pull-records.ts";
import { memoryRecords } from "./record-fixture.ts";

const image = "registry.example/team/web:1";
const id = "sha256:1";
const login = (uid: string, password: string): SourcedAuth => ({
  auth: { username: "team", password },
  secret: { uid, namespace: "team", name: "login" },
});

const cases: readonly {
  readonly policy: VerificationPolicy;
  readonly name: string;
  readonly used?: SourcedAuth | "node" | "unknown";
  readonly has?: SourcedAuth;
  readonly may: boolean;
}[] = [
  { policy: "NeverVerify", name: "anything", used: login("1", "a"), may: true },
  { policy: "NeverVerifyPreloadedImages", name: "one that was brought otherwise", may: true },
  {
    policy: "NeverVerifyPreloadedImages",
    name: "one of which the end is unknown",
    used: "unknown",
    may: false,
  },
  { policy: "NeverVerifyPreloadedImages", name: "one of the node's", used: "node", may: true },
  { policy: "NeverVerifyPreloadedImages", name: "another's", used: login("1", "a"), may: false },
  {
    policy: "NeverVerifyPreloadedImages",
    name: "its own",
    used: login("1", "a"),
    has: login("1", "a"),
    may: true,
  },
  {
    policy: "NeverVerifyPreloadedImages",
    name: "that of a Secret whose content is new",
    used: login("1", "a"),
    has: login("1", "b"),
    may: false,
  },
  {
    policy: "NeverVerifyPreloadedImages",
    name: "that of another Secret with the same content",
    used: login("1", "a"),
    has: login("2", "a"),
    may: true,
  },
  { policy: "NeverVerifyAllowlistedImages", name: "one that was brought otherwise", may: false },
  { policy: "AlwaysVerify", name: "one that was brought otherwise", may: false },
  { policy: "AlwaysVerify", name: "one of the node's", used: "node", may: true },
];
/** A Pod without a service account. */
const nobody = async (): Promise<undefined> => undefined;

for (const { policy, name, used, has, may } of cases) {
  t.test(`IM5: under ${policy} a Pod ${may ? "may" : "may not"} use ${name}`, async (t) => {
    const { records } = await memoryRecords(new FakeClock(), { policy });
    if (used !== undefined) {
      await records.begin(image);
      if (used !== "unknown")
        await records.end(image, { imageRef: id, used: used === "node" ? undefined : used });
    }
    t.equal(await records.mayUse(image, id, async () => (has === undefined ? [] : [has]), nobody), may);
  });
}

t.test("IM5: the allowlist names repositories, or what they begin with", async (t) => {
  const policy = "NeverVerifyAllowlistedImages";
  const may = async (allowlist: readonly string[], name: string): Promise<boolean> =>
    (await memoryRecords(new FakeClock(), { policy, allowlist })).records.mayUse(
      name,
      id,
      async () => [],
      nobody,
    );
  t.equal(await may(["registry.example/team/web"], image), true);
  t.equal(await may(["registry.example/team/*"], image), true);
  t.equal(await may(["registry.example/te/*"], image), false);
  t.equal(await may(["registry.example/team/we"], image), false);
  t.equal(await may(["docker.io/library/web"], "web:1"), true);
  t.equal(await may(["web"], "web@sha256:2"), true);
});

t.test("IM5: one image under two names is asked about by each name", async (t) => {
  const { records } = await memoryRecords(new FakeClock());
  const open = "registry.example/open/web:1";
  await records.begin(image);
  await records.end(image, { imageRef: id, used: login("1", "a") });
  await records.begin(open);
  await records.end(open, { imageRef: id, used: undefined });
  t.equal(await records.mayUse(open, id, async () => [], nobody), true);
  t.equal(await records.mayUse(image, id, async () => [], nobody), false);
});

t.test("IM5: records outlive the agent, without any password, and go with their image", async (t) => {
  const clock = new FakeClock();
  const folder = t.testdir();
  const ports = {
    store: recordFolder(folder),
    clock,
    log: noLog,
    policy: "NeverVerifyPreloadedImages",
    allowlist: [],
  } as const;
  const first = await PullRecords.open(ports);
  await first.begin(image);
  const pulling = path.join(folder, "image_manager/pulling");
  const pulled = path.join(folder, "image_manager/pulled");
  t.equal((await readdir(pulling)).length, 1, "the intent is on disk before the pull");
  const other = await PullRecords.open(ports);
  t.equal(await other.mayUse(image, id, async () => [], nobody), false, "the first agent died in the pull");
  await first.end(image, { imageRef: id, used: login("1", "secret-word") });
  t.same(await readdir(pulling), []);
  const [file = ""] = await readdir(pulled);
  t.equal((await stat(path.join(pulled, file))).mode & 0o777, 0o600);
  const { store } = ports;
  t.notMatch((await store.list("pulled")).get(file), /secret-word/);
  const second = await PullRecords.open(ports);
  t.equal(await second.mayUse(image, id, async () => [login("1", "secret-word")], nobody), true);
  t.equal(await second.mayUse(image, id, async () => [], nobody), false);

  await store.write("pulled", file, "{half");
  const third = await PullRecords.open(ports);
  t.equal(
    await third.mayUse(image, id, async () => [login("1", "secret-word")], nobody),
    false,
    "a spoiled record",
  );

  await second.keep(new Set(), clock.now());
  t.equal((await readdir(pulled)).length, 1, "what came after the list is not lost by it");
  await clock.advance(1);
  await second.keep(new Set([id]), clock.now());
  t.equal((await readdir(pulled)).length, 1);
  await second.keep(new Set(), clock.now());
  t.same(await readdir(pulled), []);
});

t.test(
  "IM5: a pull that cannot be written down before is not begun, and afterwards does no harm",
  async (t) => {
    const memory = await memoryRecords(new FakeClock());
    const failing = { ...memory.store, write: () => Promise.reject(new Error("no space")) };
    const { records } = await memoryRecords(new FakeClock(), { store: failing });
    await t.rejects(records.begin(image), /no space/);
    await records.end(image, { imageRef: id, used: undefined });
    t.pass("the end is logged");
  },
);

t.test("IM4 IM5: what a service account's credentials brought is for that account's Pods", async (t) => {
  const { records } = await memoryRecords(new FakeClock(), {});
  const own = { uid: "a1", namespace: "default", name: "builder" };
  const auth = { username: "b", password: "p" };
  await records.begin(image);
  await records.end(image, { imageRef: id, used: { auth, account: own } });
  const may = (account: typeof own | undefined, credentials: readonly SourcedAuth[] = []) =>
    records.mayUse(
      image,
      id,
      async () => credentials,
      async () => account,
    );
  t.equal(await may(own), true);
  t.equal(await may({ ...own, uid: "a2" }), false, "an account that was made anew is another one");
  t.equal(await may(undefined), false);
  const secret = { uid: "s1", namespace: "default", name: "login" };
  t.equal(await may(undefined, [{ auth, secret }]), false, "the same password from elsewhere is not known");
});
