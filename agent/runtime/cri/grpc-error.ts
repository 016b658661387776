import { RuntimeError } from "../runtime.ts";

/** gRPC's status codes that mean something to us. @see grpc/grpc doc/statuscodes.md */
const codes: Readonly<Record<number, RuntimeError["code"]>> = {
  3: "invalid",
  4: "timeout",
  5: "not-found",
  6: "exists",
  9: "invalid",
  12: "unsupported",
  14: "unavailable",
};

/** What runtimes say with code UNKNOWN, and what it means. */
const messages: readonly (readonly [RegExp, RuntimeError["code"]])[] = [
  [/is reserved for|already exists/, "exists"],
  [/does not exist|not found/, "not-found"],
  [/timeout .*exceeded|deadline exceeded/, "timeout"],
  [/unknown (service|method)/, "unsupported"],
];

/** The failure of a call as the {@link RuntimeError} that callers act on; the runtime's own words are kept. */
export function toRuntimeError(path: string, cause: unknown): RuntimeError {
  if (cause instanceof RuntimeError) return cause;
  const { code: number, details } = detailsOf(cause);
  const code = codes[number] ?? messages.find(([pattern]) => pattern.test(details))?.[1] ?? "failed";
  const call = path.slice(path.lastIndexOf("/") + 1);
  // Without the cause: gRPC's error has the same words once more, and every event would say them twice.
  return new RuntimeError(code, `the runtime refused ${call}: ${details}`);
}

function detailsOf(cause: unknown): { readonly code: number; readonly details: string } {
  if (typeof cause !== "object" || cause === null) return { code: 2, details: String(cause) };
  const code = "code" in cause && typeof cause.code === "number" ? cause.code : 2;
  if ("details" in cause && typeof cause.details === "string" && cause.details !== "")
    return { code, details: cause.details };
  return { code, details: cause instanceof Error ? cause.message : "no reason given" };
}
