import type { Clock } from "#lib/clock.ts";
import { type Log, errorText } from "#lib/log.ts";
import type { StoredObject } from "../model.ts";
import type { Engine } from "./engine.ts";
import { isRecord } from "./handlers/incoming.ts";

/** Events are forgotten this long after they last happened, as Kubernetes does by default. */
const eventLifeMs = 3_600_000;
const everyMs = 60_000;
/** Events removed in one round: a flood is worked off over several. */
const roundLimit = 5_000;

/** Forgets old events, until the signal is aborted. */
export async function expireEvents(
  engine: Engine,
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const definition = engine.registry.named("", "events");
  if (definition === undefined) return;
  while (!signal.aborted) {
    await clock.sleep(everyMs, signal).catch(() => {});
    if (signal.aborted) return;
    const cache = engine.cache.kind(definition.storagePrefix);
    const old = cache
      .list(`${definition.storagePrefix}/`)
      .filter(({ object }) => lastSeenMs(object) < clock.now() - eventLifeMs)
      .slice(0, roundLimit);
    try {
      await Promise.all(old.map(({ key, revision }) => engine.ports.store.delete(key, revision, signal)));
    } catch (cause) {
      if (!signal.aborted) log.warn("cannot forget old events", { why: errorText(cause) });
    }
  }
}

/** When the event last happened, milliseconds since the epoch. */
export function lastSeenMs(event: StoredObject): number {
  const series = isRecord(event["series"]) ? event["series"] : {};
  const times = [
    event.metadata.creationTimestamp,
    event["lastTimestamp"],
    event["eventTime"],
    series["lastObservedTime"],
  ];
  const known = times.map((time) => (typeof time === "string" ? Date.parse(time) : Number.NaN));
  return Math.max(0, ...known.filter((time) => !Number.isNaN(time)));
}
