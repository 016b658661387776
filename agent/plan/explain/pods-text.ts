import { oneLine } from "./one-line.ts";
import type { PodExplanation } from "./pod-explanation.ts";
import { spanWords } from "./words.ts";

/** Letters of a reason that a row shows; `explain pod NAME` has all. */
const maxReason = 100;

/** Every Pod of the node, a line each: those that wait for something first, with what for and how long. */
export function podsText(explanations: readonly PodExplanation[]): string {
  if (explanations.length === 0) return "no Pod is on this node\n";
  const rows = explanations
    .toSorted(
      (a, b) => Number(a.waits.length === 0) - Number(b.waits.length === 0) || compare(nameOf(a), nameOf(b)),
    )
    .map((explanation): readonly string[] => [
      nameOf(explanation),
      `${explanation.phase}${explanation.ready ? ", ready" : ""}`,
      waitWords(explanation),
    ]);
  const all = [["POD", "STATE", "WAITS FOR"], ...rows];
  const widths = [0, 1].map((column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .map((line) => `${line}\n`)
    .join("");
}

function waitWords({ waits: [wait], nowMs }: PodExplanation): string {
  if (wait === undefined) return "-";
  const since = wait.sinceMs === undefined ? "" : ` for ${spanWords(nowMs - wait.sinceMs)}`;
  return `${wait.on}${since}: ${oneLine(wait.detail, maxReason)}`;
}

function nameOf({ namespace, name }: PodExplanation): string {
  return `${namespace}/${name}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
