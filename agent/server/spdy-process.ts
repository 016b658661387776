import type { IncomingMessage } from "node:http";
import type { Duplex, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { SpdySession } from "#lib/spdy/session.ts";
import type { SpdyStream } from "#lib/spdy/stream.ts";
import type { StreamOptions } from "../runtime/runtime.ts";
import {
  parseResize,
  plainStatusText,
  type ProcessChannels,
  statusText,
  wantedStreams,
} from "./process-channels.ts";
import { HttpError } from "./http-error.ts";
import type { StreamLimits } from "./stream-limits.ts";
import { upgradeToSpdy } from "./spdy-upgrade.ts";

/** Best first; v5 differs from v4 only over WebSocket. */
const protocols = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v3.channel.k8s.io",
  "v2.channel.k8s.io",
  "channel.k8s.io",
];
/** Takes an exec or attach over SPDY/3.1: answers the upgrade and waits for the streams. */
export async function spdyProcess(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: StreamOptions,
  { openMs }: Pick<StreamLimits, "openMs">,
): Promise<ProcessChannels> {
  const protocol = upgradeToSpdy(request, socket, protocols, "channel.k8s.io");
  const hasStatus = protocol.startsWith("v4") || protocol.startsWith("v5");
  const hasResize = hasStatus || protocol.startsWith("v3");
  const wanted = wantedStreams(options, hasResize);
  const streams = new Map<string, SpdyStream>();
  const complete = Promise.withResolvers<void>();
  const session = new SpdySession(
    socket,
    "server",
    (stream) => {
      const type = stream.headers["streamtype"] ?? "";
      if (!wanted.includes(type) || streams.has(type)) {
        stream.destroy();
        return;
      }
      stream.accept();
      streams.set(type, stream);
      if (streams.size === wanted.length) complete.resolve();
    },
    head,
  );
  const timer = setTimeout(
    () => complete.reject(new HttpError(408, "timed out waiting for streams")),
    openMs,
  );
  void session.closed.then(() =>
    complete.reject(new HttpError(400, "the client left before its streams came")),
  );
  try {
    await complete.promise;
  } catch (cause) {
    session.destroy();
    throw cause;
  } finally {
    clearTimeout(timer);
  }
  // Clients half-close what they only read; nothing comes on these.
  for (const name of ["error", "stdout", "stderr"]) streams.get(name)?.resume();
  return {
    stdin: streams.get("stdin"),
    stdout: streams.get("stdout"),
    stderr: streams.get("stderr"),
    closed: session.closed,
    onResize: (listener) => {
      streams.get("resize")?.on("data", (chunk: Buffer) => {
        for (const part of chunk.toString("utf8").split(/(?<=\})/)) {
          const size = parseResize(part);
          if (size !== undefined) listener(size);
        }
      });
    },
    finish: async (end) => {
      await Promise.all([ended(streams.get("stdout")), ended(streams.get("stderr"))]);
      const error = streams.get("error");
      error?.end(hasStatus ? statusText(end) : plainStatusText(end));
      await ended(error);
      session.close();
    },
  };
}

async function ended(stream: Writable | undefined): Promise<void> {
  if (stream === undefined || stream.destroyed) return;
  stream.end();
  await finished(stream, { readable: false }).catch(() => {}); // a client that left reads nothing
}
