import { RuntimeError } from "../runtime.ts";

/** An answer of Docker's as the {@link RuntimeError} that callers act on. */
export function toRuntimeError(what: string, cause: unknown): RuntimeError {
  if (cause instanceof RuntimeError) return cause;
  const message = `cannot ${what}: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new RuntimeError(codeOf(cause), message, { cause });
}

/** The HTTP status of an answer of Docker's; undefined when none came. */
export function statusOf(cause: unknown): number | undefined {
  const has = typeof cause === "object" && cause !== null && "statusCode" in cause;
  return has && typeof cause.statusCode === "number" ? cause.statusCode : undefined;
}

function codeOf(cause: unknown): RuntimeError["code"] {
  switch (statusOf(cause)) {
    case undefined:
      return "unavailable";
    case 400:
      return "invalid";
    case 404:
      return "not-found";
    case 409:
      return "exists";
    default:
      return "failed";
  }
}
