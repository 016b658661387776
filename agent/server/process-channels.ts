import type { Readable, Writable } from "node:stream";
import type { StreamOptions } from "../runtime/runtime.ts";

/** How a process ended, for the client. */
export type ProcessEnd =
  | { readonly state: "exited"; readonly code: number }
  | { readonly state: "failed"; readonly message: string };

/** The client's side of an exec or attach, whichever protocol it came by. */
export interface ProcessChannels {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  /** Sizes of the client's terminal. */
  onResize(listener: (size: { readonly width: number; readonly height: number }) => void): void;
  /** Tells how it ended, and closes once everything is sent. */
  finish(end: ProcessEnd): Promise<void>;
  /** Resolves when the client is gone. */
  readonly closed: Promise<void>;
}

/** The error stream's text from protocol v4 on: a `Status`. */
export function statusText(end: ProcessEnd): string {
  if (end.state === "failed")
    return JSON.stringify({
      metadata: {},
      status: "Failure",
      message: end.message,
      reason: "InternalError",
      details: { causes: [{ message: end.message }] },
      code: 500,
    });
  if (end.code === 0) return JSON.stringify({ metadata: {}, status: "Success" });
  return JSON.stringify({
    metadata: {},
    status: "Failure",
    message: `command terminated with non-zero exit code: exit status ${end.code}`,
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(end.code) }] },
  });
}

/** The error stream's text before v4: nothing for a success, else a sentence. */
export function plainStatusText(end: ProcessEnd): string {
  if (end.state === "failed") return end.message;
  return end.code === 0 ? "" : `command terminated with non-zero exit code: exit status ${end.code}`;
}

/** Reads a terminal size as clients write it, one JSON object a message; undefined for anything else. */
export function parseResize(text: string): { readonly width: number; readonly height: number } | undefined {
  try {
    const size: unknown = JSON.parse(text);
    if (typeof size !== "object" || size === null || !("Width" in size) || !("Height" in size))
      return undefined;
    const { Width: width, Height: height } = size;
    return isSize(width) && isSize(height) ? { width, height } : undefined;
  } catch {
    return undefined;
  }
}

/** The kernel's winsize has 16 bits for each. */
function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 65_536;
}

/** Which streams a protocol must open for the options. */
export function wantedStreams(options: StreamOptions, resizes: boolean): readonly string[] {
  return [
    "error",
    ...(options.stdin ? ["stdin"] : []),
    ...(options.stdout ? ["stdout"] : []),
    ...(options.stderr ? ["stderr"] : []),
    ...(options.tty && resizes ? ["resize"] : []),
  ];
}
