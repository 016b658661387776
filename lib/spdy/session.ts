import type { Duplex } from "node:stream";
import {
  formatData,
  formatGoAway,
  formatPing,
  formatReset,
  formatSynReply,
  formatSynStream,
} from "./frames.ts";
import { type Frame, FrameParser, resetStatus } from "./frames.ts";
import { HeaderReader, HeaderWriter, type Headers } from "./header-block.ts";
import { SpdyStream } from "./stream.ts";

/** Bytes nobody has read yet, over all streams of a session; above it the connection is not read further. */
const maxUnreadBytes = 1024 * 1024;
/** Bytes of resets and answers to pings that the peer has not taken; above it the connection is not read further. */
const maxUnsentReplyBytes = 64 * 1024;
/** How long a peer that broke the protocol may take to read that it did. */
const farewellMs = 1_000;
/** How long a peer may keep its half of a connection that has ended. */
const closingMs = 10_000;
/** Streams open at one time: a browser behind a port-forward opens dozens. */
const maxStreams = 1_024;
/** Largest DATA frame sent. */
const maxDataBytes = 32 * 1024;

/**
 * One SPDY/3.1 connection after its HTTP upgrade, either end.
 *
 * Kubernetes' clients neither keep nor update windows (they ignore WINDOW_UPDATE), so the limit on what is
 * buffered is the connection itself: it is not read while too much waits for slow streams.
 */
export class SpdySession {
  readonly #socket: Duplex;
  readonly #role: "server" | "client";
  readonly #onStream: (stream: SpdyStream) => void;
  readonly #headerReader = new HeaderReader();
  readonly #headerWriter = new HeaderWriter();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #replies = new Map<number, PromiseWithResolvers<void>>();
  #nextId: number;
  #lastPeerId = 0;
  #unreadBytes = 0;
  #unsentReplyBytes = 0;
  #room: PromiseWithResolvers<void> | undefined;
  #closing = false;
  /** Resolves when the connection has ended, however it did. */
  readonly closed: Promise<void>;

