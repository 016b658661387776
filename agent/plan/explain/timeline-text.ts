import { type Start, timelineRows, tookWords } from "./timeline-rows.ts";

const barWidth = 40;

/** The start of a Pod, a line for each step with a bar for its time. */
export function timelineText(start: Start): string {
  const { rows, seenMs, totalMs, verdict } = timelineRows(start);
  const seen = new Date(seenMs).toISOString().slice(0, 23);
  const lines = rows.map(({ label, offsetMs, tookMs, state }) => {
    const at = `+${tookWords(offsetMs)}`.padStart(10);
    const took = (tookMs === undefined ? "" : tookWords(tookMs)).padStart(10);
    return `${at}${took}  |${bar(offsetMs, tookMs, totalMs)}|  ${label}${state === "done" ? "" : ` (${state})`}`;
  });
  return `Start of ${start.namespace}/${start.name} on ${start.node}, seen ${seen}Z: ${verdict}
${"at".padStart(10)}${"took".padStart(10)}  |${"".padEnd(barWidth)}|  step
${lines.join("\n")}
`;
}

function bar(offsetMs: number, tookMs: number | undefined, totalMs: number): string {
  const place = Math.min(barWidth - 1, Math.floor((offsetMs / totalMs) * barWidth));
  const width = Math.max(1, Math.min(barWidth - place, Math.round(((tookMs ?? 0) / totalMs) * barWidth)));
  return `${" ".repeat(place)}${(tookMs === undefined ? "." : "=").repeat(width)}`.padEnd(barWidth);
}
