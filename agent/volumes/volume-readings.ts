import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import { isMissing } from "#lib/read-if-there.ts";
import { deviceStats, directoryStats } from "./directory-stats.ts";
import type { ClaimOfPod, VolumeStats } from "./volume-plugin.ts";
import type { KnownVolume } from "./volumes.ts";

/** What was last read of a Pod's volume. */
export interface VolumeReading {
  readonly podUid: string;
  /** Its name in the Pod. */
  readonly volume: string;
  /** The claim it came by. */
  readonly claim: ClaimOfPod | undefined;
  /** Wall time. */
  readonly timeMs: number;
  readonly stats: VolumeStats;
}

/** What reading volumes needs. */
export interface VolumeReadingsPorts {
  readonly clock: Clock;
  readonly log: Log;
  /** Every volume that is set up, by the Pods' uids and the volumes' names. */
  readonly volumes: () => Iterable<readonly [string, ReadonlyMap<string, KnownVolume>]>;
  /** Time between two readings of one volume; 0 for none at all. */
  readonly periodMs: number;
  /** There are other readings. */
  readonly changed: (readings: readonly VolumeReading[]) => void;
  /** A reading took this long. @param source who counted. */
  readonly took: (source: string, seconds: number) => void;
  /** A volume is not well, in the words of its driver; told once for as long as it says the same. */
  readonly abnormal: (podUid: string, volume: string, message: string) => void;
}

/** How often it is looked for volumes whose time has come. */
const lookMs = 5_000;
/** Longest that one reading holds up the others; it goes on alone, and the volume is not read again before it ends. */
const patienceMs = 10_000;

/** Sizes of volumes, each read once in a while, one after another. */
export class VolumeReadings {
  readonly #ports: VolumeReadingsPorts;
  readonly #readings = new Map<string, VolumeReading>();
  /** When each was last begun, and whether that has ended. */
  readonly #begun = new Map<string, { readonly atMs: number; isOver: boolean }>();
  readonly #said = new Map<string, string>();

  constructor(ports: VolumeReadingsPorts) {
    this.#ports = ports;
  }

  /** What is known of a Pod's volumes. */
  of(podUid: string): readonly VolumeReading[] {
    return [...this.#readings.values()].filter((reading) => reading.podUid === podUid);
  }

  /** Reads until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, periodMs } = this.#ports;
    if (periodMs === 0) return;
    while (!signal.aborted) {
      await this.pass(signal);
      await clock.sleep(lookMs, signal).catch(() => undefined);
    }
  }

  /** Reads every volume whose time has come, and forgets those that are gone. */
  async pass(signal: AbortSignal): Promise<void> {
    const { clock, volumes, periodMs, changed } = this.#ports;
    const alive = new Set<string>();
    let isChanged = false;
    for (const [podUid, known] of volumes()) {
      for (const [volume, one] of known) {
        const key = `${podUid}/${volume}`;
        alive.add(key);
        const before = this.#begun.get(key);
        const isDue = before === undefined || clock.now() - before.atMs >= periodMs;
        if (signal.aborted || !isDue || before?.isOver === false) continue;
        isChanged = true;
        await this.#readPatiently(key, { podUid, volume }, one, signal);
      }
    }
    for (const key of this.#begun.keys()) {
      if (alive.has(key)) continue;
      this.#begun.delete(key);
      this.#said.delete(key);
      isChanged = this.#readings.delete(key) || isChanged;
    }
    if (isChanged) changed([...this.#readings.values()]);
  }

  async #readPatiently(
    key: string,
    name: Pick<VolumeReading, "podUid" | "volume">,
    known: KnownVolume,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#ports;
    const begun = { atMs: clock.now(), isOver: false };
    this.#begun.set(key, begun);
    const done = this.#read(key, name, known, signal).finally(() => {
      begun.isOver = true;
    });
    const over = new AbortController();
    const late = clock.sleep(patienceMs, AbortSignal.any([signal, over.signal])).catch(() => undefined);
    await Promise.race([done, late]);
    over.abort();
  }

  /** Never throws. */
  async #read(
    key: string,
    { podUid, volume }: Pick<VolumeReading, "podUid" | "volume">,
    known: KnownVolume,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, log, abnormal, took } = this.#ports;
    const beganMs = clock.monotonicMs();
    try {
      const stats = await statsOf(known, signal);
      if (stats === undefined || !this.#begun.has(key)) return;
      if (stats.source !== undefined) took(stats.source, (clock.monotonicMs() - beganMs) / 1_000);
      const claim = known.source.from === "claim" ? known.source.claim : undefined;
      this.#readings.set(key, { podUid, volume, claim, timeMs: clock.now(), stats });
      const { condition } = stats;
      if (condition?.abnormal !== true) this.#said.delete(key);
      else if (this.#said.get(key) !== condition.message) {
        this.#said.set(key, condition.message);
        abnormal(podUid, volume, condition.message);
      }
    } catch (cause) {
      // A Pod that has ended meanwhile has no volume any more.
      if (!signal.aborted && !isMissing(cause))
        log.warn("cannot read a volume's size", { podUid, volume, cause: errorText(cause) });
    }
  }
}

async function statsOf(
  { plugin, place, mounted, isBlock }: KnownVolume,
  signal: AbortSignal,
): Promise<VolumeStats | undefined> {
  if (plugin.stats !== undefined) return await plugin.stats(place, mounted, signal);
  if (mounted.hostPath === "") return undefined; // the runtime has it
  return isBlock ? await deviceStats(mounted.hostPath) : await directoryStats(mounted.hostPath, signal);
}
