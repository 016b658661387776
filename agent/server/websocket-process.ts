import type { IncomingMessage } from "node:http";
import type { Duplex, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import type { StreamOptions } from "../runtime/runtime.ts";
import { parseResize, plainStatusText, type ProcessChannels, statusText } from "./process-channels.ts";
import type { StreamLimits } from "./stream-limits.ts";
import { WebSocketChannels } from "./websocket-channels.ts";
import { upgradeToWebSocket } from "./websocket-upgrade.ts";

const protocols = [
  "v5.channel.k8s.io",
  "v4.channel.k8s.io",
  "v4.base64.channel.k8s.io",
  "channel.k8s.io",
  "base64.channel.k8s.io",
];
const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

/** Takes an exec or attach over WebSocket. */
export async function webSocketProcess(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  options: StreamOptions,
  limits: StreamLimits,
): Promise<ProcessChannels> {
  const { webSocket, protocol } = await upgradeToWebSocket(request, socket, head, protocols, limits);
  const hasStatus = protocol.startsWith("v");
  const channels = new WebSocketChannels(webSocket, protocol);
  const stdin = options.stdin ? channels.readable(channel.stdin) : undefined;
  const stdout = options.stdout ? channels.writable(channel.stdout) : undefined;
  const stderr = options.stderr ? channels.writable(channel.stderr) : undefined;
  const error = channels.writable(channel.error);
  // The first size of a terminal comes before its process has started.
  const resizes = options.tty ? channels.readable(channel.resize) : undefined;
  channels.greet(options.stdout ? channel.stdout : options.stderr ? channel.stderr : channel.error);
  return {
    stdin,
    stdout,
    stderr,
    closed: channels.closed,
    onResize: (listener) => {
      resizes?.on("data", (message: Buffer) => {
        const size = parseResize(message.toString("utf8"));
        if (size !== undefined) listener(size);
      });
    },
    finish: async (end) => {
      await Promise.all([ended(stdout), ended(stderr)]);
      const text = hasStatus ? statusText(end) : plainStatusText(end);
      if (text !== "") error.write(text);
      await ended(error);
      channels.close();
    },
  };
}

async function ended(stream: Writable | undefined): Promise<void> {
  if (stream === undefined || stream.destroyed) return;
  stream.end();
  await finished(stream).catch(() => {});
}
