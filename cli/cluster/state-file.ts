import { readFile, rename, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { makeFolder } from "#lib/make-folder.ts";

/** Writes a file whole or not at all, readable by its owner only unless `mode` says otherwise. */
export async function writeWhole(file: string, text: string, mode = 0o600): Promise<void> {
  await makeFolder(path.dirname(file), 0o755);
  const temporary = `${file}.${process.pid}.tmp`;
  await writeFile(temporary, text, { mode });
  await rename(temporary, file);
}

/** The file's text, or undefined when there is none. */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
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

/** True for "no such file or directory". */
export function isMissing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}
