import { chmod, stat } from "node:fs/promises";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { isFileSystemRoot, mountHugePages, mountTmpfs } from "#linux/mount.ts";
import { emptyDirKind } from "../../plan/empty-dir.ts";
import { applyFsGroup } from "../fs-group.ts";
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

async function setUp(
  { pod, source, place: { directory }, fsGroup, slowGroup, facts }: VolumeRequest,
  signal: AbortSignal,
): Promise<MountedVolume> {
  const kind = emptyDirKind(pod, emptyDirOf(source) ?? {}, facts.allocatable.memoryBytes);
  const isFresh = await stat(directory).then(
    () => false,
    (cause: unknown) => {
      if (isMissing(cause)) return true;
      throw cause;
    },
  );
  await makeFolder(directory, 0o755);
  // In use: its rights are the Pod's own business now.
  if (kind.kind === "disk" ? !isFresh : await isFileSystemRoot(directory)) return { hostPath: directory };
  if (kind.kind === "memory")
    mountTmpfs(directory, `mode=0777${kind.sizeBytes === 0 ? "" : `,size=${kind.sizeBytes}`}`);
  if (kind.kind === "huge-pages") mountHugePages(directory, kind.pageBytes, 0o777);
  await chmod(directory, 0o777);
  if (fsGroup !== undefined)
    await applyFsGroup(
      directory,
      { group: fsGroup, policy: "Always", readOnly: false, slow: slowGroup },
      signal,
    );
  return { hostPath: directory };
}

function emptyDirOf(
  source: VolumeSource,
): { readonly medium?: string; readonly sizeLimit?: string } | undefined {
  if (source.from === "claim") return undefined;
  // A volume without any source is an emptyDir.
  return source.volume.emptyDir ?? (Object.keys(source.volume).length === 1 ? {} : undefined);
}
