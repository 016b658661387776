import type { Container, Probe } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import type { ProbeState } from "../model.ts";
import { firstTally, type ProbeKind, type ProbeTally, probesOf, tally } from "../plan/probe-verdict.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { runProbe } from "./run-probe.ts";

/** A running container to be probed. */
export interface Probed {
  readonly podUid: string;
  readonly containerId: string;
  readonly container: Container;
  readonly podIp: string;
  readonly startedAtMs: number;
  /** What the API says of this very container: kept until it has been probed again. */
  readonly known: { readonly ready: boolean; readonly started: boolean } | undefined;
  /** The Pod is on its way out: only readiness goes on. */
  readonly ending: boolean;
}

/** Who hears of probes. */
export interface ProberPorts {
  readonly runtime: Runtime;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  /** A verdict changed. */
  readonly changed: (podUid: string) => void;
  readonly event: (probed: Probed, reason: "Unhealthy" | "ProbeWarning", message: string) => void;
}

interface Work {
  readonly kind: ProbeKind;
  readonly probe: Probe;
  tally: ProbeTally;
  nextAtMs: number;
  running: boolean;
  message: string;
}

interface Target {
  probed: Probed;
  readonly work: readonly Work[];
  readonly stop: AbortController;
}

/** Probes that run at the same time; more wait for the next turn of the wheel. */
const maxRunning = 64;

/** Runs every probe of the node from one timer. */
export class Prober {
  readonly #ports: ProberPorts;
  readonly #startedMs: number;
  readonly #targets = new Map<string, Target>();
  #cancel: (() => void) | undefined;
  #dueAtMs = Number.POSITIVE_INFINITY;
  #running = 0;

  constructor(ports: ProberPorts) {
    this.#ports = ports;
    this.#startedMs = ports.clock.now();
  }

  /** The running containers of one Pod, all of them. Others of that Pod are forgotten. */
  track(podUid: string, containers: readonly Probed[]): void {
    const ids = new Set(containers.map(({ containerId }) => containerId));
    for (const [id, target] of this.#targets) {
      if (target.probed.podUid === podUid && !ids.has(id)) this.#drop(id, target);
    }
    for (const probed of containers) {
      const target = this.#targets.get(probed.containerId);
      if (target !== undefined) target.probed = probed;
      else this.#add(probed);
    }
    this.#arm();
  }

  /** What is known about a container that is tracked; undefined for one without probes or unknown. */
  state(containerId: string): ProbeState | undefined {
    const target = this.#targets.get(containerId);
    if (target === undefined) return undefined;
    const of = (kind: ProbeKind): Work | undefined => target.work.find((work) => work.kind === kind);
    const startup = of("startup")?.tally.verdict ?? "success";
    return {
      startup,
      liveness: of("liveness")?.tally.verdict === "failure" ? "failure" : "success",
      readiness:
        (of("readiness")?.tally.verdict ?? "success") === "success" && startup === "success"
          ? "success"
          : "failure",
      message: target.work.find((work) => work.tally.verdict === "failure")?.message ?? "",
    };
  }

  close(): void {
    for (const [id, target] of this.#targets) this.#drop(id, target);
    this.#cancel?.();
  }

  #add(probed: Probed): void {
    const now = this.#ports.clock.now();
    const work = probesOf(probed.container).map(({ kind, probe }): Work => {
      const known =
        kind === "startup" ? probed.known?.started : kind === "readiness" ? probed.known?.ready : undefined;
      const delayed = probed.startedAtMs + (probe.initialDelaySeconds ?? 0) * 1_000;
      // An agent that has just started spreads the first probes over a period.
      const spread =
        probed.startedAtMs < this.#startedMs && now - this.#startedMs < periodMs(probe)
          ? this.#ports.random() * periodMs(probe)
          : 0;
      return {
        kind,
        probe,
        tally: firstTally(kind, known),
        nextAtMs: Math.max(now, delayed) + spread,
        running: false,
        message: "",
      };
    });
    if (work.length > 0) this.#targets.set(probed.containerId, { probed, work, stop: new AbortController() });
  }

  #drop(id: string, target: Target): void {
    target.stop.abort();
    this.#targets.delete(id);
  }

  /** Sets the one timer to the earliest probe. */
  #arm(): void {
    let earliest = Number.POSITIVE_INFINITY;
    for (const target of this.#targets.values()) {
      for (const work of target.work)
        if (this.#mayRun(target, work)) earliest = Math.min(earliest, work.nextAtMs);
    }
    if (earliest === this.#dueAtMs) return;
    this.#cancel?.();
    this.#dueAtMs = earliest;
    if (earliest === Number.POSITIVE_INFINITY) return;
    this.#cancel = this.#ports.clock.after(Math.max(0, earliest - this.#ports.clock.now()), () =>
      this.#turn(),
    );
  }

  #turn(): void {
    const now = this.#ports.clock.now();
    this.#dueAtMs = Number.POSITIVE_INFINITY;
    for (const target of this.#targets.values()) {
      for (const work of target.work) {
        if (!this.#mayRun(target, work) || work.nextAtMs > now) continue;
        if (this.#running >= maxRunning) {
          work.nextAtMs = now + 100;
          continue;
        }
        void this.#ask(target, work);
      }
    }
    this.#arm();
  }

  #mayRun({ work: all, probed }: Target, work: Work): boolean {
    if (work.running) return false;
    const startup = all.find(({ kind }) => kind === "startup")?.tally.verdict ?? "success";
    if (work.kind === "startup") return startup === "unknown" && !probed.ending;
    if (work.kind === "liveness" && (work.tally.verdict === "failure" || probed.ending)) return false; // on hold until the container is a new one
    return startup === "success";
  }

  async #ask(target: Target, work: Work): Promise<void> {
    const { clock, runtime } = this.#ports;
    work.running = true;
    this.#running += 1;
    const startedMs = clock.now();
    try {
      const answer = await runProbe(work.probe, target.probed, runtime, target.stop.signal);
      const before = work.tally.verdict;
      work.tally = tally(work.tally, answer.outcome, work.probe);
      work.message = answer.output;
      const name = work.kind.charAt(0).toUpperCase() + work.kind.slice(1);
      if (answer.outcome === "failure")
        this.#ports.event(target.probed, "Unhealthy", `${name} probe failed: ${answer.output}`);
      if (answer.outcome === "unknown")
        this.#ports.event(
          target.probed,
          "Unhealthy",
          `${name} probe errored and resulted in unknown state: ${answer.output}`,
        );
      if (answer.warning !== undefined)
        this.#ports.event(target.probed, "ProbeWarning", `${name} probe warning: ${answer.warning}`);
      if (work.tally.verdict !== before) {
        if (work.kind === "startup")
          for (const other of target.work)
            other.nextAtMs = Math.max(
              startedMs,
              target.probed.startedAtMs + (other.probe.initialDelaySeconds ?? 0) * 1_000,
            );
        this.#ports.changed(target.probed.podUid);
      }
    } catch {
      // The target was dropped while it was asked.
    } finally {
      work.running = false;
      this.#running -= 1;
      work.nextAtMs = Math.max(work.kind === "startup" ? 0 : work.nextAtMs, startedMs + periodMs(work.probe));
      this.#arm();
    }
  }
}

function periodMs(probe: Probe): number {
  return Math.max(1, probe.periodSeconds ?? 10) * 1_000;
}
