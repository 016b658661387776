import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { errorText, type Log } from "#lib/log.ts";
import type { Endpoint } from "../../model.ts";
import type { Balancer } from "./balancer.ts";

/** One try per entry, each with another endpoint; milliseconds. */
const dialTimeoutsMs = [1_000, 2_000, 4_000, 8_000] as const;

/** An open listener of one port. */
export interface PortListener {
  readonly proxyPort: number;
  /** Takes no more connections; those that flow go on, until `kill` is given. */
  close(how?: "kill"): void;
  /** The endpoints changed. */
  endpointsChanged(): void;
}

/** What a listener works with. */
export interface ListenerPorts {
  readonly balancer: Balancer;
  readonly log: Log;
  /** Connections or UDP clients at once; more are turned away. */
  readonly maxConnections: number;
}

/** Listens on a port the kernel chooses and joins each connection to an endpoint. */
export async function listenTcp(address: string, ports: ListenerPorts): Promise<PortListener> {
  const open = new Set<Socket>();
  // Half-open: one side may have said all it has to say while the other still sends.
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) => {
    open.add(client);
    client.once("close", () => open.delete(client));
    client.on("error", () => client.destroy());
    serve(client, ports).catch((cause: unknown) => {
      ports.log.debug("connection closed", { cause: errorText(cause) });
      client.destroy();
    });
  });
  server.maxConnections = ports.maxConnections;
  server.on("drop", () => ports.log.warn("connection turned away", { maxConnections: ports.maxConnections }));
  await listening(server, address);
  // EMFILE and the like: the next accept may succeed, and the process must not end for it.
  server.on("error", (cause) => ports.log.error("cannot accept", { cause: errorText(cause) }));
  return {
    proxyPort: (server.address() as AddressInfo).port,
    close: (how) => {
      server.close();
      if (how === "kill") for (const socket of open) socket.destroy();
    },
    endpointsChanged: () => undefined,
  };
}

async function serve(client: Socket, ports: ListenerPorts): Promise<void> {
  let last: unknown = new Error("no endpoints");
  for (const [attempt, timeoutMs] of dialTimeoutsMs.entries()) {
    const endpoint = ports.balancer.choose(client.remoteAddress ?? "", attempt > 0);
    if (endpoint === undefined || client.destroyed) break;
    try {
      return join(client, await dial(endpoint, timeoutMs));
    } catch (cause) {
      last = cause;
    }
  }
  throw last;
}

/** Both directions, each with back-pressure and each ended on its own. */
function join(client: Socket, backend: Socket): void {
  backend.on("error", () => client.destroy());
  client.once("close", () => backend.destroy());
  backend.once("close", () => client.destroySoon());
  client.pipe(backend);
  backend.pipe(client);
  client.resume();
}

function dial(endpoint: Endpoint, timeoutMs: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket = connect({ host: endpoint.ip, port: endpoint.port, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(
    () => socket.destroy(new Error(`no answer from "${endpoint.ip}" in ${timeoutMs} ms`)),
    timeoutMs,
  );
  socket.once("error", (cause) => {
    clearTimeout(timer);
    reject(cause);
  });
  socket.once("connect", () => {
    clearTimeout(timer);
    resolve(socket);
  });
  return promise;
}

function listening(server: Server, address: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen({ host: address, port: 0, backlog: 511 }, () => {
    server.removeListener("error", reject);
    resolve();
  });
  return promise;
}
