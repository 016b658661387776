import type { Duplex } from "node:stream";

/** One side of a splice and what was read from it already. */
export interface Side {
  readonly stream: Duplex;
  readonly head: Uint8Array;
}

/**
 * Joins two connections: every byte both ways, no faster than the slower side reads, and an end on one side is
 * an end on the other. When one breaks, both are closed.
 */
export function splice(one: Side, other: Side): void {
  join(one, other.stream);
  join(other, one.stream);
}

function join(from: Side, to: Duplex): void {
  if (from.head.length > 0) to.write(from.head);
  from.stream.on("error", () => to.destroy());
  from.stream.once("close", () => {
    // After a clean end the other direction may still have something to say.
    if (!from.stream.readableEnded) to.destroy();
  });
  if ("setNoDelay" in from.stream && typeof from.stream.setNoDelay === "function")
    from.stream.setNoDelay(true);
  from.stream.pipe(to);
}
