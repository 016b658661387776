import { rm } from "node:fs/promises";
import path from "node:path";
import { makeFolder } from "#lib/make-folder.ts";
import { readIfThere } from "#lib/read-if-there.ts";
import { writeFileAtomically } from "#lib/write-file.ts";

/** Writes a file whole or not at all, readable by its owner only unless `mode` says otherwise. */
export async function writeWhole(file: string, text: string, mode = 0o600): Promise<void> {
  await makeFolder(path.dirname(file), 0o755);
  await writeFileAtomically(file, text, mode);
}

/** The JSON value in a file, or undefined when there is none. */
export async function readJson(file: string): Promise<unknown> {
  const source = await readIfThere(file);
  if (source === undefined) return undefined;
  try {
    return JSON.parse(source);
  } catch (cause) {
    throw new Error(`cannot read "${file}": it is not JSON; remove it if you do not know it`, { cause });
  }
}

export async function remove(file: string): Promise<void> {
  await rm(file, { recursive: true, force: true });
}
