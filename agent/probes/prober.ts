import type { Container, Probe } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import { Deadlines } from "#lib/deadlines.ts";
import type { ProbeState } from "../model.ts";
import { firstTally, type ProbeKind, type ProbeTally, probesOf, tally } from "../plan/probe-verdict.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { ProbeResult, ProbeResults } from "./probe-results.ts";
import { type ProbeAnswer, runProbe } from "./run-probe.ts";
import { Turnstile } from "#lib/turnstile.ts";

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
  /** Where the next agent finds what this one knew. */
  readonly results?: ProbeResults;
  /** A probe of a container succeeded for the first time since it is asked. */
  readonly succeeded?: (probed: Probed, kind: ProbeKind) => void;
  /** A verdict changed. */
  readonly changed: (podUid: string) => void;
  readonly event: (probed: Probed, reason: "Unhealthy" | "ProbeWarning", message: string) => void;
}

/** One probe of a container, as it stands. */
export interface ProbeDetail {
  readonly kind: ProbeKind;
  readonly verdict: ProbeTally["verdict"];
  /** The last answer and how many equal ones came in a row; undefined before the first. */
  readonly last: ProbeTally["last"];
  readonly streak: number;
  /** Answers in a row that make it a failure, and a success. */
  readonly failureThreshold: number;
  readonly successThreshold: number;
  /** Wall time of the last answer; undefined before the first. */
  readonly lastMs: number | undefined;
  readonly message: string;
}

interface Work {
  readonly target: Target;
  readonly kind: ProbeKind;
  readonly probe: Probe;
  tally: ProbeTally;
  running: boolean;
  message: string;
  hasSucceeded: boolean;
  lastMs: number | undefined;
}

interface Target {
  probed: Probed;
  readonly work: Work[];
  readonly stop: AbortController;
}

/** An exec probe is a process in the container and a call that the runtime holds open. */
const maxExecs = 16;
/** A connection each. */
const maxConnections = 256;
/** A probe that could not be asked at all is asked again at once, this many times in all. */
const maxTries = 3;

/**
 * Runs every probe of the node from one timer. A probe keeps the pace of its own first time: a late or slow one moves
 * none after it. Probes beyond the caps wait their turn; each waits at most once, so the queues are bounded.
 */
export class Prober {
  readonly #ports: ProberPorts;
  readonly #startedMs: number;
  readonly #targets = new Map<string, Target>();
  readonly #deadlines: Deadlines<Work>;
  readonly #execs = new Turnstile(maxExecs);
  readonly #connections = new Turnstile(maxConnections);

  constructor(ports: ProberPorts) {
    this.#ports = ports;
    this.#startedMs = ports.clock.monotonicMs();
    this.#deadlines = new Deadlines(ports.clock, (work, atMs) => void this.#ask(work, atMs));
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

  /** Each probe of a container that is tracked. */
  details(containerId: string): readonly ProbeDetail[] {
    const { work = [] } = this.#targets.get(containerId) ?? {};
    return work.map(({ kind, probe, tally: { verdict, last, streak }, lastMs, message }) => ({
      kind,
      verdict,
      last,
      streak,
      failureThreshold: probe.failureThreshold ?? 3,
      successThreshold: probe.successThreshold ?? 1,
      lastMs,
      message,
    }));
  }

  /** What was known of containers that are not there any more is forgotten. */
  keepOnly(containerIds: ReadonlySet<string>): void {
    this.#ports.results?.forgetOthers(containerIds);
  }

  close(): void {
    for (const { stop } of this.#targets.values()) stop.abort();
    this.#deadlines.close();
  }

  #add(probed: Probed): void {
    const { clock, random, results } = this.#ports;
    const nowMs = clock.monotonicMs();
    const found = results?.take(probed.containerId) ?? probed.known;
    const target: Target = { probed, work: [], stop: new AbortController() };
    for (const { kind, probe } of probesOf(probed.container)) {
      const known = kind === "startup" ? found?.started : kind === "readiness" ? found?.ready : undefined;
      const work: Work = {
        target,
        kind,
        probe,
        tally: firstTally(kind, known),
        running: false,
        message: "",
        hasSucceeded: false,
        lastMs: undefined,
      };
      target.work.push(work);
    }
    if (target.work.length === 0) return;
    this.#targets.set(probed.containerId, target);
    for (const work of target.work) {
      const delayMs = this.#delayLeftMs(work);
      // An agent that has just started finds many at once: their first probes are spread over a period.
      const wasThere = clock.now() - probed.startedAtMs > nowMs - this.#startedMs;
      const isEarly = nowMs - this.#startedMs < periodMs(work.probe);
      const spreadMs = wasThere && isEarly ? random() * periodMs(work.probe) : 0;
      this.#schedule(work, nowMs + delayMs + spreadMs);
    }
    this.#save();
  }

  #drop(id: string, target: Target): void {
    target.stop.abort();
    for (const work of target.work) this.#deadlines.delete(work);
    this.#targets.delete(id);
    this.#save();
  }

