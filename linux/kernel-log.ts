import { closeSync, constants, openSync, readSync } from "node:fs";
import { seekToEnd } from "./libc.ts";

/** A record of the log is at most this long (include/linux/printk.h, PRINTK_MESSAGE_MAX and what is put before it). */
const recordBytes = 8_192;

/**
 * What the kernel says from now on, a line for each record. Reading never waits: /dev/kmsg is opened so that it answers
 * EAGAIN where there is nothing new.
 * @see https://docs.kernel.org/admin-guide/abi-testing.html `/dev/kmsg`
 */
export class KernelLog {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(recordBytes);

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** @throws Error where there is no such log, or it is not for us (CAP_SYSLOG). */
  static open(file: string = "/dev/kmsg"): KernelLog {
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      seekToEnd(fd);
      return new KernelLog(fd);
    } catch (cause) {
      closeSync(fd);
      throw cause;
    }
  }

  /** The lines since the last call. @param limit the most of them; the others come with the next call. */
  read(limit: number): readonly string[] {
    const lines: string[] = [];
    for (let tries = 0; tries < 2 * limit && lines.length < limit; tries += 1) {
      try {
        const bytes = readSync(this.#fd, this.#buffer);
        if (bytes === 0) break;
        lines.push(lineOf(this.#buffer.toString("utf8", 0, bytes)));
      } catch (cause) {
        const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
        if (code === "EAGAIN") break;
        // Records were overwritten before we read them: the next read goes on behind the gap.
        if (code !== "EPIPE") throw cause;
      }
    }
    return lines;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** `6,339,5140900,-;message`, then lines of properties that begin with a space. */
function lineOf(record: string): string {
  const [head = ""] = record.split("\n");
  return head.slice(head.indexOf(";") + 1);
}
