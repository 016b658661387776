import type { Clock } from "#lib/clock.ts";
import { type Endpoint, hostPort } from "../../model.ts";

/** Clients remembered for affinity in one port; the one not seen longest goes first. */
const stickyLimit = 65_536;

/** Chooses the endpoint of each new connection of one port: in turn, or the one a client had before. */
export class Balancer {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #sticky = new Map<string, { readonly endpoint: string; readonly usedMs: number }>();
  #endpoints: readonly Endpoint[] = [];
  #affinityMs = 0;
  #next = 0;

  /** @param random in [0, 1). */
  constructor(clock: Clock, random: () => number) {
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * Endpoints in a new random order, so that the nodes of a cluster do not all begin with the same one.
   * The same set again changes nothing. Clients of an endpoint that left are sent elsewhere.
   */
  update(endpoints: readonly Endpoint[], affinitySeconds: number): void {
    this.#affinityMs = affinitySeconds * 1_000;
    const now = new Set(endpoints.map(addressOf));
    const known = new Set(this.#endpoints.map(addressOf));
    if (now.size === known.size && now.isSubsetOf(known)) return;
    const order = [...endpoints];
    for (let last = order.length - 1; last > 0; last -= 1) {
      const other = Math.floor(this.#random() * (last + 1));
      const [a, b] = [order[last], order[other]];
      if (a !== undefined && b !== undefined) [order[last], order[other]] = [b, a];
    }
    this.#endpoints = order;
    this.#next = 0;
    for (const [client, { endpoint }] of this.#sticky) if (!now.has(endpoint)) this.#sticky.delete(client);
  }

  /**
   * @param again true when the endpoint chosen before could not be reached: affinity then does not hold.
   * @returns undefined when there is no endpoint.
   */
  choose(clientIp: string, again: boolean): Endpoint | undefined {
    const now = this.#clock.monotonicMs();
    const sticky = this.#affinityMs > 0 && !again ? this.#sticky.get(clientIp) : undefined;
    const kept =
      sticky !== undefined && now - sticky.usedMs < this.#affinityMs
        ? this.#endpoints.find((endpoint) => addressOf(endpoint) === sticky.endpoint)
        : undefined;
    const chosen = kept ?? this.#endpoints[this.#next % Math.max(1, this.#endpoints.length)];
    if (chosen === undefined) return undefined;
    if (kept === undefined) this.#next = (this.#next + 1) % this.#endpoints.length;
    if (this.#affinityMs > 0) this.#remember(clientIp, addressOf(chosen), now);
    return chosen;
  }

  /** True while the endpoint is one of those given last. */
  has(endpoint: Endpoint): boolean {
    const address = addressOf(endpoint);
    return this.#endpoints.some((other) => addressOf(other) === address);
  }

  #remember(client: string, endpoint: string, usedMs: number): void {
    this.#sticky.delete(client);
    this.#sticky.set(client, { endpoint, usedMs });
    const oldest = this.#sticky.keys().next().value;
    if (this.#sticky.size > stickyLimit && oldest !== undefined) this.#sticky.delete(oldest);
  }
}

function addressOf(endpoint: Endpoint): string {
  return hostPort(endpoint.ip, endpoint.port);
}
