import { chmod, chown, lstat, mkdir, rename, rm } from "node:fs/promises";
import path from "node:path";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { isFileSystemRoot, mountHugePages, mountTmpfs } from "#linux/mount.ts";
import { emptyDirKind } from "../../plan/empty-dir.ts";
import { tearDownDirectory } from "../tear-down-directory.ts";
import type { MountedVolume, VolumePlugin, VolumeRequest, VolumeSource } from "../volume-plugin.ts";

/** A directory that begins empty and ends with the Pod: on disk, in memory or in huge pages. */
export const emptyDirPlugin: VolumePlugin = {
  name: "kubernetes.io/empty-dir",
  refreshes: false,
  serves: (source) => emptyDirOf(source) !== undefined,
  setUp,
  tearDown: tearDownDirectory,
};

/** Everyone's; directories in it belong to the volume's group, where it has one. */
const mode = { plain: 0o777, grouped: 0o2777 } as const;

async function setUp({
  pod,
  source,
  place: { directory },
  fsGroup,
  facts,
}: VolumeRequest): Promise<MountedVolume> {
  const kind = emptyDirKind(pod, emptyDirOf(source) ?? {}, facts.allocatable.memoryBytes);
  if (kind.kind === "disk") {
    await makeWhole(directory, fsGroup);
    return { hostPath: directory };
  }
  await makeFolder(directory, 0o755);
  // In use: its rights are the Pod's own business now.
  if (await isFileSystemRoot(directory)) return { hostPath: directory };
  // All at once, so that no agent that dies on the way leaves it half made.
  const rights = fsGroup === undefined ? octal(mode.plain) : `${octal(mode.grouped)},gid=${fsGroup}`;
  if (kind.kind === "memory")
    mountTmpfs(directory, `mode=${rights}${kind.sizeBytes === 0 ? "" : `,size=${kind.sizeBytes}`}`);
  else {
    mountHugePages(directory, kind.pageBytes, `mode=${rights}`);
    // It takes no setgid bit as an option (fs/hugetlbfs/inode.c).
    if (fsGroup !== undefined) await chmod(directory, mode.grouped);
  }
  return { hostPath: directory };
}

/** Makes the directory with all its rights, or leaves the one that is there: that is the Pod's own already. */
async function makeWhole(directory: string, fsGroup: number | undefined): Promise<void> {
  if ((await lstat(directory).catch(noneThere)) !== undefined) return;
  await makeFolder(path.dirname(directory), 0o755);
  const fresh = `${directory}.new`; // no volume is called so: a dot cannot be in its name
  await rm(fresh, { recursive: true, force: true });
  await mkdir(fresh);
  if (fsGroup !== undefined) await chown(fresh, 0, fsGroup);
  await chmod(fresh, fsGroup === undefined ? mode.plain : mode.grouped);
  await rename(fresh, directory);
}

function noneThere(cause: unknown): undefined {
  if (!isMissing(cause)) throw cause;
}

function octal(bits: number): string {
  return bits.toString(8).padStart(4, "0");
}

function emptyDirOf(
  source: VolumeSource,
): { readonly medium?: string; readonly sizeLimit?: string } | undefined {
  if (source.from === "claim") return undefined;
  // A volume without any source is an emptyDir.
  return source.volume.emptyDir ?? (Object.keys(source.volume).length === 1 ? {} : undefined);
}
