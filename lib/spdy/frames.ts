/** One frame of SPDY/3.1, its header block still compressed. Data arrives in pieces; `fin` is on the last. */
export type Frame =
  | { readonly type: "data"; readonly streamId: number; readonly fin: boolean; readonly data: Buffer }
  | { readonly type: "syn-stream"; readonly streamId: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: "syn-reply"; readonly streamId: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: "headers"; readonly streamId: number; readonly fin: boolean; readonly block: Buffer }
  | { readonly type: "reset"; readonly streamId: number; readonly status: number }
  | { readonly type: "ping"; readonly id: number }
  | { readonly type: "go-away"; readonly lastStreamId: number; readonly status: number }
  /** SETTINGS, WINDOW_UPDATE, CREDENTIAL: read, and without effect here. */
  | { readonly type: "other"; readonly number: number };

/** Status words of RST_STREAM that are sent here. */
export const resetStatus = { protocolError: 1, refused: 3, cancel: 5 } as const;

/** A control frame is a few headers; anything larger is not meant well. */
const maxControlBytes = 256 * 1024;
const maxStreamId = 0x7fff_ffff;
const flagFin = 1;
const types = { synStream: 1, synReply: 2, reset: 3, ping: 6, goAway: 7, headers: 8 } as const;

/** Cuts a byte stream into frames. Holds at most one control frame; data is handed on as it comes. */
export class FrameParser {
  #held: Buffer = Buffer.alloc(0);
  #data: { readonly streamId: number; readonly fin: boolean; left: number } | undefined;

  /** @throws when the bytes are no SPDY/3. */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    let bytes = this.#held.length === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    for (;;) {
      if (this.#data !== undefined) {
        const { streamId, fin, left } = this.#data;
        const data = bytes.subarray(0, left);
        bytes = bytes.subarray(data.length);
        this.#data.left -= data.length;
        const ended = this.#data.left === 0;
        if (ended) this.#data = undefined;
        if (data.length > 0 || ended) yield { type: "data", streamId, fin: fin && ended, data };
        if (!ended) break;
        continue;
      }
      if (bytes.length < 8) break;
      const length = bytes.readUIntBE(5, 3);
      const flags = bytes.readUInt8(4);
      if ((bytes.readUInt8(0) & 0x80) === 0) {
        const streamId = bytes.readUInt32BE(0);
        this.#data = { streamId, fin: (flags & flagFin) !== 0, left: length };
        bytes = bytes.subarray(8);
        continue;
      }
      if (length > maxControlBytes) throw new Error(`cannot read SPDY: a control frame of ${length} bytes`);
      if (bytes.length < 8 + length) break;
      yield parseControl(
        bytes.readUInt16BE(0) & 0x7fff,
        bytes.readUInt16BE(2),
        flags,
        bytes.subarray(8, 8 + length),
      );
      bytes = bytes.subarray(8 + length);
    }
    this.#held = bytes.length === 0 ? bytes : Buffer.from(bytes);
  }
}

/** A DATA frame; 16 MiB less one byte at most. */
export function formatData(streamId: number, data: Uint8Array, fin: boolean): Buffer {
  const frame = Buffer.allocUnsafe(8 + data.length);
  frame.writeUInt32BE(streamId, 0);
  frame.writeUInt8(fin ? flagFin : 0, 4);
  frame.writeUIntBE(data.length, 5, 3);
  frame.set(data, 8);
  return frame;
}

/** SYN_STREAM: opens a stream; priority lowest, no associated stream. */
export function formatSynStream(streamId: number, block: Buffer, fin: boolean): Buffer {
  return control(types.synStream, fin, [word(streamId), word(0), Buffer.from([0, 0]), block]);
}

/** SYN_REPLY: accepts it. */
export function formatSynReply(streamId: number, block: Buffer, fin: boolean): Buffer {
  return control(types.synReply, fin, [word(streamId), block]);
}

/** RST_STREAM: ends it at once, both ways. */
export function formatReset(streamId: number, status: number): Buffer {
  return control(types.reset, false, [word(streamId), word(status)]);
}

/** PING, and the answer to one: the same frame back. */
export function formatPing(id: number): Buffer {
  return control(types.ping, false, [word(id)]);
}

/** GOAWAY: no more streams are accepted. @param status 0 for a good end, 1 when the peer broke the protocol. */
export function formatGoAway(lastStreamId: number, status: 0 | 1 = 0): Buffer {
  return control(types.goAway, false, [word(lastStreamId), word(status)]);
}

function parseControl(version: number, type: number, flags: number, body: Buffer): Frame {
  if (version !== 3) throw new Error(`cannot read SPDY: version ${version}, want 3`);
  const fin = (flags & flagFin) !== 0;
  const least: Readonly<Record<number, number>> = { 1: 10, 2: 4, 3: 8, 6: 4, 7: 4, 8: 4 };
  if (body.length < (least[type] ?? 0)) throw new Error(`cannot read SPDY: frame type ${type} is cut short`);
  const first = body.length >= 4 ? body.readUInt32BE(0) : 0;
  const streamId = first & maxStreamId;
  switch (type) {
    case types.synStream:
      return { type: "syn-stream", streamId, fin, block: body.subarray(10) };
    case types.synReply:
      return { type: "syn-reply", streamId, fin, block: body.subarray(4) };
    case types.headers:
      return { type: "headers", streamId, fin, block: body.subarray(4) };
    case types.reset:
      return { type: "reset", streamId, status: body.readUInt32BE(4) };
    case types.ping:
      return { type: "ping", id: first };
    case types.goAway:
      return { type: "go-away", lastStreamId: streamId, status: body.length >= 8 ? body.readUInt32BE(4) : 0 };
    default:
      return { type: "other", number: type };
  }
}

function control(type: number, fin: boolean, parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(8);
  head.writeUInt16BE(0x8003, 0);
  head.writeUInt16BE(type, 2);
  head.writeUInt8(fin ? flagFin : 0, 4);
  head.writeUIntBE(body.length, 5, 3);
  return Buffer.concat([head, body]);
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
