import { randomBytes } from "node:crypto";
import {
  chmod,
  chown,
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

/** What the group of a volume may do with files that are the agent's: read them. Directories it may search. */
const groupBits = { file: 0o440, directory: 0o2550 } as const;

/**
 * Makes a directory show these files, all at once: readers see the old set or the new one, never a mixture.
 * Files stand in a dated directory, `..data` links to it, and each top-level name links through `..data`.
 * What an agent that died on the way has left is finished or taken away.
 * @param fsGroup the volume's group, which may read every file whatever its mode.
 * @returns whether the files have changed.
 */
export async function writeAtomically(
  directory: string,
  files: VolumeFiles,
  fsGroup: number | undefined,
): Promise<boolean> {
  const data = path.join(directory, "..data");
  const current = await readlink(data).catch(() => undefined);
  const isNew = current === undefined || !(await isSame(path.join(directory, current), files));
  const shown = isNew ? await writeSet(directory, files, fsGroup) : current;
  await linkTopLevel(directory, files);
  for (const name of await readdir(directory))
    if (name.startsWith("..") && name !== "..data" && name !== shown)
      await rm(path.join(directory, name), { recursive: true, force: true });
  return isNew;
}

/** @returns the name of the dated directory. */
async function writeSet(directory: string, files: VolumeFiles, fsGroup: number | undefined): Promise<string> {
  const stamp = `..${new Date().toISOString().slice(0, 19).replace(/[-T:]/g, "_")}.${randomBytes(4).readUInt32LE()}`;
  const fresh = path.join(directory, stamp);
  const folders = new Set([fresh]);
  await mkdir(fresh, { mode: 0o755 });
  for (const [name, { data, mode, owner }] of files) {
    const target = path.join(fresh, name);
    for (let above = path.dirname(target); above !== fresh; above = path.dirname(above)) folders.add(above);
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 });
    await writeFile(target, data, { mode: 0o600 }); // nobody reads it before its mode is set
    await own(target, { mode, owner, fsGroup, bits: groupBits.file });
  }
  for (const folder of folders)
    await own(folder, { mode: 0o755, owner: undefined, fsGroup, bits: groupBits.directory });
  const temporary = path.join(directory, "..data_tmp");
  await rm(temporary, { force: true });
  await symlink(stamp, temporary);
  await rename(temporary, path.join(directory, "..data"));
  return stamp;
}

interface Rights {
  readonly mode: number;
  readonly owner: number | undefined;
  readonly fsGroup: number | undefined;
  readonly bits: number;
}

async function own(file: string, { mode, owner, fsGroup, bits }: Rights): Promise<void> {
  if (owner !== undefined || fsGroup !== undefined) await chown(file, owner ?? 0, fsGroup ?? 0);
  await chmod(file, fsGroup === undefined ? mode : mode | bits); // after chown, which clears bits; and whatever the umask is
}

async function linkTopLevel(directory: string, files: VolumeFiles): Promise<void> {
  const wanted = new Set([...files.keys()].map((name) => name.split("/")[0] ?? name));
  const present = new Set((await readdir(directory)).filter((name) => !name.startsWith("..")));
  for (const name of wanted)
    if (!present.has(name)) await symlink(path.join("..data", name), path.join(directory, name));
  for (const name of present) if (!wanted.has(name)) await unlink(path.join(directory, name));
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
