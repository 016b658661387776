/** Longest line that is accepted, in bytes: far above the 3 MiB a Kubernetes object may have. */
const maxLineBytes = 32 * 1024 * 1024;

/**
 * The JSON values of a stream that holds one a line, as a watch does.
 * @throws when a line is not JSON or longer than 32 MiB.
 */
export async function* jsonLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<unknown, void, undefined> {
  let rest: Uint8Array[] = [];
  let restBytes = 0;
  for await (const chunk of body) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const line = Buffer.concat([...rest, chunk.subarray(from, end)]).toString("utf8");
      rest = [];
      restBytes = 0;
      from = end + 1;
      if (line.trim() !== "") yield JSON.parse(line);
    }
    if (from < chunk.length) {
      rest.push(chunk.subarray(from));
      restBytes += chunk.length - from;
      if (restBytes > maxLineBytes)
        throw new Error(`cannot read the watch: a line is longer than ${maxLineBytes} bytes`);
    }
  }
  const last = Buffer.concat(rest).toString("utf8").trim();
  if (last !== "") yield JSON.parse(last);
}
