import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from "node:fs";
import { realpath } from "node:fs/promises";
import { isMissing } from "#lib/read-if-there.ts";
import { isWithin } from "#linux/mount.ts";
import { openWithin, resolveWithin } from "./sub-path.ts";

/**
 * A small file of a volume. The Pod writes there: no link it makes leads out, no pipe keeps us waiting, and no more
 * than `maxBytes` are read.
 * @returns undefined when there is none.
 * @throws Error for a path that leads out of the volume, for what is no file, and for a longer one.
 */
export async function readWithin(
  volume: string,
  file: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  let place: number;
  const root = await realpath(volume);
  try {
    place = openWithin(root, await resolveWithin(root, file), undefined);
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
  try {
    if (!isWithin(root, readlinkSync(`/proc/self/fd/${place}`)))
      throw new Error(`"${file}" leads out of the volume`);
    const stats = fstatSync(place);
    if (!stats.isFile()) throw new Error(`"${file}" is not a file`);
    const fd = openSync(`/proc/self/fd/${place}`, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(maxBytes + 1);
      let length = 0;
      for (let read = -1; read !== 0 && length <= maxBytes; length += read)
        read = readSync(fd, bytes, length, bytes.length - length, null);
      if (length > maxBytes) throw new Error(`"${file}" has more than ${maxBytes} bytes`);
      return bytes.subarray(0, length);
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(place);
  }
}
