import { chmod, stat } from "node:fs/promises";
import { quantityValue } from "#api/quantity.ts";
import { makeFolder } from "#lib/make-folder.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { isFileSystemRoot, mountTmpfs } from "#linux/mount.ts";
import { applyFsGroup } from "../fs-group.ts";
import { tearDownDirectory } from "../tear-down-directory.ts";
import type { MountedVolume, VolumePlugin, VolumeRequest, VolumeSource } from "../volume-plugin.ts";

/** A directory that begins empty and ends with the Pod, on disk or in memory. */
export const emptyDirPlugin: VolumePlugin = {
  name: "kubernetes.io/empty-dir",
  refreshes: false,
  serves: (source) => emptyDirOf(source) !== undefined,
  setUp,
  tearDown: tearDownDirectory,
};

async function setUp(
  { source, place: { directory }, fsGroup }: VolumeRequest,
  signal: AbortSignal,
): Promise<MountedVolume> {
  const { medium = "", sizeLimit } = emptyDirOf(source) ?? {};
  if (medium !== "" && medium !== "Memory")
    throw new Error(`emptyDir medium "${medium}" is not supported by this node`);
  const isFresh = await stat(directory).then(
    () => false,
    (cause: unknown) => {
      if (isMissing(cause)) return true;
      throw cause;
    },
  );
  await makeFolder(directory, 0o755);
  const isMounted = await isFileSystemRoot(directory);
  const bytes = sizeLimit === undefined ? 0 : quantityValue(sizeLimit);
  if (medium === "Memory" && !isMounted)
    mountTmpfs(directory, `mode=0777${bytes === 0 ? "" : `,size=${bytes}`}`);
  // In use: its rights are the Pod's own business now.
  if (!isFresh && (medium !== "Memory" || isMounted)) return { hostPath: directory };
  await chmod(directory, 0o777);
  if (fsGroup !== undefined)
    await applyFsGroup(directory, { group: fsGroup, policy: "Always", readOnly: false }, signal);
  return { hostPath: directory };
}

function emptyDirOf(
  source: VolumeSource,
): { readonly medium?: string; readonly sizeLimit?: string } | undefined {
  if (source.from === "claim") return undefined;
  // A volume without any source is an emptyDir.
  return source.volume.emptyDir ?? (Object.keys(source.volume).length === 1 ? {} : undefined);
}
