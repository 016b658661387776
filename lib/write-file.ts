import { randomBytes } from "node:crypto";
import { chmod, open, rename, rm } from "node:fs/promises";
import path from "node:path";

/**
 * Writes a file in a folder that exists, so that a reader sees the old text or the new one, never half, and a power cut leaves either.
 * @param mode permission bits, such as 0o600 for keys.
 * @throws Error that names the file.
 */
export async function writeFileAtomically(file: string, text: string, mode: number): Promise<void> {
  const temporary = path.join(
    path.dirname(file),
    `.${path.basename(file)}.${randomBytes(4).toString("hex")}`,
  );
  try {
    await using handle = await open(temporary, "wx", mode);
    await handle.writeFile(text);
    await handle.sync();
    await chmod(temporary, mode); // the process's umask took bits away from `open`
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw new Error(`cannot write "${file}"; check that its folder exists and is writable`, { cause });
  }
}
