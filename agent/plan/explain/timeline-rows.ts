import type { PodExplanation } from "./pod-explanation.ts";
import type { PodStep } from "./pod-step.ts";

/** What a timeline is drawn from. */
export type Start = Pick<PodExplanation, "nowMs" | "node" | "namespace" | "name" | "phase" | "timeline">;

/** One line of a timeline. */
export interface TimelineRow {
  readonly label: string;
  /** After the Pod was seen, in milliseconds. */
  readonly offsetMs: number;
  /** undefined for a moment. */
  readonly tookMs: number | undefined;
  readonly state: "done" | "failed" | "goes on";
}

/** A Pod's start as lines on one scale. */
export interface TimelineRows {
  readonly rows: readonly TimelineRow[];
  readonly seenMs: number;
  /** From the moment the Pod was seen to the end of the last step, or to now while one goes on. */
  readonly totalMs: number;
  /** How the start went, in one sentence. */
  readonly verdict: string;
}

/** Lays the steps of a Pod's start out, in the order they began. */
export function timelineRows({ timeline, nowMs, phase }: Start): TimelineRows {
  const seenMs = timeline[0]?.startMs ?? nowMs;
  const rows = timeline
    .toSorted((a, b) => a.startMs - b.startMs)
    .map((step): TimelineRow => {
      const isMoment = step.endMs === step.startMs;
      const endMs = step.endMs ?? nowMs;
      return {
        label: `${step.what}${step.container === undefined ? "" : ` (${step.container})`}`,
        offsetMs: Math.max(0, step.startMs - seenMs),
        tookMs: isMoment ? undefined : Math.max(0, endMs - step.startMs),
        state: step.endMs === undefined ? "goes on" : step.failed ? "failed" : "done",
      };
    });
  const totalMs = Math.max(1, ...rows.map(({ offsetMs, tookMs = 0 }) => offsetMs + tookMs));
  return { rows, seenMs, totalMs, verdict: verdictOf(timeline, phase, seenMs, nowMs) };
}

/** `143 ms`, `1.42 s`, `75.0 s`. */
export function tookWords(ms: number): string {
  if (ms < 1_000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return ms < 10_000 ? `${(ms / 1_000).toFixed(2)} s` : `${(ms / 1_000).toFixed(1)} s`;
}

function verdictOf(timeline: readonly PodStep[], phase: string, seenMs: number, nowMs: number): string {
  const at = (what: PodStep["what"]): number | undefined =>
    timeline.find((step) => step.what === what)?.startMs;
  if (at("found running") !== undefined)
    return "this agent found the Pod running: it knows nothing of what was before";
  const ready = at("Ready");
  if (ready === undefined && (phase === "Succeeded" || phase === "Failed"))
    return `it ended (${phase}) and had never been ready`;
  if (ready === undefined) return `not ready yet, ${tookWords(nowMs - seenMs)} after it was seen`;
  const told = at("Ready in the API");
  return `ready ${tookWords(ready - seenMs)} after it was seen${told === undefined ? "" : `, in the API after ${tookWords(told - seenMs)}`}`;
}
