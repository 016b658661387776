import type { StreamOptions } from "../runtime/runtime.ts";
import { HttpError } from "./http-error.ts";

/**
 * Reads which streams an exec or attach wants: kubelet's names (`input`, `output`, `error`) or the API's (`stdin`,
 * `stdout`, `stderr`).
 * @throws {HttpError} 400 for none at all. A terminal has no stderr of its own: it is not opened then.
 */
export function parseStreamOptions(query: URLSearchParams): StreamOptions {
  const asked = (...names: readonly string[]): boolean =>
    names.some((name) => ["1", "true"].includes(query.get(name) ?? ""));
  const tty = asked("tty");
  const options = {
    tty,
    stdin: asked("input", "stdin"),
    stdout: asked("output", "stdout"),
    stderr: asked("error", "stderr") && !tty,
  };
  if (!options.stdin && !options.stdout && !options.stderr)
    throw new HttpError(400, "you must specify at least 1 of stdin, stdout, stderr");
  return options;
}
