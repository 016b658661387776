import type { Duplex } from "node:stream";
import { SpdySession } from "#lib/spdy/session.ts";
import type { SpdyStream } from "#lib/spdy/stream.ts";
import type { StreamLimits } from "./stream-limits.ts";
import { forwardPort, type OpenPort, parsePort } from "./port-forward.ts";

interface Pair {
  readonly streams: Map<string, SpdyStream>;
  readonly cancel: () => void;
}

/**
 * Serves port-forward on a SPDY connection: every forwarded connection is a pair of streams, `error` and `data`,
 * with the same `requestID` and `port`. Resolves when the connection has ended.
 */
export async function spdyPortForward(
  socket: Duplex,
  head: Buffer,
  openPort: OpenPort,
  { openMs }: Pick<StreamLimits, "openMs">,
): Promise<void> {
  const pairs = new Map<string, Pair>();
  const session = new SpdySession(
    socket,
    "server",
    (stream) => {
      const type = stream.headers["streamtype"] ?? "";
      const port = parsePort(stream.headers["port"] ?? "");
      if ((type !== "data" && type !== "error") || port === undefined) {
        stream.destroy();
        return;
      }
      const id = requestIdOf(stream, type);
      const pair = pairs.get(id) ?? newPair(id);
      if (pair.streams.has(type)) {
        stream.destroy();
        return;
      }
      stream.accept();
      pair.streams.set(type, stream);
      const data = pair.streams.get("data");
      const error = pair.streams.get("error");
      if (data === undefined || error === undefined) return;
      pair.cancel();
      pairs.delete(id);
      error.resume(); // Clients close their half of it at once.
      void forwardPort(data, port, openPort, (message) => error.write(message)).finally(() => error.end());
    },
    head,
  );
  const newPair = (id: string): Pair => {
    const timer = setTimeout(() => {
      const streams = pairs.get(id)?.streams;
      pairs.delete(id);
      streams?.get("data")?.destroy();
      streams?.get("error")?.end(`request ${id}: timed out waiting for streams`);
      streams?.get("error")?.resume();
    }, openMs);
    const pair = { streams: new Map<string, SpdyStream>(), cancel: () => clearTimeout(timer) };
    pairs.set(id, pair);
    return pair;
  };
  await session.closed;
  for (const pair of pairs.values()) pair.cancel();
}

/** Old clients send no requestID: they open the error stream, then the data stream, with the next id. */
function requestIdOf(stream: SpdyStream, type: string): string {
  return stream.headers["requestid"] ?? `stream-${type === "error" ? stream.id : stream.id - 2}`;
}
