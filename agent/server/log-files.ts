import { createReadStream, type Stats } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { createGunzip } from "node:zlib";

/** What tells files of a log apart: packing keeps the time of the last write, renaming keeps the inode. */
export type LogMark = Pick<Stats, "ino" | "dev" | "mtimeMs">;

/** One file of a log. */
export interface LogPart extends LogMark {
  readonly file: string;
  readonly isPacked: boolean;
}

/** Setting a file's time rounds it to less than this. */
const roundingMs = 0.01;

/**
 * The file that was begun next after one that was read: the one being written, or an earlier one when the reader
 * was slower than the rotation. Names do not tell: Docker moves `.1` on to `.2`, others add the time.
 * @returns undefined between a rename and the reopening: there is none yet.
 */
export async function nextPart(file: string, read: LogMark): Promise<LogPart | undefined> {
  const current = await partOf(file);
  const rotated = (await rotatedParts(file))
    .filter((part) => !isSame(part, read) && (current === undefined || !isSame(part, current)))
    .filter((part) => part.mtimeMs > read.mtimeMs + roundingMs)
    .toSorted((a, b) => a.mtimeMs - b.mtimeMs);
  return rotated[0] ?? current;
}

/** Whether two are the same file, though perhaps under another name. */
export function isSame(one: LogMark, other: LogMark): boolean {
  return one.ino === other.ino && one.dev === other.dev;
}

/** The bytes of a packed file. */
export function unpacked(file: string): AsyncIterable<Buffer> {
  const bytes = createReadStream(file);
  const text = createGunzip();
  // Whoever reads the text sees what is wrong with the bytes, and stopping to read closes the file.
  bytes.once("error", (cause) => text.destroy(cause));
  text.once("close", () => bytes.destroy());
  return bytes.pipe(text);
}

async function rotatedParts(file: string): Promise<readonly LogPart[]> {
  const prefix = `${path.basename(file)}.`;
  const folder = path.dirname(file);
  const names = (await readdir(folder)).filter((name) => name.startsWith(prefix) && !name.endsWith(".tmp"));
  const known = new Set(names);
  // While a file is being packed it is there twice.
  const once = names.filter((name) => !known.has(name.replace(/\.gz$/, "")) || !name.endsWith(".gz"));
  const parts = await Promise.all(once.map((name) => partOf(path.join(folder, name))));
  return parts.filter((part) => part !== undefined);
}

async function partOf(file: string): Promise<LogPart | undefined> {
  try {
    const { ino, dev, mtimeMs } = await stat(file);
    return { file, isPacked: file.endsWith(".gz"), ino, dev, mtimeMs };
  } catch {
    return undefined; // packed or removed since it was listed
  }
}
