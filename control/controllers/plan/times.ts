/** A moment as the API writes it: RFC 3339 in UTC, whole seconds. */
export function isoTime(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** Milliseconds since the epoch; 0 for a missing or unreadable time. */
export function timeMs(text: string | undefined): number {
  const ms = Date.parse(text ?? "");
  return Number.isNaN(ms) ? 0 : ms;
}
