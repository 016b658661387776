import { oneLine } from "./one-line.ts";
import type { ContainerStory, PodExplanation, ProbeStory, Wait } from "./pod-explanation.ts";
import { probeWords } from "./run-waits.ts";
import { countWords, spanWords, timeWords } from "./words.ts";

/** Errors that a screen shows; `-o json` has all. */
const shownErrors = 8;
const label = 12;
/** Letters of what others wrote; `-o json` has all. */
const maxLine = 400;

/** The explanation as one screen of text. Times are UTC. */
export function explainText(explanation: PodExplanation): string {
  const { nowMs, sandbox, goal, next, waits, containers, errors } = explanation;
  const lines = [
    row("Pod", `${explanation.namespace}/${explanation.name} on ${explanation.node}, uid ${explanation.uid}`),
    row("From", `${explanation.source}; as of ${new Date(nowMs).toISOString().slice(0, 19)}Z, times are UTC`),
    row("State", stateWords(explanation)),
    row("Wants", goal),
    ...list("Next", next.length === 0 ? ["nothing but to wait for what comes"] : next),
    ...list("Waits for", waits.length === 0 ? ["nothing"] : waits.flatMap((wait) => waitLines(wait, nowMs))),
    row(
      "Sandbox",
      `${sandbox.state}${sandbox.sinceMs === undefined ? "" : `, made ${ago(sandbox.sinceMs, nowMs)}`}${sandbox.ips.length === 0 ? "" : `, ${sandbox.ips.join(", ")}`}`,
    ),
    "Containers",
    ...containers.flatMap((container) => containerLines(container, nowMs)),
    ...(errors.length === 0 ? [row("Errors", "none")] : ["Errors, newest first"]),
    ...errors
      .slice(0, shownErrors)
      .map(
        ({ firstMs, lastMs, count, reason, message }) =>
          `  ${timeWords(lastMs, nowMs)}  ${reason}${count === 1 ? "" : ` (${countWords(count, "time")} since ${timeWords(firstMs, nowMs)})`}: ${oneLine(message, maxLine)}`,
      ),
    ...(errors.length > shownErrors ? [`  and ${errors.length - shownErrors} older ones: -o json`] : []),
  ];
  return `${lines.join("\n")}\n`;
}

function stateWords({ phase, ready, readySinceMs, nowMs }: PodExplanation): string {
  if (!ready) return `${phase}, not ready`;
  return `${phase}, ready${readySinceMs === undefined ? "" : ` since ${timeWords(readySinceMs, nowMs)} (${spanWords(nowMs - readySinceMs)})`}`;
}

function waitLines({ on, container, detail, sinceMs, untilMs }: Wait, nowMs: number): readonly string[] {
  const since = sinceMs === undefined ? [] : [`for ${spanWords(nowMs - sinceMs)}`];
  const until =
    untilMs === undefined
      ? []
      : [
          untilMs > nowMs
            ? `until ${timeWords(untilMs, nowMs)}, in ${spanWords(untilMs - nowMs)}`
            : "due now",
        ];
  const times = [...since, ...until].join(", ");
  const head = `${on}${container === undefined ? "" : ` (container "${container}")`}`;
  return [`${head}${times === "" ? "" : `, ${times}`}`, `  ${oneLine(detail, maxLine)}`];
}

function containerLines(container: ContainerStory, nowMs: number): readonly string[] {
  const { name, kind, state, reason, sinceMs, restarts, image, before } = container;
  const since =
    sinceMs === undefined
      ? ""
      : state === "ended"
        ? ` ${ago(sinceMs, nowMs)}`
        : ` for ${spanWords(nowMs - sinceMs)}`;
  const parts = [
    `${state}${since}${reason === "" ? "" : ` (${reason})`}`,
    countWords(restarts, "restart"),
    image,
    ...(kind === "app" ? [] : [kind]),
  ];
  const last =
    before === undefined
      ? []
      : [
          `  last run ended ${ago(before.endMs, nowMs)} after ${spanWords(before.endMs - before.startMs)}: exit code ${before.exitCode}${before.reason === "" ? "" : ` (${before.reason})`}`,
        ];
  return [
    `  ${name}: ${parts.join(", ")}`,
    ...last,
    ...container.probes.map((probe) => probeLine(probe, nowMs)),
  ].map((line, place) => (place === 0 ? line : `  ${line}`));
}

function probeLine(probe: ProbeStory, nowMs: number): string {
  const asked = probe.lastMs === undefined ? "" : `, asked ${ago(probe.lastMs, nowMs)}`;
  return `  ${probe.kind} probe: ${oneLine(probeWords(probe), maxLine)}${asked}`;
}

function ago(ms: number, nowMs: number): string {
  return `${spanWords(nowMs - ms)} ago`;
}

function row(name: string, text: string): string {
  return `${name.padEnd(label)}${text}`;
}

function list(name: string, texts: readonly string[]): readonly string[] {
  return texts.map((text, place) => row(place === 0 ? name : "", text));
}
