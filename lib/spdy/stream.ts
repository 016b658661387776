import { Duplex } from "node:stream";
import type { Headers } from "./header-block.ts";

/** What a piece that waits costs beside its bytes: without it a peer could send a million pieces of one byte. */
const pieceBytes = 256;

/** How a stream reaches the session it lives in. */
export interface StreamPort {
  accept(): void;
  write(data: Buffer, callback: (error?: Error | null) => void): void;
  end(callback: (error?: Error | null) => void): void;
  reset(): void;
  done(): void;
  /** More bytes wait for the reader, or fewer. */
  waiting(bytes: number): void;
}

/** One stream of a session: its headers, and bytes both ways. Each half ends alone. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: Headers;
  readonly #port: StreamPort;
  readonly #inbox: Buffer[] = [];
  #peerEnded = false;
  #sentEnd = false;
  #lost = false;
  #wanted = false;

  constructor(id: number, headers: Headers, port: StreamPort) {
    super({ allowHalfOpen: true, autoDestroy: true });
    this.id = id;
    this.headers = headers;
    this.#port = port;
    this.on("error", () => {}); // A cut stream is the peer's right; whoever reads or writes sees it.
  }

  /** Tells the peer that its stream is taken. */
  accept(): void {
    this.#port.accept();
  }

  /** The session read this for us. */
  received(data: Buffer, fin: boolean): void {
    if (this.destroyed || this.#peerEnded) return;
    if (data.length > 0) {
      this.#inbox.push(data);
      this.#port.waiting(data.length + pieceBytes);
    }
    if (fin) this.#peerEnded = true;
    if (this.#wanted) this.#deliver();
  }

  /** The peer reset the stream or the connection is gone. */
  lost(): void {
    this.#lost = true;
    this.#peerEnded = true;
    if (this.#wanted || this.#inbox.length === 0) this.#deliver();
    this.end();
  }

  override _read(): void {
    this.#wanted = true;
    this.#deliver();
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    if (this.#lost) callback(new Error("the SPDY stream was cut by the peer"));
    else this.#port.write(chunk, callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#sentEnd = true;
    if (this.#lost) callback();
    else this.#port.end(callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    const left = this.#inbox.reduce((sum, data) => sum + data.length + pieceBytes, 0);
    this.#inbox.length = 0;
    if (left > 0) this.#port.waiting(-left);
    if (this.#lost || (this.#peerEnded && this.#sentEnd)) this.#port.done();
    else this.#port.reset();
    callback(error);
  }

  #deliver(): void {
    for (let data = this.#inbox.shift(); data !== undefined; data = this.#inbox.shift()) {
      this.#port.waiting(-data.length - pieceBytes);
      if (!this.push(data)) {
        this.#wanted = false;
        return;
      }
    }
    if (this.#peerEnded && !this.readableEnded) {
      this.#wanted = false;
      this.push(null);
    }
  }
}
