import { type Start, type TimelineRow, timelineRows, tookWords } from "./timeline-rows.ts";

const width = 960;
const rowHeight = 24;
const left = 240;
const right = 100;
const top = 84;
const bottom = 28;
const wantedTicks = 6;
const maxLabel = 32;

/** Dark enough on white for text beside it (WCAG 2.2, 4.5:1); a failed step also says so in words. */
const colours = [
  { of: /^(volumes|sandbox)/, fill: "#1f5fa8" },
  { of: /^image/, fill: "#8a4b08" },
  { of: /^(create|start)/, fill: "#2a6b2f" },
  { of: /hook|probe/, fill: "#6b3fa0" },
] as const;
const otherColour = "#4a4a4a";
const failedColour = "#b3261e";

/**
 * The start of a Pod as a picture: a bar for each step, a diamond for each moment, on one scale of time. It stands
 * alone (no script, no font, no link), is readable on any background, and says all of it as text too.
 */
export function timelineSvg(start: Start): string {
  const { rows, seenMs, totalMs, verdict } = timelineRows(start);
  const height = top + rows.length * rowHeight + bottom;
  const scale = (ms: number): number => left + (ms / totalMs) * (width - left - right);
  const title = `Start of ${start.namespace}/${start.name} on ${start.node}`;
  const seen = `seen ${new Date(seenMs).toISOString().slice(0, 23)}Z`;
  const described = rows.map((row) => rowWords(row)).join("; ");
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif" font-size="13">
<title id="title">${escape(title)}</title>
<desc id="desc">${escape(`${verdict}. ${described}`)}</desc>
<rect width="${width}" height="${height}" fill="#ffffff"/>
<text x="16" y="28" font-size="17" font-weight="600" fill="#1a1a1a">${escape(title)}</text>
<text x="16" y="50" fill="#3a3a3a">${escape(`${seen}: ${verdict}`)}</text>
${ticks(totalMs)
  .map((ms) => tick(scale(ms), ms, height))
  .join("\n")}
${rows.map((row, place) => drawn(row, top + place * rowHeight, scale)).join("\n")}
</svg>
`;
}

function drawn(row: TimelineRow, y: number, scale: (ms: number) => number): string {
  const { label, offsetMs, tookMs, state } = row;
  const fill =
    state === "failed" ? failedColour : (colours.find(({ of }) => of.test(label))?.fill ?? otherColour);
  const x = scale(offsetMs);
  const middle = y + rowHeight / 2;
  const end = tookMs === undefined ? x + 5 : Math.max(x + 2, scale(offsetMs + tookMs));
  const shape =
    tookMs === undefined
      ? `<path d="M${point(x - 5)} ${middle}l5 -5l5 5l-5 5z" fill="${fill}"/>`
      : `<rect x="${point(x)}" y="${y + 5}" width="${point(end - x)}" height="${rowHeight - 10}" rx="2" fill="${fill}"${state === "goes on" ? ' fill-opacity="0.55"' : ""}/>`;
  const words = `${tookMs === undefined ? `+${tookWords(offsetMs)}` : tookWords(tookMs)}${state === "done" ? "" : `, ${state}`}`;
  return `<g><title>${escape(rowWords(row))}</title>
<text x="${left - 14}" y="${middle + 4.5}" text-anchor="end" fill="#1a1a1a">${escape(short(label))}</text>
${shape}
<text x="${point(end + 6)}" y="${middle + 4.5}" font-size="11.5" fill="#3a3a3a">${escape(words)}</text></g>`;
}

function tick(x: number, ms: number, height: number): string {
  return `<path d="M${point(x)} ${top - 8}V${height - bottom + 8}" stroke="#d0d0d0"/><text x="${point(x)}" y="${top - 14}" text-anchor="middle" font-size="11.5" fill="#3a3a3a">${ms === 0 ? "0" : escape(tickWords(ms))}</text>`;
}

/** Round times, about six of them: 1, 2 or 5 times a power of ten. */
function ticks(totalMs: number): readonly number[] {
  const rough = totalMs / wantedTicks;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((times) => power * times >= rough) ?? 10);
  return Array.from({ length: Math.floor(totalMs / step) + 1 }, (_, place) => place * step);
}

function tickWords(ms: number): string {
  return ms < 1_000 ? `${Number(ms.toPrecision(6))} ms` : `${Number((ms / 1_000).toPrecision(6))} s`;
}

function rowWords({ label, offsetMs, tookMs, state }: TimelineRow): string {
  const took = tookMs === undefined ? "" : `, took ${tookWords(tookMs)}`;
  return `${label} at +${tookWords(offsetMs)}${took}${state === "done" ? "" : ` (${state})`}`;
}

/** What has room beside the bars; the row's title has all of it. */
function short(label: string): string {
  return label.length > maxLabel ? `${label.slice(0, maxLabel - 1)}…` : label;
}

/** One digit after the point is a tenth of a pixel. */
function point(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escape(text: string): string {
  return text.replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
