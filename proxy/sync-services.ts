import { backoffMs } from "#lib/backoff.ts";
import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { WriteReport } from "./apply/iptables/rule-writer.ts";
import type { ProxyMode } from "./apply/mode.ts";
import { type ServicePort, servicePortKey } from "./model.ts";
import type { ServiceWatch } from "./observe/service-watch.ts";

/** One port before and after a sync; undefined: it was not, or is not, there. */
export interface PortChange {
  readonly before: ServicePort | undefined;
  readonly after: ServicePort | undefined;
}

/** What a finished sync tells to whoever measures, answers health checks, and cleans up flows. */
export interface SyncDone {
  readonly report: WriteReport;
  readonly changes: readonly PortChange[];
  readonly all: ReadonlyMap<string, ServicePort>;
  readonly triggers: readonly number[];
  readonly tookMs: number;
}

/** What the loop works with. */
export interface SyncPorts {
  readonly watch: ServiceWatch;
  readonly mode: ProxyMode;
  readonly clock: Clock;
  readonly log: Log;
  /** A change waits to be written. */
  readonly queued: () => void;
  readonly done: (done: SyncDone, signal: AbortSignal) => Promise<void>;
  readonly failed: (cause: unknown) => void;
}

/** Times in milliseconds. */
export interface SyncTimes {
  /** Shortest time from the end of one write to the start of the next. */
  readonly minSyncMs: number;
  /** How often our rules are looked for in the kernel; also the longest wait after a failure. */
  readonly syncPeriodMs: number;
}

/**
 * Writes what changed, as long as the signal allows. The first change is written at once; what comes in the
 * meantime is written together. A write that took long is followed by a rest of twice that time, so that
 * a storm of changes leaves most of the lock and of a core to others.
 */
export async function syncServices(ports: SyncPorts, times: SyncTimes, signal: AbortSignal): Promise<void> {
  const { watch, mode, clock, log } = ports;
  const applied = new Map<string, ServicePort>();
  const keysOf = new Map<string, readonly string[]>();
  await watch.synced(signal);
  watch.markAll();
  let failures = 0;
  // A write is owed although no Service is dirty: the first one, and one that failed after a flush.
  let owed = true;
  let nextCheck = clock.monotonicMs() + times.syncPeriodMs;
  while (!signal.aborted) {
    if (!owed) await untilDirty(watch, clock, nextCheck - clock.monotonicMs(), signal);
    if (signal.aborted) break;
    const started = clock.monotonicMs();
    const dirty = watch.take();
    try {
      if (started >= nextCheck) {
        nextCheck = started + times.syncPeriodMs;
        const missing = await mode.missing(signal);
        if (missing !== undefined) {
          log.warn("rules were taken away; writing all of them again", { missing });
          mode.forget();
          owed = true;
        } else if (!owed && dirty.services.size === 0) continue;
      } else if (!owed && dirty.services.size === 0) continue;
      ports.queued();
      const next = collect(dirty.services, watch, keysOf);
      const report = await mode.sync(next.changes, watch.node, signal);
      const changes = [...next.changes].map(([key, after]) => ({ before: applied.get(key), after }));
      for (const [service, keys] of next.keys) {
        if (keys.length === 0) keysOf.delete(service);
        else keysOf.set(service, keys);
      }
      for (const [key, port] of next.changes) {
        if (port === undefined) applied.delete(key);
        else applied.set(key, port);
      }
      const tookMs = clock.monotonicMs() - started;
      failures = 0;
      owed = false;
      if (report.kind !== "nothing")
        log.info("wrote rules", { mode: mode.name, ...report, tookMs: Math.round(tookMs) });
      await ports.done({ report, changes, all: applied, triggers: dirty.triggers, tookMs }, signal);
      await clock.sleep(Math.max(times.minSyncMs, 2 * tookMs), signal);
    } catch (cause) {
      if (signal.aborted) break;
      watch.putBack(dirty.services);
      failures += 1;
      ports.failed(cause);
      const waitMs = backoffMs(failures, { firstMs: 100, maxMs: Math.max(100, times.syncPeriodMs) });
      log.error("cannot write rules", { mode: mode.name, cause: errorText(cause), retryInMs: waitMs });
      await clock.sleep(waitMs, signal).catch(() => undefined);
    }
  }
}

function collect(
  services: ReadonlySet<string>,
  watch: ServiceWatch,
  keysOf: ReadonlyMap<string, readonly string[]>,
): {
  readonly changes: ReadonlyMap<string, ServicePort | undefined>;
  readonly keys: ReadonlyMap<string, readonly string[]>;
} {
  const changes = new Map<string, ServicePort | undefined>();
  const keys = new Map<string, readonly string[]>();
  for (const service of services) {
    for (const key of keysOf.get(service) ?? []) changes.set(key, undefined);
    const ports = watch.ports(service);
    keys.set(service, ports.map(servicePortKey));
    for (const port of ports) changes.set(servicePortKey(port), port);
  }
  return { changes, keys };
}

/** Resolves when something is dirty, when the time is up, or when the signal is aborted. */
async function untilDirty(watch: ServiceWatch, clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = clock.after(Math.max(0, ms), resolve);
  const leave = watch.onDirty(resolve);
  const abort = (): void => resolve();
  signal.addEventListener("abort", abort, { once: true });
  try {
    await promise;
  } finally {
    signal.removeEventListener("abort", abort);
    stop();
    leave();
  }
}
