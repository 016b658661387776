import { Readable, Writable } from "node:stream";
import type { WebSocket } from "ws";

const closeChannel = 255;

/**
 * Several byte streams over one WebSocket: the first byte of a message names the channel. The base64 variants
 * send text, the channel as a digit. In v5 the client can
 * close one channel (255, channel).
 */
export class WebSocketChannels {
  readonly #socket: WebSocket;
  readonly #base64: boolean;
  readonly #canClose: boolean;
  readonly #readers = new Map<number, Readable>();
  readonly closed: Promise<void>;

  constructor(socket: WebSocket, protocol: string) {
    this.#socket = socket;
    this.#base64 = protocol.includes("base64");
    this.#canClose = protocol.startsWith("v5");
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    socket.on("message", (data) => this.#receive(toBuffer(data)));
    // Channels are made in this turn; until then nothing may be read past them.
    setImmediate(() => socket.resume());
    socket.on("error", () => {}); // "close" follows
    socket.on("close", () => {
      for (const reader of this.#readers.values()) if (!reader.destroyed) reader.push(null);
      resolve();
    });
  }

  /** What the client sends on a channel. The whole connection waits while it is not read. */
  readable(channel: number): Readable {
    const reader = new Readable({ read: () => this.#socket.resume() });
    reader.on("error", () => {});
    this.#readers.set(channel, reader);
    return reader;
  }

  /** Sends on a channel, as fast as the connection takes it. */
  writable(channel: number): Writable {
    const writer = new Writable({
      write: (chunk: Buffer, _encoding, callback) => this.#send(channel, chunk, callback),
    });
    writer.on("error", () => {});
    return writer;
  }

  /** An empty message: Kubernetes' servers say with it that the connection is there. */
  greet(channel: number): void {
    this.#send(channel, Buffer.alloc(0), () => {});
  }

  close(): void {
    this.#socket.close(1000);
  }

  #send(channel: number, data: Buffer, callback: (error?: Error | null) => void): void {
    if (this.#socket.readyState !== this.#socket.OPEN) {
      callback(new Error("the WebSocket is closed"));
      return;
    }
    if (this.#base64) this.#socket.send(`${channel}${data.toString("base64")}`, callback);
    else this.#socket.send(Buffer.concat([Buffer.from([channel]), data]), { binary: true }, callback);
  }

  #receive(message: Buffer): void {
    const first = message[0];
    if (first === undefined) return;
    if (this.#canClose && first === closeChannel) {
      this.#end(message[1] ?? -1);
      return;
    }
    const channel = this.#base64 ? first - 0x30 : first;
    const reader = this.#readers.get(channel);
    if (reader === undefined || reader.destroyed || reader.readableEnded) return;
    const text = message.subarray(1);
    const data = this.#base64 ? Buffer.from(text.toString("latin1"), "base64") : text;
    if (data.length > 0 && !reader.push(data)) this.#socket.pause();
  }

  #end(channel: number): void {
    const reader = this.#readers.get(channel);
    this.#readers.delete(channel);
    reader?.push(null);
  }
}

function toBuffer(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}
