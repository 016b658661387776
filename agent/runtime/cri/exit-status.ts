import { RuntimeError } from "../runtime.ts";

/**
 * The exit code told by the error stream of `v4.channel.k8s.io`: a `Status` that is a success, or a failure
 * with reason `NonZeroExitCode` and the code among its causes. Nothing at all is a success too (attach).
 * @throws {RuntimeError} when the command could not be run.
 */
export function exitCodeOf(text: string): number {
  if (text === "") return 0;
  const status = parse(text);
  if (status.status === "Success") return 0;
  const cause = status.details?.causes?.find((one) => one.reason === "ExitCode");
  const code = Number(cause?.message);
  if (status.reason === "NonZeroExitCode" && Number.isInteger(code)) return code;
  throw new RuntimeError("failed", status.message ?? text);
}

interface ExitStatus {
  readonly status?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly details?: { readonly causes?: readonly { readonly reason?: string; readonly message?: string }[] };
}

function parse(text: string): ExitStatus {
  try {
    return JSON.parse(text) as ExitStatus;
  } catch {
    return { status: "Failure", message: text };
  }
}
