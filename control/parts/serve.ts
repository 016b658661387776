import type { Clock } from "#lib/clock.ts";
import type { Task } from "#lib/together.ts";
import type { ApiServer } from "../apiserver/api-server.ts";
import { type HttpServer, type ServingTls, serveHttp } from "../apiserver/http-server.ts";
import { nodeUpgrades } from "../apiserver/node-proxy/upgrade.ts";
import type { ControlConfig } from "../config.ts";
import type { User } from "../model.ts";
import type { Pki } from "../pki/pki.ts";

/** Certificates are looked at this often, in milliseconds. */
const renewalMs = 12 * 3_600_000;
/** Requests on their way get this long when the server stops, in milliseconds. */
const graceMs = 2_000;

/** What the ports are opened with. */
export interface ServePorts {
  readonly api: ApiServer;
  readonly config: ControlConfig;
  readonly pki: Pki;
  /** Renews what is due, and reads everything again. */
  readonly renew: (signal: AbortSignal) => Promise<Pki>;
  /** Who comes over the plain port. */
  readonly plainUser: User;
  readonly clock: Clock;
}

/** The API's ports. */
export interface Serving {
  /** Serves until the signal is aborted, with renewed certificates. */
  readonly run: Task;
  /** Resolves when the ports are open; rejects when they will not be. */
  readonly listening: Promise<void>;
}

/** Puts the API on its secure port, and on the plain one if that is wanted. */
export function serveApi(ports: ServePorts): Serving {
  const { api, config, clock } = ports;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  promise.catch(() => undefined); // nobody may be waiting yet when a port is taken
  const run: Task = async (signal) => {
    const servers: HttpServer[] = [];
    const upgrade = nodeUpgrades(api);
    try {
      const tls = tlsOf(ports.pki);
      const secure = await serveHttp(api, upgrade, {
        host: config.bindAddress,
        port: config.securePort,
        tls,
      });
      servers.push(secure);
      if (config.insecurePort !== 0) {
        const plain = { host: config.insecureBindAddress, port: config.insecurePort, tls: undefined };
        servers.push(await serveHttp(api, upgrade, { ...plain, plainUser: ports.plainUser }));
      }
      resolve();
      while (!signal.aborted) {
        await clock.sleep(renewalMs, signal);
        secure.reload(tlsOf(await ports.renew(signal)));
      }
    } catch (cause) {
      if (!signal.aborted) throw cause;
    } finally {
      reject(new Error("the API server does not listen"));
      await Promise.all(servers.map((server) => server.close(graceMs)));
    }
  };
  return { run, listening: promise };
}

function tlsOf(pki: Pki): ServingTls {
  return { ...pki.apiserver, clientCa: pki.ca.certificate };
}
