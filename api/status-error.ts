import type { Status } from "./generated/kubernetes.ts";

/** Reasons that callers act on; the API has more, and they all arrive as text in {@link StatusError.reason}. */
export type StatusReason =
  | "NotFound"
  | "AlreadyExists"
  | "Conflict"
  | "Invalid"
  | "Forbidden"
  | "Unauthorized"
  | "Expired"
  | "Gone"
  | "Timeout"
  | "TooManyRequests"
  | "BadRequest"
  | (string & {});

/** The API server answered, and its answer was no. Carries its `Status` object. */
export class StatusError extends Error {
  override readonly name = "StatusError";
  /** HTTP status. */
  readonly code: number;
  readonly reason: StatusReason;
  readonly status: Status;

  constructor(status: Status, options?: ErrorOptions) {
    super(status.message ?? status.reason ?? "the API server refused", options);
    this.code = status.code ?? 500;
    this.reason = status.reason ?? "Unknown";
    this.status = status;
  }
}

/** True when `cause` is the API server's answer with this reason. */
export function isReason(cause: unknown, ...reasons: readonly StatusReason[]): cause is StatusError {
  return cause instanceof StatusError && reasons.includes(cause.reason);
}
