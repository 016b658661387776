import fs from "node:fs";
import { promisify } from "node:util";
import { closeFd, setReceiveTimeout } from "../libc.ts";
import { decodeReplies, encodeRequest, NLM_F } from "./message.ts";
import { NETLINK, openNetlink } from "./netlink-socket.ts";

/** Multicast groups of rtnetlink, as bits (linux/rtnetlink.h). */
export const RTMGRP = {
  link: 0x1,
  neighbour: 0x4,
  ipv4Address: 0x10,
  ipv4Route: 0x40,
  ipv6Address: 0x100,
  ipv6Route: 0x400,
} as const;

/** What happened in the kernel. `lost`: some messages were dropped, so the reader must look at everything. */
export type MonitorEvent =
  | { readonly type: "message"; readonly messageType: number; readonly body: Buffer }
  | { readonly type: "lost" };

const RTM_GETLINK = 18;
/** A read that blocks holds up the end of the process, so it looks up this often. */
const readTimeoutMs = 1_000;
const readAsync = promisify(
  (fd: number, buffer: Buffer, done: (cause: NodeJS.ErrnoException | null, length: number) => void) =>
    fs.read(fd, buffer, 0, buffer.length, null, (cause, length) => done(cause, length)),
);

/**
 * A subscription to rtnetlink's multicast groups in the namespace where it was opened; iterate it once.
 * It takes one thread of libuv's pool while it waits. Overflow (ENOBUFS) is an event, not an error.
 */
export class Monitor implements AsyncIterable<MonitorEvent>, Disposable {
  readonly #fd: number;
  #reading = false;
  #closed = false;

  /** Opens it now: nothing that happens from here on is missed. @param groups of {@link RTMGRP}, or-ed. */
  constructor(groups: number) {
    this.#fd = openNetlink(NETLINK.route, groups, { blocking: true });
    setReceiveTimeout(this.#fd, readTimeoutMs);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<MonitorEvent, void, undefined> {
    const buffer = Buffer.allocUnsafeSlow(256 * 1024);
    this.#reading = true;
    try {
      while (!this.#closed) {
        const length = await this.#read(buffer);
        if (this.#closed) return;
        if (length === "lost") yield { type: "lost" };
        else if (length !== "nothing") {
          for (const reply of decodeReplies(buffer.subarray(0, length))) {
            if (reply.kind !== "data") continue;
            yield { type: "message", messageType: reply.type, body: Buffer.from(reply.body) };
          }
        }
      }
    } finally {
      this.#closed = true;
      closeFd(this.#fd);
    }
  }

  /** Ends the iteration. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (!this.#reading) {
      closeFd(this.#fd);
      return;
    }
    // Asking the kernel anything on the same descriptor wakes the thread that waits in read; the loop then closes it.
    const header = Buffer.alloc(16);
    header.writeInt32LE(1, 4);
    try {
      fs.writeSync(this.#fd, encodeRequest({ doing: "wake", type: RTM_GETLINK, header }, NLM_F.request, 1));
    } catch {
      // The read's own time-out does it.
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #read(buffer: Buffer): Promise<number | "lost" | "nothing"> {
    try {
      return await readAsync(this.#fd, buffer);
    } catch (cause) {
      const code = cause instanceof Error && "code" in cause ? cause.code : "";
      if (code === "ENOBUFS") return "lost";
      if (code === "EAGAIN" || code === "EINTR") return "nothing";
      throw cause;
    }
  }
}
