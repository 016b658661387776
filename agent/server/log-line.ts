/** One entry of a container's log file. */
export interface LogLine {
  /** RFC 3339, with as many digits of a second as were written. */
  readonly time: string;
  readonly stream: "stdout" | "stderr";
  /** Whether the line goes on in the next entry of the stream. */
  readonly partial: boolean;
  /** Without the line feed that ends it. */
  readonly text: Buffer;
}

/** Longest beginning of an entry of CRI: a time, a stream and tags. */
export const maxHeadBytes = 256;

const space = 0x20;
const brace = 0x7b;
const letterP = 0x50;
const colon = 0x3a;

/**
 * Reads a line of a log file, without its line feed: CRI's `TIME STREAM TAG text`, or Docker's JSON. A line that is
 * not all there is read as far as it goes.
 * @returns undefined for what is neither: a line that a crash has cut in its beginning is left out.
 */
export function parseLogLine(line: Buffer): LogLine | undefined {
  return isDockerLine(line) ? parseDocker(line) : parseCri(line);
}

/** Docker's JSON has to be there as a whole to be read; CRI's lines can be handed on as they come. */
export function isDockerLine(line: Buffer): boolean {
  return line[0] === brace;
}

function parseCri(line: Buffer): LogLine | undefined {
  const head = line.length > maxHeadBytes ? line.subarray(0, maxHeadBytes) : line;
  const afterTime = head.indexOf(space);
  const afterStream = head.indexOf(space, afterTime + 1);
  if (afterTime < 0 || afterStream < 0) return undefined;
  const found = head.indexOf(space, afterStream + 1);
  const afterTag = found < 0 ? head.length : found;
  const stream = head.toString("latin1", afterTime + 1, afterStream);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  // Tags are separated by ":"; the first is P for a part of a line and F for its end.
  const tagEnd = head[afterStream + 2];
  const partial =
    head[afterStream + 1] === letterP && (tagEnd === undefined || tagEnd === space || tagEnd === colon);
  return {
    time: head.toString("latin1", 0, afterTime),
    stream,
    partial,
    text: line.subarray(afterTag + 1),
  };
}

function parseDocker(line: Buffer): LogLine | undefined {
  try {
    const entry: unknown = JSON.parse(line.toString("utf8"));
    if (typeof entry !== "object" || entry === null || !("log" in entry) || !("time" in entry))
      return undefined;
    const text = String(entry.log);
    const partial = !text.endsWith("\n");
    return {
      time: String(entry.time),
      stream: "stream" in entry && entry.stream === "stderr" ? "stderr" : "stdout",
      partial,
      text: Buffer.from(partial ? text : text.slice(0, -1)),
    };
  } catch {
    return undefined;
  }
}
