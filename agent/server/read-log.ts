import { watch } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import path from "node:path";
import type { Clock } from "#lib/clock.ts";
import { parseLogLine } from "./log-line.ts";
import type { LogOptions } from "./log-options.ts";

const blockBytes = 64 * 1024;
/** Longest entry; runtimes split lines at 16 KiB, Docker's JSON can make six times of it. */
const maxLineBytes = 1024 * 1024;
/** How often a followed file is looked at when no change is told. */
const lookMs = 1_000;
const lineFeed = 0x0a;

/**
 * Reads a container's log, in blocks, never the file as a whole. With `follow` it goes on, through rotations,
 * until `isRunning` says no and everything was read.
 * @throws ENOENT when there is no file.
 */
export async function* readLog(
  file: string,
  options: LogOptions,
  isRunning: () => boolean,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const render = lineRenderer(options);
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let handle = await open(file, "r");
  try {
    let position = options.tailLines === undefined ? 0 : await tailStart(handle, options.tailLines);
    let rest: Buffer = Buffer.alloc(0);
    const block = Buffer.alloc(blockBytes);
    while (!signal.aborted) {
      // Asked before reading: what is written between the question and the read is read.
      const running = isRunning();
      const { bytesRead } = await handle.read(block, 0, block.length, position);
      if (bytesRead > 0) {
        position += bytesRead;
        const { lines, remainder } = splitLines(Buffer.concat([rest, block.subarray(0, bytesRead)]));
        rest = remainder.length > maxLineBytes ? Buffer.alloc(0) : remainder;
        const text = Buffer.concat(lines.map(render)).subarray(0, left);
        left -= text.length;
        if (text.length > 0) yield text;
        if (left <= 0) return;
        continue;
      }
      if (!options.follow) return;
      const next = await nextFile(file, handle, position);
      if (next === "same") {
        if (!running) return;
        await somethingWritten(file, clock, signal);
      } else if (next === "more") {
        continue;
      } else if (next === "truncated") {
        position = 0;
        rest = Buffer.alloc(0);
      } else {
        await handle.close();
        handle = next;
        position = 0;
        rest = Buffer.alloc(0);
      }
    }
  } finally {
    await handle.close();
  }
}

/** Where the last `count` lines start. Reads backwards. */
async function tailStart(handle: FileHandle, count: number): Promise<number> {
  const { size } = await handle.stat();
  if (count === 0) return size;
  const block = Buffer.alloc(blockBytes);
  let seen = 0;
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - blockBytes);
    const { bytesRead } = await handle.read(block, 0, end - start, start);
    if (bytesRead === 0) return 0;
    for (let index = bytesRead - 1; index >= 0; index -= 1) {
      // The very last line feed ends the last line; it starts none.
      if (block[index] !== lineFeed || start + index === size - 1) continue;
      seen += 1;
      if (seen === count) return start + index + 1;
    }
    end = start;
  }
  return 0;
}

/** The file now under that name: the runtime was told to reopen its log after the old one was renamed. */
async function nextFile(
  file: string,
  handle: FileHandle,
  position: number,
): Promise<FileHandle | "same" | "more" | "truncated"> {
  try {
    const [now, held] = await Promise.all([stat(file), handle.stat()]);
    if (now.ino !== held.ino || now.dev !== held.dev) {
      // Something may have been written between our last read and the rename.
      return held.size > position ? "more" : await open(file, "r");
    }
    return now.size < position ? "truncated" : "same";
  } catch {
    return "same"; // Between the rename and the reopening there is no file.
  }
}

/** Resolves when something in the log's directory changed, or after a while: hints can be lost. */
async function somethingWritten(file: string, clock: Clock, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // Docker's log is behind a link: what changes is the directory it points into.
  const directory = path.dirname(await realpath(file).catch(() => file));
  const watcher = watch(directory, { persistent: false }, () => resolve());
  watcher.on("error", () => resolve());
  const cancel = clock.after(lookMs, resolve);
  const stop = (): void => resolve();
  signal.addEventListener("abort", stop, { once: true });
  await promise;
  signal.removeEventListener("abort", stop);
  cancel();
  watcher.close();
}

function splitLines(bytes: Buffer): { readonly lines: Buffer[]; readonly remainder: Buffer } {
  const lines: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(lineFeed); end >= 0; end = bytes.indexOf(lineFeed, start)) {
    lines.push(bytes.subarray(start, end));
    start = end + 1;
  }
  return { lines, remainder: Buffer.from(bytes.subarray(start)) };
}

/** Chooses and writes lines as asked. It remembers whether the last one was only part of a line. */
function lineRenderer(options: LogOptions): (line: Buffer) => Buffer {
  const none = Buffer.alloc(0);
  let atStart = true;
  return (line) => {
    const entry = parseLogLine(line);
    if (entry === undefined) return none;
    if (options.stream !== "All" && entry.stream !== options.stream.toLowerCase()) return none;
    if (options.sinceMs !== undefined && Date.parse(entry.time) < options.sinceMs) return none;
    const prefixed = options.timestamps && atStart;
    atStart = entry.text.at(-1) === lineFeed;
    return prefixed ? Buffer.concat([Buffer.from(`${entry.time} `), entry.text]) : entry.text;
  };
}
