/** A span in the two largest units that matter: `0.3s`, `42s`, `3m5s`, `2h10m`, `4d3h`. @param ms below zero counts as 0. */
export function spanWords(ms: number): string {
  const span = Math.max(0, ms);
  if (span < 10_000) return `${(span / 1_000).toFixed(1)}s`;
  const seconds = Math.round(span / 1_000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m${seconds % 60}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours}h${minutes % 60}m`;
  return `${Math.floor(hours / 24)}d${hours % 24}h`;
}

/** The time of day, UTC: `07:12:03`; with the date when that is another one than that of `nowMs`. */
export function timeWords(ms: number, nowMs: number): string {
  const [date = "", time = ""] = new Date(ms).toISOString().slice(0, 19).split("T");
  return new Date(nowMs).toISOString().startsWith(date) ? time : `${date} ${time}`;
}

/** `1 time`, `3 times`. */
export function countWords(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
