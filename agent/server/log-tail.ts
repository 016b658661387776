import type { FileHandle } from "node:fs/promises";
import { isDockerLine, maxHeadBytes, parseLogLine } from "./log-line.ts";

const blockBytes = 64 * 1024;
/** Longest entry of Docker's that is looked at; a longer one counts as the end of a line. */
const maxDockerBytes = 1024 * 1024;
const lineFeed = 0x0a;

/**
 * Where the last lines of a log start. The file is read backwards, no more of it than these lines take. What
 * counts are whole lines, not the entries that a runtime cuts a long one into: the first byte that is shown is
 * the first of a line.
 * @param count of lines; one that has no end yet counts too.
 */
export async function tailStart(handle: FileHandle, count: number): Promise<number> {
  const { size } = await handle.stat();
  if (count === 0) return size;
  let seen = 0;
  for await (const entry of entriesBackward(handle, size)) {
    const isLast = entry.end === size;
    // The last entry is part of a line, whether it ends that line or not.
    if (isLast) seen += 1;
    else if (await endsLine(handle, entry)) {
      if (seen === count) return entry.end;
      seen += 1;
    }
  }
  return 0;
}

/** One entry of the file: its place, its line feed included, and its bytes if they happened to be at hand. */
interface Entry {
  readonly start: number;
  readonly end: number;
  readonly bytes: Buffer | undefined;
}

async function* entriesBackward(handle: FileHandle, size: number): AsyncGenerator<Entry, void, undefined> {
  const block = Buffer.alloc(blockBytes);
  let entryEnd = size;
  for (let blockEnd = size; blockEnd > 0; ) {
    const blockStart = Math.max(0, blockEnd - blockBytes);
    const { bytesRead } = await handle.read(block, 0, blockEnd - blockStart, blockStart);
    if (bytesRead < blockEnd - blockStart) return; // the file was cut meanwhile
    // The very last line feed ends the last entry; it starts none.
    let at = lastLineFeed(block, Math.min(bytesRead, entryEnd - blockStart - 1));
    while (at >= 0) {
      const start = blockStart + at + 1;
      const isWhole = entryEnd <= blockStart + bytesRead;
      yield {
        start,
        end: entryEnd,
        bytes: isWhole ? block.subarray(at + 1, entryEnd - blockStart) : undefined,
      };
      entryEnd = start;
      at = lastLineFeed(block, at);
    }
    blockEnd = blockStart;
  }
  if (entryEnd > 0) yield { start: 0, end: entryEnd, bytes: undefined };
}

/** The last one before a place; -1 when there is none. */
function lastLineFeed(block: Buffer, before: number): number {
  return before <= 0 ? -1 : block.lastIndexOf(lineFeed, before - 1);
}

/** Whether a line ends with this entry. Nonsense counts as a line: it is left out where it is rendered. */
async function endsLine(handle: FileHandle, { start, end, bytes }: Entry): Promise<boolean> {
  const head = bytes ?? (await readAt(handle, start, Math.min(end - start, maxHeadBytes)));
  if (!isDockerLine(head)) return parseLogLine(head)?.partial !== true;
  if (end - start > maxDockerBytes) return true;
  const whole = bytes ?? (await readAt(handle, start, end - start));
  return parseLogLine(whole)?.partial !== true;
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await handle.read(buffer, 0, length, position);
  return buffer.subarray(0, bytesRead);
}
