import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import { errorText, type Log } from "#lib/log.ts";
import type { Resolver } from "./resolver.ts";
import { messageReader, withLength } from "./tcp-messages.ts";

/** Where names are answered. */
export interface DnsServerOptions {
  readonly address: string;
  /** 0 lets the kernel choose; UDP and TCP share it. */
  readonly port: number;
}

const connectionLimit = 256;
/** A connection that asks nothing is closed after this, in milliseconds. */
const idleMs = 10_000;
/** Questions of one connection, and over UDP altogether, that are worked on at once; more are dropped. */
const inFlightLimit = 1_024;

/**
 * Answers DNS over UDP and TCP until the signal is aborted.
 * @param listening told the port as soon as both are open.
 * @throws Error when the address or port cannot be had.
 */
export async function serveDns(
  resolver: Resolver,
  options: DnsServerOptions,
  listening: (port: number) => void,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const connections = new Set<Socket>();
  let inFlight = 0;
  const work = async (
    message: Buffer,
    over: "udp" | "tcp",
    reply: (answer: Buffer) => void,
  ): Promise<void> => {
    if (inFlight >= inFlightLimit) return;
    inFlight += 1;
    try {
      const answered = await resolver.resolve(message, over, signal);
      if (answered !== undefined && !signal.aborted) reply(answered);
    } catch (cause) {
      if (!signal.aborted) log.warn("cannot answer a DNS question", { cause: errorText(cause) });
    } finally {
      inFlight -= 1;
    }
  };
  const serve = (socket: Socket): void => {
    if (connections.size >= connectionLimit) return void socket.destroy();
    connections.add(socket);
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("close", () => connections.delete(socket));
    socket.on(
      "data",
      messageReader((message) => void work(message, "tcp", (answered) => socket.write(withLength(answered)))),
    );
  };
  let sockets: Listening | undefined;
  try {
    sockets = await listen(options, signal);
    const { udp, tcp } = sockets;
    tcp.on("connection", serve);
    udp.on("message", (message, from) => {
      void work(message, "udp", (answered) => udp.send(answered, from.port, from.address));
    });
    udp.on("error", (cause) => log.warn("DNS socket failed", { cause: errorText(cause) }));
    listening(udp.address().port);
    if (!signal.aborted) await once(signal, "abort");
  } catch (cause) {
    if (signal.aborted) return;
    throw new Error(
      `cannot serve DNS on "${options.address}:${options.port}"; choose others with --dns-address and --dns-port`,
      { cause },
    );
  } finally {
    sockets?.udp.close();
    sockets?.tcp.close();
    for (const socket of connections) socket.destroy();
  }
}

interface Listening {
  readonly udp: UdpSocket;
  readonly tcp: Server;
}

/** A port that the kernel chose for UDP may be taken over TCP: then it chooses again, a few times. */
async function listen(options: DnsServerOptions, signal: AbortSignal): Promise<Listening> {
  for (let tries = options.port === 0 ? 8 : 1; ; tries -= 1) {
    const udp = createSocket(isIPv6(options.address) ? "udp6" : "udp4");
    const tcp = createServer();
    try {
      udp.bind(options.port, options.address);
      await once(udp, "listening", { signal });
      tcp.listen(udp.address().port, options.address);
      await once(tcp, "listening", { signal });
      return { udp, tcp };
    } catch (cause) {
      udp.close();
      tcp.close();
      if (tries === 1 || signal.aborted) throw cause;
    }
  }
}
