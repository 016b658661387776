import { chmod, lchown, lstat, readdir } from "node:fs/promises";
import path from "node:path";

/**
 * Gives a volume to a group: every file and directory, with the group's rights like the owner's and
 * directories passing the group on.
 * @param policy `OnRootMismatch` looks at the top directory only and stops when it is right already.
 */
export async function applyFsGroup(
  root: string,
  group: number,
  policy: "Always" | "OnRootMismatch",
): Promise<void> {
  if (policy === "OnRootMismatch") {
    const { gid, mode } = await lstat(root);
    if (gid === group && (mode & 0o2070) === 0o2070) return;
  }
  await give(root, group);
}

async function give(file: string, group: number): Promise<void> {
  const info = await lstat(file);
  await lchown(file, -1, group);
  if (info.isSymbolicLink()) return;
  if (!info.isDirectory()) {
    await chmod(file, (info.mode & 0o7777) | 0o660);
    return;
  }
  for (const name of await readdir(file)) await give(path.join(file, name), group);
  await chmod(file, (info.mode & 0o7777) | 0o2770);
}