  /**
   * @param onStream called with every stream the peer opens; it accepts by {@link SpdyStream.accept} or resets.
   * @param head bytes that came with the upgrade.
   */
  constructor(
    socket: Duplex,
    role: "server" | "client",
    onStream: (stream: SpdyStream) => void,
    head: Uint8Array = new Uint8Array(),
  ) {
    this.#socket = socket;
    this.#role = role;
    this.#onStream = onStream;
    this.#nextId = role === "server" ? 2 : 1;
    if (head.length > 0) socket.unshift(Buffer.from(head));
    socket.on("error", () => {}); // The read loop sees it and ends the session.
    socket.on("close", () => this.#room?.resolve());
    this.closed = this.#run();
  }

  /** Opens a stream and waits until the peer has accepted it. */
  async open(headers: Headers): Promise<SpdyStream> {
    if (this.#closing) throw new Error("cannot open a SPDY stream: the session is closed");
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = this.#stream(id, headers, true);
    const reply = Promise.withResolvers<void>();
    this.#replies.set(id, reply);
    this.#socket.write(formatSynStream(id, this.#headerWriter.write(headers), false));
    await reply.promise;
    return stream;
  }

  /** Says GOAWAY, sends what is written, and ends the connection. */
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    const socket = this.#socket;
    if (!socket.writable) return;
    socket.end(formatGoAway(this.#lastPeerId), () => {
      // A peer that has everything ends the connection too. Not at once: a reset could overtake what it has not read.
      const timer = setTimeout(() => socket.destroy(), closingMs);
      timer.unref();
      socket.once("close", () => clearTimeout(timer));
    });
  }

  /** Cuts the connection. */
  destroy(): void {
    this.#closing = true;
    this.#socket.destroy();
  }

  async #run(): Promise<void> {
    const parser = new FrameParser();
    let broken = false;
    try {
      for await (const chunk of this.#socket.iterator({ destroyOnReturn: false })) {
        try {
          for (const frame of parser.push(Buffer.from(chunk as Uint8Array))) await this.#receive(frame);
        } catch {
          broken = true;
          break;
        }
        while (this.#isFull() && !this.#socket.destroyed) {
          this.#room = Promise.withResolvers();
          await this.#room.promise;
        }
      }
    } catch {
      // A broken connection and one that speaks nonsense end alike: every stream is cut.
    } finally {
      this.#closing = true;
      this.#headerReader.close();
      const gone = new Error("the SPDY connection has ended");
      for (const reply of this.#replies.values()) reply.reject(gone);
      for (const stream of this.#streams.values()) stream.lost();
      this.#streams.clear();
      if (broken && this.#socket.writable) this.#sayBroken();
      else this.#socket.destroy();
    }
  }

  /** Too much waits for slow streams, or for a peer that asks and does not read the answers. */
  #isFull(): boolean {
    return this.#unreadBytes > maxUnreadBytes || this.#unsentReplyBytes > maxUnsentReplyBytes;
  }

  #sayBroken(): void {
    const socket = this.#socket;
    const timer = setTimeout(() => socket.destroy(), farewellMs);
    timer.unref();
    socket.once("close", () => clearTimeout(timer));
    socket.end(formatGoAway(this.#lastPeerId, 1), () => socket.destroy());
  }

  async #receive(frame: Frame): Promise<void> {
    switch (frame.type) {
      case "data": {
        const stream = this.#streams.get(frame.streamId);
        if (stream !== undefined) stream.received(frame.data, frame.fin);
        else if (!frame.fin && frame.streamId > this.#lastPeerId)
          this.#send(formatReset(frame.streamId, resetStatus.protocolError));
        return;
      }
      case "syn-stream": {
        // A client's streams are odd, a server's even: with another's number it would take that one's place.
        if ((frame.streamId % 2 === 1) !== (this.#role === "server"))
          throw new Error(`cannot read SPDY: stream ${frame.streamId} is not the peer's to open`);
        const headers = await this.#headerReader.read(frame.block);
        if (this.#closing || this.#streams.size >= maxStreams || frame.streamId <= this.#lastPeerId) {
          this.#send(formatReset(frame.streamId, resetStatus.refused));
          return;
        }
        this.#lastPeerId = frame.streamId;
        const stream = this.#stream(frame.streamId, headers, false);
        if (frame.fin) stream.received(Buffer.alloc(0), true);
        this.#onStream(stream);
        return;
      }
      case "syn-reply":
        await this.#headerReader.read(frame.block);
        this.#replies.get(frame.streamId)?.resolve();
        this.#replies.delete(frame.streamId);
        if (frame.fin) this.#streams.get(frame.streamId)?.received(Buffer.alloc(0), true);
        return;
      case "headers":
        await this.#headerReader.read(frame.block);
        if (frame.fin) this.#streams.get(frame.streamId)?.received(Buffer.alloc(0), true);
        return;
      case "reset":
        this.#replies.get(frame.streamId)?.reject(new Error("the peer refused the SPDY stream"));
        this.#replies.delete(frame.streamId);
        this.#streams.get(frame.streamId)?.lost();
        this.#streams.delete(frame.streamId);
        return;
      case "ping":
        // Odd ids are the client's: only the other end's pings are answered.
        if ((frame.id % 2 === 1) === (this.#role === "server")) this.#send(formatPing(frame.id));
        return;
      case "go-away":
        this.#closing = true;
        return;
      case "other":
        return;
      default:
        frame satisfies never;
    }
  }

  #stream(id: number, headers: Headers, accepted: boolean): SpdyStream {
    const stream = new SpdyStream(id, headers, {
      accept: () => {
        if (!accepted) this.#send(formatSynReply(id, this.#headerWriter.write({}), false));
        accepted = true;
      },
      write: (data, callback) => this.#write(id, data, callback),
      end: (callback) => this.#write(id, undefined, callback),
      reset: () => {
        this.#send(formatReset(id, accepted ? resetStatus.cancel : resetStatus.refused));
        this.#streams.delete(id);
      },
      done: () => this.#streams.delete(id),
      waiting: (bytes) => {
        this.#unreadBytes += bytes;
        if (!this.#isFull()) this.#room?.resolve();
      },
    });
    this.#streams.set(id, stream);
    return stream;
  }

  #write(id: number, data: Buffer | undefined, callback: (error?: Error | null) => void): void {
    if (!this.#socket.writable) return callback(new Error("the SPDY connection has ended"));
    if (data === undefined) {
      this.#socket.write(formatData(id, Buffer.alloc(0), true), () => callback());
      return undefined;
    }
    for (let offset = 0; offset < data.length; offset += maxDataBytes) {
      const last = offset + maxDataBytes >= data.length;
      const frame = formatData(id, data.subarray(offset, offset + maxDataBytes), false);
      // The stream goes on when the connection took this: a slow connection slows the process behind it.
      if (last) this.#socket.write(frame, () => callback());
      else this.#socket.write(frame);
    }
    if (data.length === 0) callback();
    return undefined;
  }

  #send(frame: Buffer): void {
    if (!this.#socket.writable) return;
    this.#unsentReplyBytes += frame.length;
    this.#socket.write(frame, () => {
      this.#unsentReplyBytes -= frame.length;
      if (!this.#isFull()) this.#room?.resolve();
    });
  }
}
