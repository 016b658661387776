import { randomInt } from "node:crypto";
import { createSocket } from "node:dgram";
import { connect, isIPv6 } from "node:net";
import { messageReader, withLength } from "./tcp-messages.ts";
import type { Upstream } from "./plan/upstreams.ts";

/** Questions on their way to other servers at once; one more is answered with a failure at once. */
const inFlightLimit = 512;
/** How long one server may take, in milliseconds. */
const answerMs = 2_000;

/** Asks other servers what is not ours. */
export class Forwarder {
  readonly #upstreams: readonly Upstream[];
  #inFlight = 0;

  constructor(upstreams: readonly Upstream[]) {
    this.#upstreams = upstreams;
  }

  /**
   * Passes a question on, to one server after the other until one answers.
   * @param query the message as the client sent it.
   * @returns the answer under the client's id, or undefined when nobody answered.
   */
  async ask(query: Buffer, over: "udp" | "tcp", signal: AbortSignal): Promise<Buffer | undefined> {
    if (this.#inFlight >= inFlightLimit) return undefined;
    this.#inFlight += 1;
    try {
      for (const upstream of this.#upstreams) {
        const answered = await this.#askOne(query, upstream, over, signal).catch(() => undefined);
        signal.throwIfAborted();
        if (answered !== undefined) return answered;
      }
      return undefined;
    } finally {
      this.#inFlight -= 1;
    }
  }

  async #askOne(
    query: Buffer,
    upstream: Upstream,
    over: "udp" | "tcp",
    signal: AbortSignal,
  ): Promise<Buffer> {
    // An id and a port of its own for every question: an answer nobody asked for has to guess both (RFC 5452).
    const id = randomInt(0x1_0000);
    const sent = Buffer.from(query);
    sent.writeUInt16BE(id, 0);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
    const answered =
      over === "udp" ? await askUdp(sent, upstream, limit) : await askTcp(sent, upstream, limit);
    const own = Buffer.from(answered);
    own.writeUInt16BE(query.readUInt16BE(0), 0);
    return own;
  }
}

async function askUdp(query: Buffer, upstream: Upstream, signal: AbortSignal): Promise<Buffer> {
  const socket = createSocket(isIPv6(upstream.address) ? "udp6" : "udp4");
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  socket.on("error", reject);
  socket.on("message", (message) => {
    if (isAnswerTo(message, query)) resolve(message);
  });
  try {
    // Connected, so that only this server's packets arrive.
    socket.connect(upstream.port, upstream.address, () => socket.send(query));
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
    socket.close();
  }
}

async function askTcp(query: Buffer, upstream: Upstream, signal: AbortSignal): Promise<Buffer> {
  const socket = connect({ host: upstream.address, port: upstream.port });
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const stop = (): void => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const read = messageReader((message) => {
    if (isAnswerTo(message, query)) resolve(message);
  });
  socket.on("error", reject);
  socket.on("data", read);
  socket.on("close", () => reject(new Error("the server closed the connection")));
  try {
    socket.write(withLength(query));
    return await promise;
  } finally {
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}

/** The same id, marked as an answer. */
function isAnswerTo(message: Buffer, query: Buffer): boolean {
  return (
    message.length >= 12 &&
    message.readUInt16BE(0) === query.readUInt16BE(0) &&
    (message.readUInt8(2) & 0x80) !== 0
  );
}
