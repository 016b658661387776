import { constants } from "node:fs";
import { open, realpath } from "node:fs/promises";
import { isMissing } from "#lib/read-if-there.ts";
import { openWithin, resolveWithin, SubPathError } from "./sub-path.ts";

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
  const root = await realpath(volume);
  await using place = await openWithin(root, await resolveWithin(root, file), {
    subPath: file,
    make: false,
  }).catch((cause: unknown) => {
    if (cause instanceof SubPathError && isMissing(cause.cause)) return undefined;
    throw cause;
  });
  if (place === undefined) return undefined;
  if (!(await place.stat()).isFile()) throw new Error(`"${file}" is not a file`);
  await using reader = await open(`/proc/self/fd/${place.fd}`, constants.O_RDONLY | constants.O_NONBLOCK);
  const bytes = Buffer.alloc(maxBytes + 1);
  let length = 0;
  for (let read = -1; read !== 0 && length <= maxBytes; length += read)
    read = (await reader.read(bytes, length, bytes.length - length, null)).bytesRead;
  if (length > maxBytes) throw new Error(`"${file}" has more than ${maxBytes} bytes`);
  return bytes.subarray(0, length);
}
