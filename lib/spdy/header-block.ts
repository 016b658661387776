import { createInflate, type Inflate } from "node:zlib";
import { headerDictionary } from "./dictionary.ts";

/** Headers of a stream: names in lower case, several values of one name joined by NUL. */
export type Headers = Readonly<Record<string, string>>;

const maxHeaderBytes = 64 * 1024;

/** Reads header blocks of one direction of a session: they share one compression context, so order matters. */
export class HeaderReader {
  readonly #inflate: Inflate = createInflate({ dictionary: headerDictionary });

  constructor() {
    this.#inflate.on("error", () => {}); // the read under way sees it, and every later one
  }

  /**
   * @throws when the block does not decompress to headers, or to more than 64 KiB: it is given up as soon as it
   *   does, however far it would go on.
   */
  async read(block: Buffer): Promise<Headers> {
    const inflate = this.#inflate;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const parts: Buffer[] = [];
    let length = 0;
    const take = (): void => {
      for (let part: unknown = inflate.read(); Buffer.isBuffer(part); part = inflate.read()) {
        length += part.length;
        if (length > maxHeaderBytes) inflate.destroy(new Error("cannot read SPDY headers: more than 64 KiB"));
        else parts.push(part);
      }
    };
    const over = (): void => reject(new Error("cannot read SPDY headers: their compression has ended"));
    if (inflate.destroyed || inflate.readableEnded) throw new Error("cannot read SPDY headers: it is closed");
    inflate.on("readable", take).once("error", reject).once("end", over).once("close", over);
    try {
      inflate.write(block, () => resolve());
      await promise;
      take();
    } finally {
      inflate.off("readable", take).off("error", reject).off("end", over).off("close", over);
    }
    return parseHeaders(Buffer.concat(parts));
  }

  close(): void {
    this.#inflate.destroy();
  }
}

/** An empty stored block, what zlib's Z_SYNC_FLUSH ends with: Go's reader hands out nothing before it. */
const flushMark = Buffer.from([0, 0, 0, 0xff, 0xff]);

/**
 * Writes header blocks of one direction. The blocks are stored, not compressed: a valid zlib stream all the same
 * (RFC 1950, RFC 1951 section 3.2.4), written without waiting; our headers are a few dozen bytes.
 */
export class HeaderWriter {
  #started = false;

  write(headers: Headers): Buffer {
    const plain = formatHeaders(headers);
    const stored = Buffer.alloc(5);
    stored.writeUInt8(0, 0);
    stored.writeUInt16LE(plain.length, 1);
    stored.writeUInt16LE(~plain.length & 0xffff, 3);
    const start = this.#started ? [] : [Buffer.from([0x78, 0x01])];
    this.#started = true;
    return Buffer.concat([...start, stored, plain, flushMark]);
  }
}

function parseHeaders(bytes: Buffer): Headers {
  const headers: Record<string, string> = {};
  if (bytes.length === 0) return headers;
  let offset = 4;
  const text = (): string => {
    const length = bytes.readUInt32BE(offset);
    const value = bytes.toString("latin1", offset + 4, offset + 4 + length);
    offset += 4 + length;
    return value;
  };
  const count = bytes.readUInt32BE(0);
  for (let index = 0; index < count; index += 1) {
    const name = text().toLowerCase();
    headers[name] = text();
  }
  return headers;
}

function formatHeaders(headers: Headers): Buffer {
  const entries = Object.entries(headers);
  const count = Buffer.alloc(4);
  count.writeUInt32BE(entries.length);
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, "latin1");
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  return Buffer.concat([
    count,
    ...entries.flatMap(([name, value]) => [text(name.toLowerCase()), text(value)]),
  ]);
}