  /** What is left of the time that a container has before its first probe. */
  #delayLeftMs({ probe, target }: Work): number {
    const delayMs = (probe.initialDelaySeconds ?? 0) * 1_000;
    return Math.max(0, target.probed.startedAtMs + delayMs - this.#ports.clock.now());
  }

  #schedule(work: Work, atMs: number): void {
    if (this.#mayRun(work)) this.#deadlines.set(work, atMs);
  }

  #mayRun({ kind, running, tally: { verdict }, target }: Work): boolean {
    if (running || target.stop.signal.aborted) return false;
    const startup = target.work.find((work) => work.kind === "startup")?.tally.verdict ?? "success";
    if (kind === "startup") return startup === "unknown" && !target.probed.ending;
    if (startup !== "success") return false;
    // A container that failed its liveness probe is left alone until there is a new one.
    return kind === "readiness" || (verdict !== "failure" && !target.probed.ending);
  }

  async #ask(work: Work, dueMs: number): Promise<void> {
    if (!this.#mayRun(work)) return;
    const { clock } = this.#ports;
    work.running = true;
    let isDecided = false;
    try {
      const turnstile = work.probe.exec === undefined ? this.#connections : this.#execs;
      const answer = await turnstile.pass(() => this.#answer(work), work.target.stop.signal);
      isDecided = this.#count(work, answer);
    } catch {
      // The container was dropped while it was asked.
    } finally {
      work.running = false;
    }
    const nowMs = clock.monotonicMs();
    const period = periodMs(work.probe);
    const periods = Math.max(1, Math.ceil((nowMs - dueMs) / period));
    this.#schedule(work, dueMs + periods * period);
    // A container that has started is asked at once whether it is ready.
    if (isDecided && work.kind === "startup") {
      for (const other of work.target.work) this.#schedule(other, nowMs + this.#delayLeftMs(other));
    }
  }

  async #answer({ probe, target }: Work): Promise<ProbeAnswer> {
    for (let tries = 1; ; tries += 1) {
      const answer = await runProbe(probe, target.probed, this.#ports.runtime, target.stop.signal);
      if (answer.outcome !== "unknown" || tries >= maxTries) return answer;
    }
  }

  /** @returns whether the verdict changed. */
  #count(work: Work, answer: ProbeAnswer): boolean {
    const { event, changed } = this.#ports;
    const { probed } = work.target;
    const before = work.tally.verdict;
    work.tally = tally(work.tally, answer.outcome, work.probe);
    work.message = answer.output;
    work.lastMs = this.#ports.clock.now();
    if (answer.outcome === "success" && !work.hasSucceeded) {
      work.hasSucceeded = true;
      this.#ports.succeeded?.(probed, work.kind);
    }
    const name = work.kind.charAt(0).toUpperCase() + work.kind.slice(1);
    if (answer.outcome === "failure") event(probed, "Unhealthy", `${name} probe failed: ${answer.output}`);
    if (answer.outcome === "unknown") {
      event(probed, "Unhealthy", `${name} probe errored and resulted in unknown state: ${answer.output}`);
    }
    if (answer.warning !== undefined) {
      event(probed, "ProbeWarning", `${name} probe warning: ${answer.warning}`);
    }
    if (work.tally.verdict === before) return false;
    this.#save();
    changed(probed.podUid);
    return true;
  }

  #save(): void {
    this.#ports.results?.save(() => this.#all());
  }

  *#all(): Generator<readonly [string, ProbeResult]> {
    for (const id of this.#targets.keys()) {
      const state = this.state(id);
      if (state === undefined) continue;
      yield [id, { started: state.startup === "success", ready: state.readiness === "success" }];
    }
  }
}

function periodMs(probe: Probe): number {
  return Math.max(1, probe.periodSeconds ?? 10) * 1_000;
}
