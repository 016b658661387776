import { PassThrough, type Readable } from "node:stream";

/**
 * Takes Docker's stream of stdout and stderr apart: frames with a header of eight bytes, the first the stream
 * (1 or 2), the last four the length. A reader that is slow on one slows both, as the process is one.
 * @see Docker Engine API, "Attach to a container", stream format.
 */
export function demultiplex(source: Readable): {
  readonly stdout: PassThrough;
  readonly stderr: PassThrough;
} {
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  void (async () => {
    let held: Buffer = Buffer.alloc(0);
    let target = stdout;
    let left = 0;
    try {
      for await (const chunk of source) {
        let bytes: Buffer = Buffer.concat([held, chunk as Buffer]);
        while (bytes.length > 0) {
          if (left === 0) {
            if (bytes.length < 8) break;
            target = bytes[0] === 2 ? stderr : stdout;
            left = bytes.readUInt32BE(4);
            bytes = bytes.subarray(8);
            continue;
          }
          const data = bytes.subarray(0, left);
          left -= data.length;
          bytes = bytes.subarray(data.length);
          if (!target.destroyed && !target.write(data)) await drained(target);
        }
        held = bytes;
      }
    } catch {
      // A cut connection ends both streams, as the end of the process does.
    }
    stdout.end();
    stderr.end();
  })();
  return { stdout, stderr };
}

function drained(stream: PassThrough): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  stream.once("drain", resolve);
  stream.once("close", resolve);
  return promise;
}
