/** One entry of a container's log file. */
export interface LogLine {
  /** RFC 3339 with nanoseconds, as written. */
  readonly time: string;
  readonly stream: string;
  /** With its line feed, unless the entry is only part of a line. */
  readonly text: Buffer;
}

const space = 0x20;
const brace = 0x7b;
const lineFeed = Buffer.from("\n");

/**
 * Reads a line of a log file, without its line feed: CRI's `TIME STREAM TAG text`, or Docker's JSON.
 * @returns undefined for what is neither: a line cut by a crash is left out.
 */
export function parseLogLine(line: Buffer): LogLine | undefined {
  return line[0] === brace ? parseDocker(line) : parseCri(line);
}

function parseCri(line: Buffer): LogLine | undefined {
  const afterTime = line.indexOf(space);
  const afterStream = line.indexOf(space, afterTime + 1);
  const found = line.indexOf(space, afterStream + 1);
  if (afterTime < 0 || afterStream < 0) return undefined;
  const afterTag = found < 0 ? line.length : found;
  const stream = line.toString("latin1", afterTime + 1, afterStream);
  if (stream !== "stdout" && stream !== "stderr") return undefined;
  // Tags are separated by ":"; the first is P for a part of a line and F for its end.
  const partial = line.toString("latin1", afterStream + 1, afterTag).split(":")[0] === "P";
  const text = line.subarray(afterTag + 1);
  return {
    time: line.toString("latin1", 0, afterTime),
    stream,
    text: partial ? text : Buffer.concat([text, lineFeed]),
  };
}

function parseDocker(line: Buffer): LogLine | undefined {
  try {
    const entry: unknown = JSON.parse(line.toString("utf8"));
    if (typeof entry !== "object" || entry === null || !("log" in entry) || !("time" in entry))
      return undefined;
    const stream = "stream" in entry ? String(entry.stream) : "stdout";
    return { time: String(entry.time), stream, text: Buffer.from(String(entry.log)) };
  } catch {
    return undefined;
  }
}
