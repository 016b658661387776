const warning =
  "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";

/** `/flagz`: every setting, one a line. */
export function flagz(configuration: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(configuration)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `\nkubelet flagz\n${warning}\n\n${lines.join("\n")}\n`;
}

/** `/statusz`: since when, and which version. @param version `v1.36.2`. */
export function statusz(startedMs: number, nowMs: number, version: string): string {
  const seconds = Math.max(0, Math.floor((nowMs - startedMs) / 1_000));
  const two = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(seconds / 3_600);
  const up = `${hours} hr ${two(Math.floor(seconds / 60) % 60)} min ${two(seconds % 60)} sec`;
  const binary = version.replace(/^v/, "");
  const lines = [
    `Started: ${new Date(startedMs).toUTCString()}`,
    `Up: ${up}`,
    `Binary version: ${binary}`,
    `Emulation version: ${binary.split(".").slice(0, 2).join(".")}`,
    "Paths: /configz /flagz /healthz /metrics",
  ];
  return `\nkubelet statusz\n${warning}\n\n${lines.join("\n")}\n`;
}
