import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { isMissing } from "#lib/read-if-there.ts";
import { mountPointsBelow } from "#linux/mount.ts";
import { pluginDirectory, type VolumePlace } from "./volume-plugin.ts";

/** The Pod's own directory below the agent's root. */
export function podDirectory(rootDir: string, uid: string): string {
  return path.join(rootDir, "pods", uid);
}

/** Where a volume of this plugin and name is for the Pod. */
export function volumePlace(rootDir: string, podUid: string, plugin: string, name: string): VolumePlace {
  const below = path.join(pluginDirectory(plugin), name);
  return {
    podUid,
    name,
    directory: path.join(podDirectory(rootDir, podUid), "volumes", below),
    deviceFile: path.join(podDirectory(rootDir, podUid), "volumeDevices", below),
  };
}

/** Uids of Pods that have a directory here. */
export async function podDirectories(rootDir: string): Promise<readonly string[]> {
  return namesIn(path.join(rootDir, "pods"));
}

/** The volumes that the Pod's directories tell of, each with its plugin's name. */
export async function placesOf(
  rootDir: string,
  podUid: string,
): Promise<readonly { readonly plugin: string; readonly place: VolumePlace }[]> {
  const found = new Map<string, { readonly plugin: string; readonly place: VolumePlace }>();
  for (const kind of ["volumes", "volumeDevices"]) {
    const top = path.join(podDirectory(rootDir, podUid), kind);
    for (const directory of await namesIn(top)) {
      const plugin = directory.replaceAll("~", "/");
      for (const name of await namesIn(path.join(top, directory))) {
        found.set(`${directory}/${name}`, { plugin, place: volumePlace(rootDir, podUid, plugin, name) });
      }
    }
  }
  return [...found.values()];
}

/** Removes a tree, but never through a live mount: what is mounted there is not ours to delete. */
export async function removeUnmounted(directory: string): Promise<void> {
  const [alive] = await mountPointsBelow(directory);
  if (alive !== undefined) throw new Error(`cannot remove "${directory}": "${alive}" is still mounted`);
  await rm(directory, { recursive: true, force: true });
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory);
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw cause;
  }
}
