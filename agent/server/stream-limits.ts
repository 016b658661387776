import { Socket } from "node:net";
import type { Duplex } from "node:stream";

/** How long streams may keep us waiting, in milliseconds. */
export interface StreamLimits {
  /** kubelet's streamingConnectionIdleTimeout: no byte either way; 0 for no limit. */
  readonly idleMs: number;
  /** From the upgrade to the last of the streams that belong together. */
  readonly openMs: number;
}

/** kubelet's. */
export const defaultStreamLimits: StreamLimits = { idleMs: 4 * 3_600_000, openMs: 30_000 };

/**
 * Cuts a connection over which nothing goes any more. Pings count as kubelet counts them: a client that sends some
 * is there. One that neither reads nor writes is cut too, however much waits for it.
 */
export function limitIdle(socket: Duplex, { idleMs }: StreamLimits): void {
  if (socket instanceof Socket && idleMs > 0) socket.setTimeout(idleMs, () => socket.destroy());
}
