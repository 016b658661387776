import { chmod, chown, mkdir, readdir, rm, stat } from "node:fs/promises";
import path from "node:path";
import type { Pod, Volume } from "#api/generated/kubernetes.ts";
import { quantityValue } from "#api/quantity.ts";
import { errorText } from "#lib/log.ts";
import { mountPoints, mountTmpfs, unmountBelow, isWithin } from "#linux/mount.ts";
import type { DownwardFacts } from "../plan/downward.ts";
import { tokenOwner, volumeFiles } from "../plan/volume-files.ts";
import { writeAtomically } from "./atomic-writer.ts";
import { applyFsGroup } from "./fs-group.ts";
import { prepareHostPath } from "./host-path.ts";
import type { ObjectRefs } from "./object-refs.ts";
import type { ServiceAccountTokens } from "./service-account-tokens.ts";

/** A volume of this Pod cannot be set up now. `volume` is its name in the Pod. */
export class VolumeError extends Error {
  override readonly name = "VolumeError";
  readonly volume: string;

  constructor(volume: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.volume = volume;
  }
}

/** What setting up volumes reads. */
export interface VolumePorts {
  readonly rootDir: string;
  readonly refs: ObjectRefs;
  readonly tokens: ServiceAccountTokens;
}

/** The Pod's own directory below the agent's root. */
export function podDirectory(rootDir: string, uid: string): string {
  return path.join(rootDir, "pods", uid);
}

/** Where a volume is on the node; undefined for an image volume, which the runtime mounts. */
export function volumePath(rootDir: string, pod: Pod, volume: Volume): string | undefined {
  if (volume.hostPath !== undefined) return volume.hostPath.path;
  const plugin = pluginOf(volume);
  return plugin === undefined
    ? undefined
    : path.join(
        podDirectory(rootDir, pod.metadata?.uid ?? ""),
        "volumes",
        `kubernetes.io~${plugin}`,
        volume.name,
      );
}

/**
 * Sets up every volume of the Pod, and brings written ones up to date. A second call with nothing new writes nothing.
 * @returns wall time at which a token has to be renewed.
 * @throws {VolumeError} for the first volume that cannot be set up.
 */
export async function setUpVolumes(
  pod: Pod,
  ports: VolumePorts,
  facts: DownwardFacts,
  signal: AbortSignal,
): Promise<number | undefined> {
  const mounted = await mountPoints();
  let refreshAtMs: number | undefined;
  for (const volume of pod.spec?.volumes ?? []) {
    try {
      const hasToken =
        volume.projected?.sources?.some((source) => source.serviceAccountToken !== undefined) === true;
      if (hasToken) refreshAtMs = await ports.tokens.refresh(pod, signal);
      await setUp(pod, volume, ports, facts, mounted);
    } catch (cause) {
      signal.throwIfAborted();
      throw cause instanceof VolumeError ? cause : new VolumeError(volume.name, errorText(cause), { cause });
    }
  }
  return refreshAtMs;
}

/** Unmounts and removes the Pod's volumes. */
export async function tearDownVolumes(rootDir: string, uid: string): Promise<void> {
  const directory = podDirectory(rootDir, uid);
  await unmountBelow(directory);
  await removeUnmounted(path.join(directory, "volumes"));
  await removeUnmounted(path.join(directory, "volume-subpaths"));
}

/** Removes the Pod's directory, when nothing is mounted in it any more. */
export async function removePodDirectory(rootDir: string, uid: string): Promise<void> {
  const directory = podDirectory(rootDir, uid);
  await unmountBelow(directory);
  await removeUnmounted(directory);
}

/** Uids of Pods that have a directory here. */
export async function podDirectories(rootDir: string): Promise<readonly string[]> {
  return readdir(path.join(rootDir, "pods")).catch(() => []);
}

async function setUp(
  pod: Pod,
  volume: Volume,
  ports: VolumePorts,
  facts: DownwardFacts,
  mounted: readonly string[],
): Promise<void> {
  if (volume.image !== undefined) return;
  if (volume.hostPath !== undefined) {
    await prepareHostPath(volume.hostPath);
    return;
  }
  const directory = volumePath(ports.rootDir, pod, volume);
  if (directory === undefined)
    throw new VolumeError(volume.name, `volume type ${kindOf(volume)} is not supported by this node`);
  const fsGroup = pod.spec?.securityContext?.fsGroup;
  if (volume.emptyDir !== undefined) {
    await setUpEmptyDir(volume, directory, fsGroup, mounted);
    return;
  }
  const { namespace = "", uid = "" } = pod.metadata ?? {};
  const files = volumeFiles(pod, volume, {
    configMap: (name) => ports.refs.configMap(namespace, name),
    secret: (name) => ports.refs.secret(namespace, name),
    token: (audience, seconds) => ports.tokens.token(uid, audience, seconds),
    facts,
  });
  if (files === undefined) return;
  await mkdir(directory, { recursive: true, mode: 0o755 });
  if ((volume.secret !== undefined || volume.projected !== undefined) && !mounted.includes(directory))
    mountTmpfs(directory, "mode=0755");
  await chmod(directory, 0o777 | (fsGroup === undefined ? 0 : 0o2000));
  if (fsGroup !== undefined) await chown(directory, 0, fsGroup);
  await writeAtomically(directory, files, {
    fsGroup,
    uid: volume.projected === undefined || fsGroup !== undefined ? undefined : tokenOwner(pod),
  });
}

async function setUpEmptyDir(
  volume: Volume,
  directory: string,
  fsGroup: number | undefined,
  mounted: readonly string[],
): Promise<void> {
  const { medium = "", sizeLimit } = volume.emptyDir ?? {};
  const fresh = (await stat(directory).catch(() => undefined)) === undefined;
  if (medium !== "" && medium !== "Memory")
    throw new VolumeError(volume.name, `emptyDir medium "${medium}" is not supported by this node`);
  await mkdir(directory, { recursive: true });
  const isMounted = mounted.includes(directory);
  if (medium === "Memory" && !isMounted)
    mountTmpfs(
      directory,
      `mode=0777${sizeLimit === undefined || quantityValue(sizeLimit) === 0 ? "" : `,size=${quantityValue(sizeLimit)}`}`,
    );
  if (!fresh && (medium !== "Memory" || isMounted)) return; // in use: its rights are the Pod's own business now
  await chmod(directory, 0o777);
  if (fsGroup !== undefined) await applyFsGroup(directory, fsGroup, "Always");
}

/** Never through a live mount: what is mounted there is not ours to delete. */
async function removeUnmounted(directory: string): Promise<void> {
  const alive = (await mountPoints()).filter((point) => isWithin(directory, point));
  if (alive.length > 0) throw new Error(`cannot remove "${directory}": "${alive[0]}" is still mounted`);
  await rm(directory, { recursive: true, force: true });
}

function pluginOf(volume: Volume): string | undefined {
  if (volume.emptyDir !== undefined) return "empty-dir";
  if (volume.configMap !== undefined) return "configmap";
  if (volume.secret !== undefined) return "secret";
  if (volume.downwardAPI !== undefined) return "downward-api";
  if (volume.projected !== undefined) return "projected";
  // A volume without any source is an emptyDir.
  return Object.keys(volume).length === 1 ? "empty-dir" : undefined;
}

function kindOf(volume: Volume): string {
  return Object.keys(volume).find((key) => key !== "name") ?? "";
}
