import type { ApiClient } from "#api/client.ts";
import type { KubeObject, Resource } from "#api/meta.ts";
import { WatchCache } from "#api/watch-cache.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import { LiveTable } from "./live-table.ts";

/** What the tables need from their process. */
export interface TablesPorts {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly log: Log;
  /** In [0, 1). */
  readonly random: () => number;
}

/** Every resource that some controller reads, each watched once however many readers it has. */
export class Tables {
  readonly #ports: TablesPorts;
  readonly #tables = new Map<string, LiveTable<KubeObject>>();
  readonly #running = new Set<Promise<void>>();
  #signal: AbortSignal | undefined;

  constructor(ports: TablesPorts) {
    this.#ports = ports;
  }

  /** The table of a resource; the first to ask starts its watch (or `run` does, when it comes later). */
  of<T extends KubeObject>(resource: Resource<T>): LiveTable<T> {
    const name = `${resource.group}/${resource.plural}`;
    const found = this.#tables.get(name);
    // A registry of many types under one name each: the one place where the type is taken on trust.
    if (found !== undefined) return found as unknown as LiveTable<T>;
    const table = new LiveTable(new WatchCache(resource, {}, this.#ports), this.#ports.clock);
    this.#tables.set(name, table as unknown as LiveTable<KubeObject>);
    this.#start(table.cache);
    return table;
  }

  /** The resources whose first list has not ended yet. */
  get listing(): readonly string[] {
    return [...this.#tables].filter(([, { cache }]) => cache.view.state === "listing").map(([name]) => name);
  }

  /** Resolves when every table asked for so far has been listed once. */
  async synced(signal: AbortSignal): Promise<void> {
    await Promise.all([...this.#tables.values()].map(({ cache }) => cache.synced(signal)));
  }

  /** Watches until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const { cache } of this.#tables.values()) this.#start(cache);
    const { promise, resolve } = Promise.withResolvers<void>();
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    await Promise.all(this.#running);
  }

  #start(cache: { run(signal: AbortSignal): Promise<void> }): void {
    if (this.#signal === undefined) return;
    const running = cache.run(this.#signal).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }
}
