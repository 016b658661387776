import { errorText, type Log } from "#lib/log.ts";
import { parseKey } from "#api/meta.ts";
import type { ServicePort } from "../model.ts";
import { serveHttp } from "./http-server.ts";

interface Open {
  readonly port: number;
  close: () => void;
  localEndpoints: number;
}

/**
 * The servers on Services' healthCheckNodePort: a load balancer asks them whether this node has endpoints.
 * Ready endpoints that do not terminate count; it says no before the last one that terminates stops serving.
 */
export class ServiceHealth {
  readonly #open = new Map<string, Open>();
  readonly #log: Log;
  readonly #isHealthy: () => boolean;

  constructor(log: Log, isHealthy: () => boolean) {
    this.#log = log;
    this.#isHealthy = isHealthy;
  }

  /** Opens, closes and updates servers to match. A port that is taken is logged and tried again next time. */
  async update(ports: Iterable<ServicePort>): Promise<void> {
    const wanted = new Map<string, { port: number; ips: Set<string> }>();
    for (const port of ports) {
      if (port.healthCheckNodePort === 0) continue;
      const entry = wanted.get(port.service) ?? { port: port.healthCheckNodePort, ips: new Set<string>() };
      for (const endpoint of port.endpoints) if (endpoint.local && endpoint.ready) entry.ips.add(endpoint.ip);
      wanted.set(port.service, entry);
    }
    for (const [service, open] of this.#open) {
      if (wanted.get(service)?.port === open.port) continue;
      open.close();
      this.#open.delete(service);
    }
    for (const [service, { port, ips }] of wanted) {
      const known = this.#open.get(service);
      if (known !== undefined) known.localEndpoints = ips.size;
      else await this.#start(service, port, ips.size);
    }
  }

  close(): void {
    for (const { close } of this.#open.values()) close();
    this.#open.clear();
  }

  async #start(service: string, port: number, localEndpoints: number): Promise<void> {
    const open: Open = { port, close: () => undefined, localEndpoints };
    try {
      open.close = await serveHttp(`0.0.0.0:${port}`, () => this.#answer(service, open));
      this.#open.set(service, open);
    } catch (cause) {
      this.#log.error("cannot serve a Service's health check", { service, port, cause: errorText(cause) });
    }
  }

  #answer(
    service: string,
    open: Open,
  ): { code: number; body: string; contentType: string; headers: Record<string, string> } {
    const { namespace, name } = parseKey(service);
    const serviceProxyHealthy = this.#isHealthy();
    return {
      code: open.localEndpoints > 0 && serviceProxyHealthy ? 200 : 503,
      body: JSON.stringify(
        { service: { namespace, name }, localEndpoints: open.localEndpoints, serviceProxyHealthy },
        undefined,
        "\t",
      ),
      contentType: "application/json",
      headers: { "X-Load-Balancing-Endpoint-Weight": String(open.localEndpoints) },
    };
  }
}
