import type { Readable } from "node:stream";

/** Reads a stream to its end and keeps the first `maxBytes` of it. */
export async function collectOutput(stream: Readable, maxBytes: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    const bytes = Buffer.from(chunk as Uint8Array).subarray(0, maxBytes - length);
    length += bytes.length;
    if (bytes.length > 0) chunks.push(bytes);
  }
  return Buffer.concat(chunks, length);
}
