import { constants, type Stats } from "node:fs";
import {
  chmod,
  type FileHandle,
  lstat,
  mkdir,
  open,
  realpath,
  rmdir,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import { errorText } from "#lib/log.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { bindMount, isWithin, mountPointsBelow } from "#linux/mount.ts";
import { unmount } from "#linux/libc.ts";

const pathOnly = 0o10000000; // O_PATH: a handle on the place, without opening what is there: a FIFO holds up nobody

/** A part of a volume cannot be mounted. The message names no place outside the volume: the Pod's owner reads it. */
export class SubPathError extends Error {
  override readonly name = "SubPathError";
}

/**
 * Binds a part of a volume to a place of its own, so that nothing the Pod does to its volume afterwards,
 * such as a symbolic link in the right moment, leads the mount elsewhere. What is bound there from before stays when
 * it is the same file or directory still.
 * @param target where to bind; made here, a directory or a file as the source is.
 * @throws {SubPathError} when the path leads out of the volume or cannot be opened or made.
 */
export async function bindSubPath(volume: string, subPath: string, target: string): Promise<void> {
  const root = await realpath(volume);
  const parts = await resolveWithin(root, subPath);
  await using source = await openWithin(root, parts, { subPath, make: true });
  const found = await source.stat();
  if ((await mountPointsBelow(target)).length > 0) {
    if (isSame(found, await stat(target))) return;
    unmount(target);
  }
  await makeTarget(target, found.isDirectory());
  // The handle, not the path: it stays on what was looked at.
  bindMount(`/proc/self/fd/${source.fd}`, target);
}

/** Names below the root with every link followed that stays inside; what does not exist yet is kept as written. */
export async function resolveWithin(root: string, subPath: string): Promise<readonly string[]> {
  const parts = subPath.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..")) throw new SubPathError(`subPath "${subPath}" must not contain '..'`);
  for (let length = parts.length; length >= 0; length -= 1) {
    const real = await realpath(path.join(root, ...parts.slice(0, length))).catch(() => undefined);
    if (real === undefined) continue;
    if (!isWithin(root, real)) throw new SubPathError(`subPath "${subPath}" leads out of the volume`);
    return [...path.relative(root, real).split("/"), ...parts.slice(length)].filter((part) => part !== "");
  }
  return parts;
}

/**
 * Walks down without following links. Whoever changes the volume meanwhile, such as a container that writes to it,
 * gets a refusal and not another place.
 * @param wanted what the Pod asks for, for words; and whether directories that are missing are made, with the
 *   volume's own mode.
 * @returns a handle to close, which is good for its place and cannot read (O_PATH).
 * @throws {SubPathError} whose cause is ENOENT for what is not there.
 */
export async function openWithin(
  root: string,
  parts: readonly string[],
  { subPath, make }: { readonly subPath: string; readonly make: boolean },
): Promise<FileHandle> {
  let at = await open(root, pathOnly | constants.O_NOFOLLOW);
  try {
    const mode = make ? (await at.stat()).mode & 0o7777 : undefined;
    for (const [index, part] of parts.entries()) {
      const place = parts.slice(0, index + 1).join("/");
      const above = await at.stat();
      if (!above.isDirectory()) throw notDirectory(parts.slice(0, index).join("/"), subPath);
      const next = await step(at, part, mode).catch((cause: unknown) => {
        throw new SubPathError(`cannot open "${place}" for subPath "${subPath}": ${codeOf(cause)}`, {
          cause,
        });
      });
      await at.close();
      at = next;
      // Links were followed before: this one is new, and O_PATH holds the link itself, which a mount would follow.
      if ((await at.stat()).isSymbolicLink())
        throw new SubPathError(`"${place}" became a link while subPath "${subPath}" was opened`);
    }
    return at;
  } catch (cause) {
    await at.close();
    throw cause;
  }
}

/** Opens one name of a directory; makes it a directory where there is nothing, unless there is no mode for it. */
async function step(above: FileHandle, name: string, mode: number | undefined): Promise<FileHandle> {
  const place = `/proc/self/fd/${above.fd}/${name}`;
  try {
    return await open(place, pathOnly | constants.O_NOFOLLOW);
  } catch (cause) {
    if (mode === undefined || !isMissing(cause)) throw cause;
  }
  const isOurs = await mkdir(place, { mode }).then(
    () => true,
    (cause: unknown) => {
      if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") return false; // another was faster
      throw cause;
    },
  );
  const made = await open(place, pathOnly | constants.O_NOFOLLOW);
  // The umask took bits away: a container that is not root could not write where it can in the volume itself.
  if (isOurs && (await made.stat()).isDirectory()) await chmod(`/proc/self/fd/${made.fd}`, mode);
  return made;
}

/** What is bound has to be mounted on one of its own kind; what an earlier run left may be of the other. */
async function makeTarget(target: string, isDirectory: boolean): Promise<void> {
  await mkdir(path.dirname(target), { recursive: true, mode: 0o750 });
  const before = await lstat(target).catch(() => undefined);
  if (before?.isDirectory() === isDirectory) return;
  if (before !== undefined) await (before.isDirectory() ? rmdir(target) : unlink(target));
  if (isDirectory) await mkdir(target, { mode: 0o750 });
  else await writeFile(target, "", { mode: 0o640 });
}

function notDirectory(place: string, subPath: string): SubPathError {
  const what = place === "" ? "the volume" : `"${place}"`;
  return new SubPathError(`${what} is not a directory, as subPath "${subPath}" wants it`);
}

function isSame(one: Stats, other: Stats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

/** errno's name alone: the whole text would name descriptors and places of the node. */
function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : errorText(cause);
}
