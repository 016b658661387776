import { readFile } from "node:fs/promises";

/**
 * The file's text, or undefined when there is none.
 * @throws Error that names the file, for every other fault.
 */
export async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new Error(`cannot read "${file}"; check its owner and mode`, { cause });
  }
}

/** True for "no such file or directory". */
export function isMissing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}
