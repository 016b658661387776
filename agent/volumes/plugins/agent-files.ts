import { chmod, chown } from "node:fs/promises";
import type { Volume } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isFileSystemRoot, mountTmpfs } from "#linux/mount.ts";
import { type VolumeFiles, volumeFiles } from "../../plan/volume-files.ts";
import { writeAtomically } from "../atomic-writer.ts";
import type { ObjectRefs } from "../object-refs.ts";
import type { ServiceAccountTokens } from "../service-account-tokens.ts";
import { tearDownDirectory } from "../tear-down-directory.ts";
import type { TrustBundles } from "../trust-bundles.ts";
import type { MountedVolume, VolumePlugin, VolumeRequest } from "../volume-plugin.ts";

/** What the files are made of. */
export interface AgentFilesPorts {
  readonly refs: ObjectRefs;
  readonly tokens: ServiceAccountTokens;
  readonly trustBundles: TrustBundles;
  readonly clock: Clock;
}

/**
 * How long what was written counts as what is there. Every step of a Pod comes by here, and most have nothing new;
 * the disk is looked at as often as kubelet does.
 */
const trustedMs = 60_000;

/** What was last written to a directory, and when it was last seen there. */
interface Written {
  readonly files: VolumeFiles;
  readonly seenMs: number;
}

/** Volumes whose files the agent writes: configMap, secret, downwardAPI, projected. */
export function agentFilePlugins(ports: AgentFilesPorts): readonly VolumePlugin[] {
  /** By directory; gone with the volume. */
  const written = new Map<string, Written>();
  const plugin = (name: string, of: (volume: Volume) => unknown, inMemory: boolean): VolumePlugin => ({
    name: `kubernetes.io/${name}`,
    refreshes: true,
    serves: (source) => source.from === "pod" && of(source.volume) !== undefined,
    setUp: async (request, signal) => setUp(request, inMemory, ports, written, signal),
    tearDown: async (place) => {
      written.delete(place.directory);
      ports.trustBundles.forget(place.podUid);
      await tearDownDirectory(place);
    },
  });
  return [
    plugin("configmap", ({ configMap }) => configMap, false),
    plugin("downward-api", ({ downwardAPI }) => downwardAPI, false),
    // What is secret never reaches a disk.
    plugin("secret", ({ secret }) => secret, true),
    plugin("projected", ({ projected }) => projected, true),
  ];
}

async function setUp(
  { pod, source, place: { directory }, fsGroup, facts }: VolumeRequest,
  inMemory: boolean,
  { refs, tokens, trustBundles, clock }: AgentFilesPorts,
  written: Map<string, Written>,
  signal: AbortSignal,
): Promise<MountedVolume> {
  const { namespace = "", uid = "" } = pod.metadata ?? {};
  const volume: Volume = source.from === "pod" ? source.volume : { name: "" };
  const hasToken = volume.projected?.sources?.some((one) => one.serviceAccountToken !== undefined) === true;
  const refreshAtMs = hasToken ? await tokens.refresh(pod, signal) : undefined;
  const files = volumeFiles(pod, volume, {
    configMap: (name) => refs.configMap(namespace, name),
    secret: (name) => refs.secret(namespace, name),
    token: (audience, seconds) => tokens.token(uid, audience, seconds),
    trustBundle: (projection) => trustBundles.text(uid, projection),
    facts,
  });
  if (files === undefined) throw new Error(`volume "${volume.name}" has no content of the agent's`);
  const mounted = { hostPath: directory, ...(refreshAtMs === undefined ? {} : { refreshAtMs }) };
  const last = written.get(directory);
  const now = clock.monotonicMs();
  if (last !== undefined && now - last.seenMs < trustedMs && isSame(last.files, files)) return mounted;
  await makeFolder(directory, 0o755);
  if (inMemory && !(await isFileSystemRoot(directory))) mountTmpfs(directory, "mode=0755");
  await chmod(directory, 0o777 | (fsGroup === undefined ? 0 : 0o2000));
  if (fsGroup !== undefined) await chown(directory, 0, fsGroup);
  await writeAtomically(directory, files, fsGroup);
  written.set(directory, { files, seenMs: now });
  return mounted;
}

function isSame(before: VolumeFiles, now: VolumeFiles): boolean {
  if (before.size !== now.size) return false;
  for (const [name, { data, mode, owner }] of now) {
    const old = before.get(name);
    if (old === undefined || old.mode !== mode || old.owner !== owner) return false;
    if (Buffer.compare(data, old.data) !== 0) return false;
  }
  return true;
}
