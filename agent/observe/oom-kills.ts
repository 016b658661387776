import type { Clock } from "#lib/clock.ts";
import { errorText, type Log } from "#lib/log.ts";
import type { AgentMetrics } from "../metrics.ts";
import { childKillWords, containerIdsIn, type OomKill, parseOomKill } from "../plan/oom-kill.ts";

/** A container of a Pod of this node. */
export interface OomContainer {
  readonly id: string;
  readonly name: string;
  readonly memoryLimit: string | undefined;
}

/** What watching OOM kills stands on. */
export interface OomKillsPorts<C extends OomContainer> {
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<AgentMetrics, "oomKills">;
  /** New lines of the kernel's log. */
  readonly lines: (limit: number) => readonly string[];
  readonly find: (containerId: string) => C | undefined;
  /** Whether the container's own process runs on, as the runtime knows it. */
  readonly isRunning: (containerId: string, signal: AbortSignal) => Promise<boolean>;
  /** A process of a container that runs on was killed. */
  readonly sayOfContainer: (container: C, message: string) => void;
  /** The machine had no memory left. */
  readonly sayOfNode: (message: string) => void;
}

/** Without an event of the runtime's the log is looked at this often. */
const lookMs = 5_000;
/** A container that was killed as a whole needs a moment until the runtime says so. */
const confirmMs = 1_000;
/** One event of a container in this time; what is killed meanwhile is told together. */
const gapMs = 10_000;
const maxLines = 1_000;
/** Kills of one container that are remembered until they are told. */
const maxKills = 100;
const maxContainers = 1_000;

/**
 * Watches the kernel's log for processes that were killed for want of memory. When a container's own process is, the
 * container ends and its status says OOMKilled; of a child process nobody is told, and the container runs on as half of
 * what it was. And when the whole machine had no memory left, the node says so (SystemOOM).
 */
export class OomKills<C extends OomContainer> {
  readonly #ports: OomKillsPorts<C>;
  readonly #signal: AbortSignal;
  readonly #pending = new Map<string, OomKill[]>();
  readonly #saidMs = new Map<string, number>();

  constructor(ports: OomKillsPorts<C>, signal: AbortSignal) {
    this.#ports = ports;
    this.#signal = signal;
  }

  /** Looks again and again, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.look();
      await this.#ports.clock.sleep(lookMs, signal).catch(() => undefined);
    }
  }

  /** Looks at once: the runtime says that something happened. It costs one read that never waits. */
  look(): void {
    if (this.#signal.aborted) return;
    try {
      for (const line of this.#ports.lines(maxLines)) {
        const kill = parseOomKill(line);
        if (kill !== undefined) this.#take(kill);
      }
    } catch (cause) {
      this.#ports.log.warn("cannot read the kernel's log", { cause: errorText(cause) });
    }
  }

  #take(kill: OomKill): void {
    const { find, metrics, sayOfNode, clock } = this.#ports;
    if (kill.limitedBy === undefined)
      sayOfNode(`System OOM encountered, victim process: ${kill.process}, pid: ${kill.pid}`);
    const id = containerIdsIn(kill.cgroup).find((one) => find(one) !== undefined);
    if (id === undefined) {
      // A kill below somebody else's limit is no business of the node's.
      if (kill.limitedBy === undefined) metrics.oomKills.inc({ victim: "other" });
      return;
    }
    const known = this.#pending.get(id);
    if (known !== undefined) {
      if (known.length < maxKills) known.push(kill);
      return;
    }
    if (this.#pending.size >= maxContainers) return;
    this.#pending.set(id, [kill]);
    const sinceMs = clock.now() - (this.#saidMs.get(id) ?? Number.NEGATIVE_INFINITY);
    clock.after(Math.max(confirmMs, gapMs - sinceMs), () => void this.#tell(id));
  }

  async #tell(id: string): Promise<void> {
    const { find, isRunning, metrics, sayOfContainer, clock, log } = this.#ports;
    const kills = this.#pending.get(id) ?? [];
    this.#pending.delete(id);
    const container = find(id);
    if (container === undefined || this.#signal.aborted) return;
    try {
      const runsOn = await isRunning(id, this.#signal);
      metrics.oomKills.inc({ victim: runsOn ? "child" : "container" }, kills.length);
      if (!runsOn) return; // its status says OOMKilled
      this.#remember(id, clock.now());
      sayOfContainer(container, childKillWords(kills, container));
    } catch (cause) {
      if (!this.#signal.aborted)
        log.warn("cannot tell of an OOM kill", { container: id, cause: errorText(cause) });
    }
  }

  #remember(id: string, nowMs: number): void {
    this.#saidMs.delete(id);
    this.#saidMs.set(id, nowMs);
    for (const [one, saidMs] of this.#saidMs) {
      if (nowMs - saidMs < gapMs && this.#saidMs.size <= maxContainers) break;
      this.#saidMs.delete(one);
    }
  }
}
