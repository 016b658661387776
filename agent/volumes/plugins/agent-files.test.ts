import { existsSync } from "node:fs";
import { readFile, readlink, rm } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import type { Pod } from "#api/generated/kubernetes.ts";
import { FakeClock } from "#lib/clock.ts";
import { noLog } from "#lib/log.ts";
import { ObjectRefs } from "../object-refs.ts";
import { ServiceAccountTokens } from "../service-account-tokens.ts";
import { TrustBundles } from "../trust-bundles.ts";
import type { VolumeRequest } from "../volume-plugin.ts";
import { agentFilePlugins } from "./agent-files.ts";

const { signal } = new AbortController();

const podLabelled = (app: string): Pod => ({
  metadata: { name: "p", namespace: "d", uid: "u", labels: { app } },
  spec: {
    containers: [{ name: "c" }],
    volumes: [
      {
        name: "info",
        downwardAPI: { items: [{ path: "app", fieldRef: { fieldPath: "metadata.labels['app']" } }] },
      },
    ],
  },
});

function requestIn(folder: string, app: string): VolumeRequest {
  const pod = podLabelled(app);
  return {
    pod,
    name: "info",
    source: { from: "pod", volume: pod.spec?.volumes?.[0] ?? { name: "" } },
    place: { podUid: "u", name: "info", directory: path.join(folder, "info"), deviceFile: "" },
    isBlock: false,
    readOnly: false,
    mountOptions: [],
    fsGroup: undefined,
    fsGroupPolicy: "Always",
    warn: () => undefined,
    devicePath: "",
    slowGroup: { clock: new FakeClock(), volume: "u/info", say: () => undefined },
    facts: {
      nodeName: "node-a",
      hostIps: [],
      podIps: [],
      allocatable: { cpuMilli: 1, memoryBytes: 1, ephemeralStorageBytes: 1 },
    },
  };
}

t.test("files are written when their content is new, and looked at on the disk once a minute", async (t) => {
  const folder = t.testdir();
  const clock = new FakeClock();
  const ports = { client: undefined, clock, log: noLog, random: () => 0 };
  const [, downward] = agentFilePlugins({
    refs: new ObjectRefs(ports, () => undefined),
    tokens: new ServiceAccountTokens(undefined, clock),
    trustBundles: new TrustBundles(ports, () => undefined),
    clock,
  });
  if (downward === undefined) throw new Error("there is no plugin");
  const { directory } = requestIn(folder, "").place;
  const data = (): Promise<string> => readlink(path.join(directory, "..data"));

  await downward.setUp(requestIn(folder, "one"), signal);
  t.equal(await readFile(path.join(directory, "app"), "utf8"), "one");
  const first = await data();
  await downward.setUp(requestIn(folder, "one"), signal);
  t.equal(await data(), first, "nothing new writes nothing");

  await downward.setUp(requestIn(folder, "two"), signal);
  t.equal(await readFile(path.join(directory, "app"), "utf8"), "two", "new content is written at once");

  await rm(path.join(directory, await data(), "app"));
  await clock.advance(59_000);
  await downward.setUp(requestIn(folder, "two"), signal);
  t.notOk(existsSync(path.join(directory, "app")), "the disk was not looked at");
  await clock.advance(1_000);
  await downward.setUp(requestIn(folder, "two"), signal);
  t.equal(await readFile(path.join(directory, "app"), "utf8"), "two", "what went is back");

  await downward.tearDown(requestIn(folder, "two").place, signal);
  t.notOk(existsSync(directory));
  await downward.setUp(requestIn(folder, "two"), signal);
  t.equal(await readFile(path.join(directory, "app"), "utf8"), "two", "it is made anew after its end");
});
