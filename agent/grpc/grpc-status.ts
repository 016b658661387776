/** The names of gRPC's status codes as Go prints them. @see grpc/grpc doc/statuscodes.md */
const names = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
] as const;

/** A status code by its name. */
export type GrpcCode = (typeof names)[number];

/** A call to a plugin failed; the message has the words that the kubelet's events have. */
export class GrpcStatusError extends Error {
  override readonly name = "GrpcStatusError";
  readonly code: GrpcCode;

  constructor(code: GrpcCode, details: string, options?: ErrorOptions) {
    super(`rpc error: code = ${code} desc = ${details}`, options);
    this.code = code;
  }
}

/** The failure of a call as {@link GrpcStatusError}; what is no status of gRPC is `Unknown`. */
export function toGrpcStatusError(_path: string, cause: unknown): GrpcStatusError {
  if (cause instanceof GrpcStatusError) return cause;
  const number =
    typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "number"
      ? cause.code
      : 2;
  const details =
    typeof cause === "object" && cause !== null && "details" in cause && typeof cause.details === "string"
      ? cause.details
      : String(cause);
  // Go's words for the caller's own deadline, which the kubelet's events have.
  if (number === 4 && details.startsWith("Deadline exceeded after"))
    return new GrpcStatusError("DeadlineExceeded", "context deadline exceeded");
  return new GrpcStatusError(names[number] ?? "Unknown", details); // a cause would say the same in other words
}
