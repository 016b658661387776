import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { errorText } from "#lib/log.ts";
import type { ProcessStreams } from "../runtime/runtime.ts";
import type { ProcessChannels, ProcessEnd } from "./process-channels.ts";

/**
 * Joins a process in a container with a client, until the process ends or the client leaves.
 * @param start runs the command or attaches to the container.
 */
export async function runProcess(
  channels: ProcessChannels,
  start: () => Promise<ProcessStreams>,
): Promise<void> {
  const process = await start().catch((cause: unknown) => errorText(cause));
  if (typeof process === "string") {
    await channels.finish({ state: "failed", message: process });
    return;
  }
  void channels.closed.then(() => process.close());
  channels.onResize((size) => void process.resize(size).catch(() => {}));
  if (channels.stdin !== undefined && process.stdin !== undefined) join(channels.stdin, process.stdin);
  const outputs = [joined(process.stdout, channels.stdout), joined(process.stderr, channels.stderr)];
  const end = await process.exit.then(
    (code): ProcessEnd => ({ state: "exited", code }),
    (cause: unknown): ProcessEnd => ({ state: "failed", message: errorText(cause) }),
  );
  await Promise.all(outputs);
  await channels.finish(end);
  process.close();
}

function join(from: Readable, to: Writable): void {
  from.on("error", () => to.destroy());
  to.on("error", () => from.resume()); // The process reads no more; what still comes is dropped.
  from.pipe(to);
}

/** Resolves when everything the process wrote was handed to the client, or the client is gone. */
async function joined(from: Readable | undefined, to: Writable | undefined): Promise<void> {
  if (from === undefined) return;
  if (to === undefined) {
    from.resume();
    return;
  }
  to.on("error", () => from.resume());
  from.pipe(to);
  await Promise.race([finished(to).catch(() => {}), finished(from).catch(() => {})]);
}
