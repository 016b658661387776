import { chmod, chown } from "node:fs/promises";
import type { Volume } from "#api/generated/kubernetes.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isFileSystemRoot, mountTmpfs } from "#linux/mount.ts";
import { volumeFiles } from "../../plan/volume-files.ts";
import { writeAtomically } from "../atomic-writer.ts";
import type { ObjectRefs } from "../object-refs.ts";
import type { ServiceAccountTokens } from "../service-account-tokens.ts";
import { tearDownDirectory } from "../tear-down-directory.ts";
import type { MountedVolume, VolumePlugin, VolumeRequest } from "../volume-plugin.ts";

/** What the files are made of. */
export interface AgentFilesPorts {
  readonly refs: ObjectRefs;
  readonly tokens: ServiceAccountTokens;
}

/** Volumes whose files the agent writes: configMap, secret, downwardAPI, projected. */
export function agentFilePlugins(ports: AgentFilesPorts): readonly VolumePlugin[] {
  const plugin = (name: string, of: (volume: Volume) => unknown, inMemory: boolean): VolumePlugin => ({
    name: `kubernetes.io/${name}`,
    refreshes: true,
    serves: (source) => source.from === "pod" && of(source.volume) !== undefined,
    setUp: async (request, signal) => setUp(request, inMemory, ports, signal),
    tearDown: tearDownDirectory,
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
  { refs, tokens }: AgentFilesPorts,
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
    facts,
  });
  if (files === undefined) throw new Error(`volume "${volume.name}" has no content of the agent's`);
  await makeFolder(directory, 0o755);
  if (inMemory && !(await isFileSystemRoot(directory))) mountTmpfs(directory, "mode=0755");
  await chmod(directory, 0o777 | (fsGroup === undefined ? 0 : 0o2000));
  if (fsGroup !== undefined) await chown(directory, 0, fsGroup);
  await writeAtomically(directory, files, fsGroup);
  return { hostPath: directory, ...(refreshAtMs === undefined ? {} : { refreshAtMs }) };
}
