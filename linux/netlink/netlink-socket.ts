import fs from "node:fs";
import { promisify } from "node:util";
import { bind, closeFd, setSocketOption, socket } from "../libc.ts";
import { decodeReplies, encodeRequest, NLM_F, type NetlinkReply, type NetlinkRequest } from "./message.ts";
import { NetlinkError } from "./netlink-error.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;

/** Messages in one send: their answers must fit the receive buffer all at once. */
const batchSize = 64;
const dumpTries = 5;
const readBytes = 256 * 1024;
const writeAsync = promisify((fd: number, data: Uint8Array, done: (cause: Error | null) => void) =>
  fs.write(fd, data, (cause) => done(cause)),
);

/** Protocols (linux/netlink.h). */
export const NETLINK = { route: 0, netfilter: 12 } as const;

/**
 * A netlink socket. It belongs for life to the network namespace it was opened in.
 *
 * The kernel works on a request inside send, so request and answer are synchronous: 10-500 µs.
 * Slow requests (a link's deletion waits 20-30 ms for an RCU grace period) go through {@link slow} instead,
 * on a thread of the pool and a descriptor of their own.
 */
export class NetlinkSocket implements Disposable {
  readonly #fd: number;
  readonly #slowFd: number;
  readonly #buffer: Buffer = Buffer.allocUnsafeSlow(readBytes);
  #sequence = 0;
  #slowTail: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** Opens a socket in the calling thread's network namespace. @throws {LibcError} */
  constructor(protocol: number = NETLINK.route) {
    this.#fd = openNetlink(protocol, 0, { blocking: false });
    this.#slowFd = openNetlink(protocol, 0, { blocking: false });
  }

  /** Asks for one change. @throws {NetlinkError} */
  change(request: NetlinkRequest): void {
    const [failure] = this.changeAll([request]);
    if (failure !== undefined) throw failure;
  }

  /**
   * Asks for many changes, in order; one that fails does not stop the rest.
   * @returns for each request its error, or undefined.
   */
  changeAll(requests: readonly NetlinkRequest[]): (NetlinkError | undefined)[] {
    const outcome: (NetlinkError | undefined)[] = [];
    for (let at = 0; at < requests.length; at += batchSize) {
      outcome.push(...this.#changeBatch(requests.slice(at, at + batchSize)));
    }
    return outcome;
  }

  /** Asks one question that has one answer. @returns its type and body. @throws {NetlinkError} */
  get(request: NetlinkRequest): { readonly type: number; readonly body: Buffer } {
    const sequence = this.#send(request, NLM_F.request);
    for (const reply of this.#replies(sequence)) {
      if (reply.kind === "data") return { type: reply.type, body: Buffer.from(reply.body) };
      throw new NetlinkError(request.doing, reply.errno, reply.detail);
    }
    throw new NetlinkError(request.doing, 5, "the kernel did not answer");
  }

  /** Asks for all of something. Asks again when it changed meanwhile. @throws {NetlinkError} */
  dump(request: NetlinkRequest): { readonly type: number; readonly body: Buffer }[] {
    for (let tries = 1; ; tries += 1) {
      const found: { type: number; body: Buffer }[] = [];
      let interrupted = false;
      const sequence = this.#send(request, NLM_F.request | NLM_F.dump);
      for (const reply of this.#replies(sequence)) {
        if (reply.kind !== "data") {
          if (reply.errno !== 0) throw new NetlinkError(request.doing, reply.errno, reply.detail);
          break;
        }
        interrupted ||= reply.interrupted;
        found.push({ type: reply.type, body: Buffer.from(reply.body) });
      }
      if (!interrupted || tries === dumpTries) return found;
    }
  }

  /** As {@link change}, without holding up the event loop; one at a time. */
  async slow(request: NetlinkRequest): Promise<void> {
    const turn = this.#slowTail.then(async () => {
      const sequence = this.#nextSequence();
      await writeAsync(this.#slowFd, encodeRequest(request, NLM_F.request | NLM_F.ack, sequence));
      const length = fs.readSync(this.#slowFd, this.#buffer);
      const reply = decodeReplies(this.#buffer.subarray(0, length)).find((one) => one.sequence === sequence);
      if (reply?.kind === "error" && reply.errno !== 0) {
        throw new NetlinkError(request.doing, reply.errno, reply.detail);
      }
    });
    this.#slowTail = turn.catch(() => undefined);
    await turn;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFd(this.#fd);
    void this.#slowTail.then(() => closeFd(this.#slowFd));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #changeBatch(requests: readonly NetlinkRequest[]): (NetlinkError | undefined)[] {
    const first = this.#sequence + 1;
    const messages = requests.map((request) =>
      encodeRequest(request, NLM_F.request | NLM_F.ack, this.#nextSequence()),
    );
    fs.writeSync(this.#fd, Buffer.concat(messages));
    const outcome: (NetlinkError | undefined)[] = requests.map(() => undefined);
    for (let open = requests.length; open > 0; ) {
      for (const reply of this.#read()) {
        const index = reply.sequence - first;
        const request = requests[index];
        if (reply.kind !== "error" || request === undefined) continue;
        open -= 1;
        if (reply.errno !== 0) outcome[index] = new NetlinkError(request.doing, reply.errno, reply.detail);
      }
    }
    return outcome;
  }

  *#replies(sequence: number): Generator<NetlinkReply, void, undefined> {
    for (;;) {
      for (const reply of this.#read()) if (reply.sequence === sequence) yield reply;
    }
  }

  #send(request: NetlinkRequest, flags: number): number {
    const sequence = this.#nextSequence();
    fs.writeSync(this.#fd, encodeRequest(request, flags, sequence));
    return sequence;
  }

  #read(): NetlinkReply[] {
    const length = fs.readSync(this.#fd, this.#buffer);
    return decodeReplies(this.#buffer.subarray(0, length));
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

/**
 * A descriptor of a netlink socket with extended acks, bound.
 * @param groups bit mask of multicast groups 1 to 32.
 */
export function openNetlink(
  protocol: number,
  groups: number,
  options: { readonly blocking: boolean },
): number {
  const fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | (options.blocking ? 0 : SOCK_NONBLOCK), protocol);
  try {
    setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, 1024 * 1024);
    const address = Buffer.alloc(12);
    address.writeUInt16LE(AF_NETLINK, 0);
    address.writeUInt32LE(groups >>> 0, 8);
    bind(fd, address);
    return fd;
  } catch (cause) {
    closeFd(fd);
    throw cause;
  }
}
