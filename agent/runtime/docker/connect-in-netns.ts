import { once } from "node:events";
import { Socket } from "node:net";
import { socket } from "#linux/libc.ts";
import { inNetns } from "#linux/netns.ts";
import { RuntimeError } from "../runtime.ts";

const family = { v4: 2, v6: 10 } as const;
/** SOCK_STREAM, SOCK_NONBLOCK and SOCK_CLOEXEC */
const streamSocket = 1 | 0o4000 | 0o2_000_000;

/**
 * Connects to a port on the loopback of another network namespace. A socket belongs to the namespace it was made in
 * for life, so only its making happens in there; no helper process is needed.
 * @throws {RuntimeError} when nothing listens on `127.0.0.1` nor `[::1]`.
 */
export async function connectInNetns(netns: string, port: number, signal: AbortSignal): Promise<Socket> {
  try {
    return await connect(netns, family.v4, "127.0.0.1", port, signal);
  } catch (first) {
    try {
      return await connect(netns, family.v6, "::1", port, signal);
    } catch {
      const why = first instanceof Error ? first.message : String(first);
      throw new RuntimeError("failed", `cannot connect to port ${port} in "${netns}": ${why}`, {
        cause: first,
      });
    }
  }
}

async function connect(
  netns: string,
  domain: number,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  const fd = inNetns(netns, () => socket(domain, streamSocket, 0));
  // Not read before it is connected; the type of `manualStart` is missing, its meaning is net.Server's own.
  const connection = new Socket({ fd, manualStart: true, allowHalfOpen: true } as { readonly fd: number });
  connection.connect(port, host);
  try {
    await once(connection, "connect", { signal });
    return connection;
  } catch (cause) {
    connection.destroy();
    throw cause;
  }
}
