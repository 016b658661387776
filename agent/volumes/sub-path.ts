import { chmodSync, closeSync, constants, mkdirSync, openSync, readlinkSync } from "node:fs";
import { lstat, mkdir, realpath, stat, writeFile } from "node:fs/promises";
import path from "node:path";
import { isMissing } from "#lib/read-if-there.ts";
import { bindMount, isWithin, mountPoints } from "#linux/mount.ts";

const pathOnly = 0o10000000; // O_PATH: a handle on the place, without opening what is there

/**
 * Binds a part of a volume to a place of its own, so that nothing the Pod does to its volume afterwards,
 * such as a symbolic link in the right moment, leads the mount elsewhere.
 * @param target where to bind; made here, a directory or a file as the source is.
 * @throws Error when the path leads out of the volume.
 */
export async function bindSubPath(volume: string, subPath: string, target: string): Promise<void> {
  if ((await mountPoints()).includes(target)) return;
  const root = await realpath(volume);
  const { mode } = await stat(root);
  const fd = openWithin(root, await resolveWithin(root, subPath), mode & 0o7777);
  try {
    const source = readlinkSync(`/proc/self/fd/${fd}`);
    if (!isWithin(root, source)) throw new Error(`subPath "${subPath}" leads out of the volume`);
    if ((await stat(`/proc/self/fd/${fd}`)).isDirectory())
      await mkdir(target, { recursive: true, mode: 0o750 });
    else {
      await mkdir(path.dirname(target), { recursive: true, mode: 0o750 });
      if ((await lstat(target).catch(() => undefined)) === undefined)
        await writeFile(target, "", { mode: 0o640 });
    }
    bindMount(`/proc/self/fd/${fd}`, target);
  } finally {
    closeSync(fd);
  }
}

/** Names below the root with every link followed that stays inside; what does not exist yet is kept as written. */
export async function resolveWithin(root: string, subPath: string): Promise<readonly string[]> {
  const parts = subPath.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new Error(`subPath "${subPath}" must not contain '..'`);
  for (let length = parts.length; length >= 0; length -= 1) {
    const real = await realpath(path.join(root, ...parts.slice(0, length))).catch(() => undefined);
    if (real === undefined) continue;
    if (!isWithin(root, real)) throw new Error(`subPath "${subPath}" leads out of the volume`);
    return [...path.relative(root, real).split("/"), ...parts.slice(length)].filter((part) => part !== "");
  }
  return parts;
}

/**
 * Walks down without following links.
 * @param mode of directories that are missing and made; undefined to make none.
 * @returns a descriptor to close.
 */
export function openWithin(root: string, parts: readonly string[], mode: number | undefined): number {
  let at = openSync(root, pathOnly | constants.O_DIRECTORY);
  for (const part of parts) {
    const next = `/proc/self/fd/${at}/${part}`;
    let fd: number;
    try {
      fd = openSync(next, pathOnly | constants.O_NOFOLLOW);
    } catch (cause) {
      if (mode === undefined || !isMissing(cause)) throw cause;
      mkdirSync(next, { mode });
      fd = openSync(next, pathOnly | constants.O_NOFOLLOW);
      // The umask took bits away: a container that is not root could not write where it can in the volume itself.
      chmodSync(`/proc/self/fd/${fd}`, mode);
    } finally {
      closeSync(at);
    }
    at = fd;
  }
  return at;
}
