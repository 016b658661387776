import { randomBytes } from "node:crypto";
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import path from "node:path";
import type { VolumeFiles } from "../plan/volume-files.ts";

/** Who may read the files besides their owner. */
export interface Ownership {
  /** Group of every file; its members may read what the owner may. */
  readonly fsGroup: number | undefined;
  /** Owner of the files. */
  readonly uid: number | undefined;
}

/**
 * Makes a directory show these files, all at once: readers see the old set or the new one, never a mixture.
 * Files stand in a dated directory, `..data` links to it, and each top-level name links through `..data`.
 * @returns whether anything was written.
 */
export async function writeAtomically(
  directory: string,
  files: VolumeFiles,
  ownership: Ownership,
): Promise<boolean> {
  const data = path.join(directory, "..data");
  const current = await readlink(data).catch(() => undefined);
  if (current !== undefined && (await isSame(path.join(directory, current), files))) return false;
  const stamp = `..${new Date().toISOString().slice(0, 19).replace(/[-T:]/g, "_")}.${randomBytes(4).readUInt32LE()}`;
  const fresh = path.join(directory, stamp);
  await mkdir(fresh, { mode: 0o755 });
  await chmod(fresh, 0o755);
  for (const [name, file] of files) {
    const target = path.join(fresh, name);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, file.data);
    const mode = ownership.fsGroup === undefined ? file.mode : file.mode | ((file.mode & 0o700) >> 3);
    if (ownership.fsGroup !== undefined || ownership.uid !== undefined) {
      await chown(target, ownership.uid ?? 0, ownership.fsGroup ?? 0);
    }
    await chmod(target, mode); // after chown, which clears bits; and whatever the umask is
  }
  const temporary = path.join(directory, "..data_tmp");
  await rm(temporary, { force: true });
  await symlink(stamp, temporary);
  await rename(temporary, data);
  await linkTopLevel(directory, files);
  if (current !== undefined) await rm(path.join(directory, current), { recursive: true, force: true });
  return true;
}

async function linkTopLevel(directory: string, files: VolumeFiles): Promise<void> {
  const wanted = new Set([...files.keys()].map((name) => name.split("/")[0] ?? name));
  for (const name of wanted) {
    const link = path.join(directory, name);
    if ((await lstat(link).catch(() => undefined)) === undefined)
      await symlink(path.join("..data", name), link);
  }
  for (const name of await readdir(directory)) {
    if (!name.startsWith("..") && !wanted.has(name)) await unlink(path.join(directory, name));
  }
}

async function isSame(directory: string, files: VolumeFiles): Promise<boolean> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return false;
  const present = entries.filter((entry) => entry.isFile());
  if (present.length !== files.size) return false;
  for (const [name, file] of files) {
    const bytes = await readFile(path.join(directory, name)).catch(() => undefined);
    if (bytes === undefined || !bytes.equals(file.data)) return false;
  }
  return true;
}
