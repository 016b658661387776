import type { Container, Probe } from "#api/generated/kubernetes.ts";

/** The three questions a container is asked. */
export type ProbeKind = "startup" | "liveness" | "readiness";

/** Consecutive equal answers so far and what they amount to. */
export interface ProbeTally {
  /** The answer that counts. */
  readonly verdict: "success" | "failure" | "unknown";
  readonly last: "success" | "failure" | undefined;
  readonly streak: number;
}

/** What holds before the first answer. @param known what an earlier agent had found. */
export function firstTally(kind: ProbeKind, known: boolean | undefined): ProbeTally {
  const initial = { startup: "unknown", liveness: "success", readiness: "failure" } as const;
  return { verdict: known === true ? "success" : initial[kind], last: undefined, streak: 0 };
}

/** Counts one answer; an answer "unknown" (the probe itself failed to run) changes nothing. */
export function tally(
  before: ProbeTally,
  answer: "success" | "failure" | "unknown",
  probe: Probe,
): ProbeTally {
  if (answer === "unknown") return before;
  const streak = before.last === answer ? before.streak + 1 : 1;
  const needed = answer === "success" ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
  return { verdict: streak >= needed ? answer : before.verdict, last: answer, streak };
}

/** The probes of a container. */
export function probesOf(
  container: Container,
): readonly { readonly kind: ProbeKind; readonly probe: Probe }[] {
  return [
    { kind: "startup" as const, probe: container.startupProbe },
    { kind: "liveness" as const, probe: container.livenessProbe },
    { kind: "readiness" as const, probe: container.readinessProbe },
  ].flatMap(({ kind, probe }) => (probe === undefined ? [] : [{ kind, probe }]));
}

/** The number of a port given by number or by a name in the container's ports; undefined for an unknown name. */
export function portNumber(container: Container, port: string | number): number | undefined {
  const number =
    typeof port === "number"
      ? port
      : /^\d+$/.test(port)
        ? Number(port)
        : container.ports?.find(({ name }) => name === port)?.containerPort;
  return number !== undefined && number > 0 && number < 65_536 ? number : undefined;
}
