import { createSocket, type Socket } from "node:dgram";
import type { Clock } from "#lib/clock.ts";
import { errorText } from "#lib/log.ts";
import type { Endpoint } from "../../model.ts";
import type { ListenerPorts, PortListener } from "./tcp-listener.ts";

const idleMs = 10_000;

interface Session {
  readonly backend: Socket;
  readonly endpoint: Endpoint;
  usedMs: number;
  /** Packets that came before the backend socket was connected. */
  waiting: Buffer[] | undefined;
}

/** Packets kept for a backend socket that is being opened. */
const waitingLimit = 16;

/** Listens on a port the kernel chooses; each client has a socket to its endpoint until it is idle for 10 s. */
export async function listenUdp(
  address: string,
  ports: ListenerPorts & { readonly clock: Clock },
): Promise<PortListener> {
  const type = address.includes(":") ? "udp6" : "udp4";
  const server = createSocket({ type });
  const sessions = new Map<string, Session>();
  const end = (client: string): void => {
    sessions.get(client)?.backend.close();
    sessions.delete(client);
  };
  let sweep: (() => void) | undefined;
  const sweepLater = (): void => {
    // Only while there are clients: an idle proxy has no timers.
    sweep ??= ports.clock.after(idleMs / 2, () => {
      sweep = undefined;
      const now = ports.clock.monotonicMs();
      for (const [client, session] of sessions) if (now - session.usedMs >= idleMs) end(client);
      if (sessions.size > 0) sweepLater();
    });
  };

  const open = (client: string, ip: string, port: number): Session | undefined => {
    const endpoint = ports.balancer.choose(ip, false);
    if (endpoint === undefined) return undefined;
    if (sessions.size >= ports.maxConnections) {
      const oldest = sessions.keys().next().value;
      if (oldest !== undefined) end(oldest);
    }
    const backend = createSocket({ type });
    const session: Session = { backend, endpoint, usedMs: ports.clock.monotonicMs(), waiting: [] };
    sessions.set(client, session);
    sweepLater();
    backend.on("message", (message) => {
      session.usedMs = ports.clock.monotonicMs();
      server.send(message, port, ip, () => undefined);
    });
    backend.on("error", (cause) => {
      ports.log.debug("UDP endpoint refused", { endpoint: endpoint.ip, cause: errorText(cause) });
      if (sessions.get(client) === session) end(client);
    });
    backend.once("connect", () => {
      for (const message of session.waiting ?? []) backend.send(message, () => undefined);
      session.waiting = undefined;
    });
    backend.connect(endpoint.port, endpoint.ip);
    return session;
  };

  server.on("message", (message, { address: ip, port }) => {
    const client = `${ip} ${port}`;
    const session = sessions.get(client) ?? open(client, ip, port);
    if (session === undefined) return;
    session.usedMs = ports.clock.monotonicMs();
    if (session.waiting === undefined) session.backend.send(message, () => undefined);
    else if (session.waiting.length < waitingLimit) session.waiting.push(message);
  });
  await bound(server, address);
  server.on("error", (cause) => ports.log.error("cannot receive", { cause: errorText(cause) }));
  return {
    proxyPort: server.address().port,
    close: () => {
      sweep?.();
      for (const client of sessions.keys()) end(client);
      server.close();
    },
    endpointsChanged: () => {
      for (const [client, { endpoint }] of sessions) if (!ports.balancer.has(endpoint)) end(client);
    },
  };
}

function bound(server: Socket, address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.bind(0, address, () => {
    server.removeListener("error", reject);
    resolve();
  });
  return promise;
}
