/** Fields of an explanation that are wall time. */
const wallTimes: ReadonlySet<string> = new Set([
  "nowMs",
  "sinceMs",
  "untilMs",
  "readySinceMs",
  "firstMs",
  "lastMs",
  "startMs",
  "endMs",
]);

/** The same data for other programs: wall times as RFC 3339 text, their names without the unit (`since`, `until`). */
export function isoTimes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(isoTimes);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]: [string, unknown]) =>
      wallTimes.has(key) && typeof inner === "number" && Number.isFinite(inner)
        ? [key.slice(0, -2), new Date(inner).toISOString()]
        : [key, isoTimes(inner)],
    ),
  );
}
