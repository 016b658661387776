import { constants, type Stats } from "node:fs";
import { chmod, chown, type FileHandle, lstat, open, opendir } from "node:fs/promises";
import type { Clock } from "#lib/clock.ts";
import { errorText } from "#lib/log.ts";
import { isMissing } from "#lib/read-if-there.ts";

const pathOnly = 0o10000000; // O_PATH: a handle on the place, whatever is there
const setgid = 0o2000;
/** A walk is said to be slow after the first, and how far it is after every second. */
const [firstMs, progressMs] = [30_000, 60_000];
const policyPage =
  "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/" +
  "#configure-volume-permission-and-ownership-change-policy-for-pods";
/** The deepest nesting that is walked: each level holds a descriptor. A path of 4096 bytes has no more than twice this. */
const deepest = 1_000;
/** It keeps every byte of a name; a name need not be UTF-8. */
const nameEncoding = "latin1";
/** Files of a directory that are looked at side by side. */
const sideBySide = 8;

/** The walk could not go on; the message names a place in the volume, and none of the node. */
class FsGroupError extends Error {
  override readonly name = "FsGroupError";
}

/** How a volume is given to a group. */
export interface FsGroup {
  readonly group: number;
  /** `OnRootMismatch` looks at the top only and stops when that is right already. */
  readonly policy: "Always" | "OnRootMismatch";
  /** The group may read only. */
  readonly readOnly: boolean;
  /** Told of a walk that takes long. */
  readonly slow?: SlowWalk;
}

/** Who hears of a walk that takes long. */
export interface SlowWalk {
  readonly clock: Clock;
  /** How the volume is called: from the Pod's uid on. */
  readonly volume: string;
  readonly say: (message: string) => void;
}

/**
 * Gives a volume to a group: every file and directory gets the group, which may read and write it (0660, directories
 * also search: 0770) or, in a read-only volume, read it (0440, 0550); directories pass the group on (setgid). Bits are
 * only added. The top comes last, so that a walk that was cut off is not taken for a whole one.
 *
 * The walk goes by descriptors and follows no link: a container that runs already and exchanges a directory for a
 * link meanwhile leads it nowhere.
 * @throws Error that names the place in the volume.
 * @see Kubernetes, "Configure volume permission and ownership change policy for Pods".
 */
export async function applyFsGroup(root: string, fsGroup: FsGroup, signal: AbortSignal): Promise<void> {
  const walk: Walk = { ...fsGroup, files: 0 };
  const stop = watch(walk);
  try {
    if (fsGroup.policy === "OnRootMismatch" && isRight(await lstat(root), fsGroup)) return;
    await using top = await open(root, pathOnly | constants.O_NOFOLLOW);
    await give({ handle: top, path: "", depth: 0 }, walk, signal);
  } finally {
    stop();
  }
}

interface Walk extends FsGroup {
  /** So many have been looked at. */
  files: number;
}

/** Says of a walk that it takes long, and how far it is, in the kubelet's words. @returns the end of it. */
function watch(walk: Walk): () => void {
  const { slow } = walk;
  if (slow === undefined) return () => undefined;
  const { clock, volume, say } = slow;
  const words = `Setting volume ownership for ${volume}`;
  const goOn = (): void => {
    say(`${words}, processed ${walk.files} files.`);
    cancel = clock.after(progressMs, goOn);
  };
  let cancel = clock.after(firstMs, () => {
    say(`${words} is taking longer than expected, consider using OnRootMismatch - ${policyPage}`);
    cancel = clock.after(progressMs, goOn);
  });
  return () => cancel();
}

interface Place {
  readonly handle: FileHandle;
  /** Below the volume; for words only. */
  readonly path: string;
  readonly depth: number;
}

/** Whether the place has the group, and the mode at least what the group needs. */
function isRight(found: Stats, { group, readOnly }: FsGroup): boolean {
  const wanted = wantedBits(found, readOnly);
  return found.gid === group && (found.mode & wanted) === wanted;
}

function wantedBits(found: Stats, readOnly: boolean): number {
  const file = readOnly ? 0o440 : 0o660;
  return found.isDirectory() ? file | 0o110 | setgid : file;
}

async function give(at: Place, walk: Walk, signal: AbortSignal): Promise<void> {
  walk.files += 1;
  const found = await at.handle.stat();
  if (found.isDirectory()) await giveEntries(at, walk, signal);
  const { group, readOnly } = walk;
  const place = `/proc/self/fd/${at.handle.fd}`; // by the handle it is this very thing, also where it is a link
  try {
    if (found.gid !== group) await chown(place, -1, group);
    // A link has no mode of its own, and what it leads to is not to be touched.
    if (found.isSymbolicLink()) return;
    const mode = (found.mode & 0o7777) | wantedBits(found, readOnly);
    // Looked at again: a new group takes the setuid bit away.
    if (((await at.handle.stat()).mode & 0o7777) !== mode) await chmod(place, mode);
  } catch (cause) {
    throw refusal(at, walk, cause);
  }
}

async function giveEntries(at: Place, walk: Walk, signal: AbortSignal): Promise<void> {
  if (at.depth >= deepest) throw refusal(at, walk, new Error(`more than ${deepest} directories deep`));
  const directory = `/proc/self/fd/${at.handle.fd}`;
  const one = async (name: string): Promise<void> => {
    await using handle = await openEntry(directory, name);
    if (handle === undefined) return;
    await give({ handle, path: `${at.path}/${name}`, depth: at.depth + 1 }, walk, signal);
  };
  const running = new Set<Promise<void>>();
  let fault: unknown;
  const begin = (name: string): void => {
    const done = one(name)
      .catch((cause: unknown) => {
        fault ??= cause;
      })
      .finally(() => running.delete(done));
    running.add(done);
  };
  try {
    for await (const entry of await opendir(directory, { encoding: nameEncoding })) {
      signal.throwIfAborted();
      if (fault !== undefined) break;
      // One directory at a time: else each level would multiply what is open.
      if (!entry.isFile()) await one(entry.name);
      else begin(entry.name);
      if (running.size >= sideBySide) await Promise.race(running);
    }
  } catch (cause) {
    fault ??= cause;
  }
  await Promise.all(running);
  if (fault !== undefined) throw refusal(at, walk, fault);
}

/** undefined for what has gone meanwhile. */
async function openEntry(directory: string, name: string): Promise<FileHandle | undefined> {
  try {
    const place = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(name, nameEncoding)]);
    return await open(place, pathOnly | constants.O_NOFOLLOW);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
}

function refusal({ path }: Place, { group }: FsGroup, cause: unknown): unknown {
  if (cause instanceof FsGroupError || (cause instanceof Error && cause.name === "AbortError")) return cause;
  const why = cause instanceof Error && "code" in cause ? String(cause.code) : errorText(cause);
  const place = path === "" ? "the volume" : `"${path.slice(1)}" of the volume`;
  return new FsGroupError(`cannot give ${place} to group ${group}: ${why}`, { cause });
}
