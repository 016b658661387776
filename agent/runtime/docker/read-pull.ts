import type { Readable } from "node:stream";
import type { PullProgress } from "../runtime.ts";

interface Line {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

/** Reads the JSON lines of a pull or load to their end. @throws what Docker reports in them. */
export async function readPull(
  lines: Readable,
  tell: ((progress: PullProgress) => void) | undefined,
): Promise<void> {
  const layers = new Map<string, PullProgress>();
  let text = "";
  for await (const chunk of lines) {
    const whole = (text + String(chunk)).split("\n");
    text = whole.pop() ?? "";
    for (const line of whole) {
      if (line.trim() === "") continue;
      const { id, status, error, progressDetail }: Line = JSON.parse(line);
      if (error !== undefined) throw new Error(error);
      if (tell === undefined || id === undefined) continue;
      const before = layers.get(id);
      const { current, total } = progressDetail ?? {};
      if (status === "Downloading" && current !== undefined && total !== undefined)
        layers.set(id, { currentBytes: current, totalBytes: total });
      // A small layer is done without ever having been half done.
      else if (status === "Download complete" && before !== undefined)
        layers.set(id, { ...before, currentBytes: before.totalBytes });
      else continue;
      const all = [...layers.values()];
      tell({
        currentBytes: all.reduce((sum, { currentBytes }) => sum + currentBytes, 0),
        totalBytes: all.reduce((sum, { totalBytes }) => sum + totalBytes, 0),
      });
    }
  }
}
