import { open, stat } from "node:fs/promises";
import path from "node:path";
import type { HostPathVolumeSource } from "#api/generated/kubernetes.ts";
import { makeFolder } from "#lib/make-folder.ts";

/**
 * Checks, and for the OrCreate types makes, the path of a hostPath volume.
 * @throws Error in the words of the FailedMount event.
 */
export async function prepareHostPath(source: HostPathVolumeSource): Promise<void> {
  const { type = "", path: target } = source;
  if (type === "") return;
  if (type === "DirectoryOrCreate") await makeFolder(target, 0o755);
  if (type === "FileOrCreate") await touch(target);
  const found = await stat(target).catch(() => undefined);
  const kind = type.replace("OrCreate", "");
  const good =
    (kind === "Directory" && found?.isDirectory()) ||
    (kind === "File" && found?.isFile()) ||
    (kind === "Socket" && found?.isSocket()) ||
    (kind === "CharDevice" && found?.isCharacterDevice()) ||
    (kind === "BlockDevice" && found?.isBlockDevice());
  if (good !== true)
    throw new Error(`hostPath type check failed: ${target} is not a ${words[kind] ?? `"${kind}"`}`);
}

const words: Readonly<Record<string, string>> = {
  Directory: "directory",
  File: "file",
  Socket: "socket",
  CharDevice: "character device",
  BlockDevice: "block device",
};

async function touch(target: string): Promise<void> {
  if ((await stat(path.dirname(target)).catch(() => undefined)) === undefined) {
    throw new Error(`hostPath type check failed: the directory of ${target} does not exist`);
  }
  const file = await open(target, "a", 0o644);
  await file.close();
}
