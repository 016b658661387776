import { isDockerLine, type LogLine, maxHeadBytes, parseLogLine } from "./log-line.ts";
import type { LogOptions } from "./log-options.ts";

/** Longest entry of Docker's: it cuts lines at 16 KiB, of which JSON can make six times as much. */
const maxDockerBytes = 1024 * 1024;
const lineFeedByte = 0x0a;
const lineFeed = Buffer.from("\n");

/** An entry that is handed on while it comes. */
interface OpenEntry {
  readonly chosen: boolean;
  readonly partial: boolean;
}

/**
 * Makes a reader's text of the bytes of a log file. It holds no more than the beginning of one entry (Docker: one
 * entry), however long lines are, and remembers whether the last one was only part of a line.
 */
export class LogRenderer {
  readonly #options: Pick<LogOptions, "timestamps" | "sinceMs">;
  readonly #stream: LogLine["stream"] | undefined;
  #held: Buffer = Buffer.alloc(0);
  #open: OpenEntry | undefined;
  #atStart = true;

  constructor(options: Pick<LogOptions, "timestamps" | "sinceMs" | "stream">) {
    this.#options = options;
    this.#stream = options.stream === "All" ? undefined : options.stream === "Stdout" ? "stdout" : "stderr";
  }

  /** The text of what came next in the file. */
  push(chunk: Buffer): Buffer {
    const bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const parts: Buffer[] = [];
    let start = 0;
    for (let end = bytes.indexOf(lineFeedByte); end >= 0; end = bytes.indexOf(lineFeedByte, start)) {
      if (this.#open === undefined) this.#render(bytes.subarray(start, end), parts);
      else this.#go(this.#open, bytes.subarray(start, end), parts);
      if (this.#open !== undefined) this.#close(this.#open, parts);
      start = end + 1;
    }
    const rest = bytes.subarray(start);
    this.#held = Buffer.alloc(0);
    if (this.#open !== undefined) this.#go(this.#open, rest, parts);
    else if (isDockerLine(rest)) this.#hold(rest, maxDockerBytes);
    else if (rest.length > maxHeadBytes) this.#render(rest, parts);
    else this.#hold(rest, maxHeadBytes);
    return Buffer.concat(parts);
  }

  /**
   * The text of an entry that nobody will finish: its writer died.
   * @param more whether other text comes after it, from the next file.
   */
  end(more: boolean): Buffer {
    const parts: Buffer[] = [];
    if (this.#held.length > 0) this.#render(this.#held, parts);
    const cut = this.#open !== undefined && this.#open.chosen && !this.#open.partial;
    if (cut && more) parts.push(lineFeed);
    this.#atStart = this.#atStart || cut;
    this.forget();
    return Buffer.concat(parts);
  }

  /** Drops an entry whose end will not come: its file was emptied. */
  forget(): void {
    this.#held = Buffer.alloc(0);
    this.#open = undefined;
  }

  #hold(rest: Buffer, limit: number): void {
    if (rest.length > limit) this.#open = { chosen: false, partial: true };
    else this.#held = Buffer.from(rest); // a copy: the block that it came in is read into again
  }

  /** Begins an entry, and leaves it open. */
  #render(line: Buffer, parts: Buffer[]): void {
    const entry = parseLogLine(line);
    if (entry === undefined || !this.#isChosen(entry)) {
      this.#open = { chosen: false, partial: true };
      return;
    }
    if (this.#options.timestamps && this.#atStart) parts.push(Buffer.from(`${fullTime(entry.time)} `));
    this.#open = { chosen: true, partial: entry.partial };
    this.#atStart = false;
    parts.push(entry.text);
  }

  #go(entry: OpenEntry, text: Buffer, parts: Buffer[]): void {
    if (entry.chosen) parts.push(text);
  }

  #close(entry: OpenEntry, parts: Buffer[]): void {
    this.#open = undefined;
    if (!entry.chosen || entry.partial) return;
    parts.push(lineFeed);
    this.#atStart = true;
  }

  #isChosen(entry: LogLine): boolean {
    if (this.#stream !== undefined && entry.stream !== this.#stream) return false;
    return this.#options.sinceMs === undefined || !(Date.parse(entry.time) < this.#options.sinceMs);
  }
}

/** kubelet writes nine digits of a second, whatever the runtime wrote. */
function fullTime(time: string): string {
  const found = /^([^.Zz+]*T[\d:]+)(?:\.(\d+))?(.*)$/.exec(time);
  if (found === null) return time;
  const [, seconds = "", fraction = "", zone = ""] = found;
  return `${seconds}.${fraction.padEnd(9, "0").slice(0, 9)}${zone}`;
}
