import type { Service } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import type { Source } from "../auth/rbac-rules.ts";
import { parseIpv4 } from "./plan/ipv4-range.ts";

/** A number given out is held this long for a write that is still on its way, in milliseconds. */
const reserveMs = 5_000;
/** Writes on their way at once; more than this and the oldest promise is forgotten. */
const reserveLimit = 10_000;

/** Who has a number: a Service that is there, or a write that is on its way. */
export type Holder = { readonly state: "owned"; readonly key: string } | { readonly state: "reserved" };

/**
 * Which Service has which number (an address as a number, or a node port). Not a list that can leak: it is
 * what the Services themselves say, so a delete frees, a restart repairs, and nothing is stored twice. A number
 * that was just given out is reserved until its Service shows, or the write failed and the time is over.
 */
export class Claims {
  readonly #owners = new Map<number, Set<string>>();
  readonly #reserved = new Map<number, { readonly owner: string; readonly untilMs: number }>();
  readonly #clock: Clock;

  constructor(services: Source<Service>, numbersOf: (service: Service) => readonly number[], clock: Clock) {
    this.#clock = clock;
    services.subscribe((key, now, before) => {
      for (const number of before === undefined ? [] : numbersOf(before)) this.#remove(number, key);
      for (const number of now === undefined ? [] : numbersOf(now)) this.#add(number, key);
    });
  }

  /** Who has the number, other than `owner`; undefined when it is free for them. */
  holder(number: number, owner: string): Holder | undefined {
    for (const other of this.#owners.get(number) ?? []) {
      if (other !== owner) return { state: "owned", key: other };
    }
    const promise = this.#reserved.get(number);
    if (promise === undefined || promise.owner === owner) return undefined;
    if (promise.untilMs > this.#clock.monotonicMs()) return { state: "reserved" };
    this.#reserved.delete(number);
    return undefined;
  }

  reserve(number: number, owner: string): void {
    this.#reserved.delete(number);
    if (this.#reserved.size >= reserveLimit) {
      const oldest = this.#reserved.keys().next().value;
      if (oldest !== undefined) this.#reserved.delete(oldest);
    }
    this.#reserved.set(number, { owner, untilMs: this.#clock.monotonicMs() + reserveMs });
  }

  /** Numbers in use, for metrics. */
  get size(): number {
    return this.#owners.size;
  }

  #add(number: number, key: string): void {
    const owners = this.#owners.get(number) ?? new Set();
    this.#owners.set(number, owners.add(key));
    if (this.#reserved.get(number)?.owner === key) this.#reserved.delete(number);
  }

  #remove(number: number, key: string): void {
    const owners = this.#owners.get(number);
    owners?.delete(key);
    if (owners?.size === 0) this.#owners.delete(number);
  }
}

/** The cluster addresses of a Service. */
export function addressesOf(service: Service): readonly number[] {
  const { clusterIP = "", clusterIPs = [] } = service.spec ?? {};
  const all = clusterIPs.length > 0 ? clusterIPs : [clusterIP];
  return all.flatMap((ip) => parseIpv4(ip) ?? []);
}

/** The node ports of a Service, its health check's included. */
export function nodePortsOf(service: Service): readonly number[] {
  const { ports = [], healthCheckNodePort } = service.spec ?? {};
  const all = [...ports.map((port) => port.nodePort), healthCheckNodePort];
  return [...new Set(all.flatMap((port) => (port === undefined || port === 0 ? [] : [port])))];
}
