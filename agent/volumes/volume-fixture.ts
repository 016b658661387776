import { mkdtemp, realpath, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { Test } from "tap";
import type { PersistentVolumeSpec, Pod, Volume } from "#api/generated/kubernetes.ts";
import { FakeClock } from "#lib/clock.ts";
import { unmountBelow } from "#linux/mount.ts";
import type { DownwardFacts } from "../plan/downward.ts";
import { testPod } from "../plan/pod-fixtures.ts";
import { volumePlace } from "./pod-directories.ts";
import type { VolumePlugin, VolumeRequest } from "./volume-plugin.ts";

/** Tests that mount need root. */
export const needsRoot: string | false = process.getuid?.() !== 0 && "needs root";

/** What the downward API tells in tests: a node with 64 MiB for Pods. */
export const testFacts: DownwardFacts = {
  nodeName: "node-a",
  hostIps: [],
  podIps: [],
  allocatable: { cpuMilli: 1_000, memoryBytes: 67_108_864, ephemeralStorageBytes: 1 },
};

/** A folder of the test's own; what is mounted below it is unmounted at its end. */
export async function mountFolder(t: Test): Promise<string> {
  const folder = await realpath(await mkdtemp(path.join(os.tmpdir(), "volumes-")));
  t.teardown(async () => {
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
  });
  return folder;
}

/** A request for a volume of a Pod, below this root directory. */
export function volumeRequest(
  rootDir: string,
  plugin: VolumePlugin,
  source: Omit<Volume, "name"> | { readonly persistent: PersistentVolumeSpec },
  more: Partial<VolumeRequest> = {},
): VolumeRequest {
  const pod: Pod = more.pod ?? testPod();
  const isClaim = "persistent" in source;
  const name = isClaim ? "pv" : "data";
  return {
    pod,
    name: "data",
    source: isClaim
      ? {
          from: "claim",
          volume: { metadata: { name: "pv" }, spec: source.persistent },
          claim: { namespace: "default", name: "claim", uid: "claim-uid" },
        }
      : { from: "pod", volume: { name: "data", ...source } },
    place: volumePlace(rootDir, pod.metadata?.uid ?? "", plugin.name, name),
    isBlock: false,
    readOnly: false,
    mountOptions: isClaim ? (source.persistent.mountOptions ?? []) : [],
    fsGroup: undefined,
    fsGroupPolicy: "Always",
    slowGroup: { clock: new FakeClock(), volume: "u1/volumes/data", say: () => undefined },
    warn: () => undefined,
    devicePath: "",
    facts: testFacts,
    ...more,
  };
}
