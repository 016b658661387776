import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import path from "node:path";
import type { Clock } from "#lib/clock.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { DirectoryWatch } from "./directory-watch.ts";
import { isSame, type LogMark, nextPart, unpacked } from "./log-files.ts";
import type { LogOptions } from "./log-options.ts";
import { LogRenderer } from "./log-renderer.ts";
import { tailStart } from "./log-tail.ts";

const blockBytes = 64 * 1024;
/** How often a followed file is looked at when no change is told. */
const lookMs = 1_000;
/** How long a log may have no file: between its renaming and the runtime's reopening. */
const reopenMs = 2_000;
const reopenLookMs = 50;

/**
 * Reads a container's log, in blocks, never the file as a whole. With `follow` it goes on until `isRunning` says no
 * and everything was read: through rotations, also those that happened while the reader was slow, whose files
 * are packed by now. Without, it ends where the log ended when it was asked for, however fast it grows.
 * @returns its text; first an empty piece, as soon as it is open.
 * @throws ENOENT when there is no file.
 */
export async function* readLog(
  file: string,
  options: LogOptions,
  isRunning: () => boolean,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const limit = new Limit(options.limitBytes);
  for await (const text of allText(file, options, isRunning, clock, signal)) {
    yield limit.cut(text);
    if (limit.isReached) return;
  }
}

async function* allText(
  link: string,
  options: LogOptions,
  isRunning: () => boolean,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, undefined> {
  const renderer = new LogRenderer(options);
  const buffer = Buffer.alloc(blockBytes);
  let handle = await openLog(link, isRunning, clock, signal);
  try {
    yield Buffer.alloc(0);
    // Docker's log is behind a link: its siblings are in the directory it points into.
    const file = await realpath(link);
    let position = options.tailLines === undefined ? 0 : await tailStart(handle, options.tailLines);
    if (!options.follow) {
      const { size } = await handle.stat();
      for await (const block of blocks(handle, buffer, position, size)) yield renderer.push(block);
      yield renderer.end(false);
      return;
    }
    using changes = new DirectoryWatch(path.dirname(file), clock);
    while (!signal.aborted) {
      // Asked before reading: what is written between the question and the read is read.
      const running = isRunning();
      for await (const block of blocks(handle, buffer, position, Number.POSITIVE_INFINITY)) {
        position += block.length;
        yield renderer.push(block);
      }
      const found = await whatNext(file, handle, position);
      if (found === "more") continue;
      if (found === "emptied") {
        position = 0;
        renderer.forget();
      } else if (found === "rotated") {
        yield renderer.end(true);
        const next = yield* followOn(file, await handle.stat(), renderer, clock, signal);
        if (next === undefined) return; // removed with its Pod
        await handle.close(); // not before: its inode would be another file's
        handle = next;
        position = 0;
      } else if (running) {
        await changes.wait(lookMs, signal);
      } else {
        yield renderer.end(false);
        return;
      }
    }
  } finally {
    await handle.close();
  }
}

/** Reads what was packed since, and opens the file that comes next. @returns undefined when none comes any more. */
async function* followOn(
  file: string,
  last: LogMark,
  renderer: LogRenderer,
  clock: Clock,
  signal: AbortSignal,
): AsyncGenerator<Buffer, FileHandle | undefined, undefined> {
  let read = last;
  const deadline = clock.monotonicMs() + reopenMs;
  for (;;) {
    const part = await nextPart(file, read);
    if (part?.isPacked === true) {
      try {
        for await (const block of unpacked(part.file)) yield renderer.push(block);
      } catch {
        // Removed as the oldest, or cut by a crash while it was packed: what can be read of it was.
      }
      yield renderer.end(true);
      read = part;
      continue;
    }
    const handle = part && (await openIfThere(part.file));
    if (handle !== undefined && part !== undefined) {
      if (isSame(await handle.stat(), part)) return handle;
      await handle.close();
    }
    // Renamed or packed meanwhile: it has another name now.
    if (clock.monotonicMs() >= deadline) return undefined;
    await clock.sleep(reopenLookMs, signal);
  }
}

async function openIfThere(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, "r");
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
}

/** A log that is being rotated has no file for a moment. */
async function openLog(
  file: string,
  isRunning: () => boolean,
  clock: Clock,
  signal: AbortSignal,
): Promise<FileHandle> {
  const deadline = clock.monotonicMs() + reopenMs;
  while (isRunning() && clock.monotonicMs() < deadline) {
    const handle = await openIfThere(file);
    if (handle !== undefined) return handle;
    await clock.sleep(reopenLookMs, signal);
  }
  return await open(file, "r");
}

/** What is in a file from a place to another; each is good until the next is asked for. */
async function* blocks(
  handle: FileHandle,
  buffer: Buffer,
  start: number,
  end: number,
): AsyncGenerator<Buffer, void, undefined> {
  for (let position = start; position < end; ) {
    const length = Math.min(buffer.length, end - position);
    const { bytesRead } = await handle.read(buffer, 0, length, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

/** How it goes on after all of a file was read. */
async function whatNext(
  file: string,
  handle: FileHandle,
  position: number,
): Promise<"nothing" | "more" | "emptied" | "rotated"> {
  const [named, held] = await Promise.all([stat(file).catch(() => undefined), handle.stat()]);
  // Something may have been written between our last read and the rename.
  if (held.size > position) return "more";
  if (named === undefined) return "nothing"; // between the rename and the reopening there is no file
  if (!isSame(named, held)) return "rotated";
  return held.size < position ? "emptied" : "nothing";
}

/** A number of bytes after which nothing comes any more. */
class Limit {
  #left: number;

  constructor(bytes: number | undefined) {
    this.#left = bytes ?? Number.POSITIVE_INFINITY;
  }

  cut(text: Buffer): Buffer {
    const some = text.length > this.#left ? text.subarray(0, this.#left) : text;
    this.#left -= some.length;
    return some;
  }

  get isReached(): boolean {
    return this.#left <= 0;
  }
}
