import { Duplex } from "node:stream";
import { finished } from "node:stream/promises";
import type { WebSocket } from "ws";
import { forwardPort, type OpenPort } from "./port-forward.ts";
import { WebSocketChannels } from "./websocket-channels.ts";

/**
 * Serves port-forward on WebSocket channels: for the n-th `?port=` channel 2n carries data and 2n+1 errors, and
 * the first message on each is the port, two bytes, little-endian. Resolves when the connection has ended.
 */
export async function webSocketPortForward(
  webSocket: WebSocket,
  protocol: string,
  ports: readonly number[],
  openPort: OpenPort,
): Promise<void> {
  const channels = new WebSocketChannels(webSocket, protocol);
  const forwarding = ports.map(async (port, index) => {
    const toClient = channels.writable(2 * index);
    const errors = channels.writable(2 * index + 1);
    const name = Buffer.alloc(2);
    name.writeUInt16LE(port);
    toClient.write(name);
    errors.write(name);
    const client = Duplex.from({ readable: channels.readable(2 * index), writable: toClient });
    await forwardPort(client, port, openPort, (message) => errors.write(message));
    // What went wrong is still on its way: closing now would lose it.
    errors.end();
    await finished(errors).catch(() => {});
  });
  await Promise.race([channels.closed, Promise.all(forwarding)]);
  channels.close();
  await channels.closed;
}
