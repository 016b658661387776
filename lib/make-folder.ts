import { mkdir, stat } from "node:fs/promises";
import path from "node:path";
import { isMissing } from "./read-if-there.ts";

/**
 * Makes a folder and those above it that are missing, all with `mode`. One that is there keeps its own.
 * Not `mkdir` with `recursive`: where the kernel answers ENOENT although everything above is there, as below
 * /proc, Node 24 tries for ever.
 * @throws Error whose cause is mkdir(2)'s: `EACCES`, `ENOENT` for a place where nothing can be made, `EEXIST` for
 *   a file.
 */
export async function makeFolder(folder: string, mode: number): Promise<void> {
  try {
    await make(folder, mode);
  } catch (cause) {
    throw new Error(`cannot make the folder "${folder}"; choose another place for it`, { cause });
  }
}

async function make(folder: string, mode: number): Promise<void> {
  const parent = path.dirname(folder);
  if ((await tryMake(folder, mode)) || parent === folder) return;
  await make(parent, mode);
  await mkdir(folder, { mode }).catch(async (cause: unknown) => {
    if (!(await isFolder(folder))) throw cause; // else another program was faster
  });
}

/** @returns false when the folder above is missing. */
async function tryMake(folder: string, mode: number): Promise<boolean> {
  try {
    await mkdir(folder, { mode });
    return true;
  } catch (cause) {
    if (await isFolder(folder)) return true;
    if (isMissing(cause)) return false;
    throw cause;
  }
}

async function isFolder(folder: string): Promise<boolean> {
  return await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
}
