import { status } from "@grpc/grpc-js";

/** etcd, or the way to it, refused. Callers act on `code`. */
export class EtcdError extends Error {
  override readonly name = "EtcdError";
  readonly code: EtcdErrorCode;
  /** For `compacted`: the oldest revision that can be read, when etcd said it. */
  readonly compactRevision: bigint | undefined;

  constructor(code: EtcdErrorCode, message: string, options: EtcdErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.compactRevision = options.compactRevision;
  }
}

/**
 * - `unavailable` no endpoint answered, or there is no leader: try again later;
 * - `timeout` no answer in time: the write may or may not have happened;
 * - `compacted`, `future` the revision asked for is gone, or yet to come;
 * - `no-lease`, `exists` the lease is not there, or its id is taken;
 * - `no-space` the database quota is used up; `busy` etcd sheds load;
 * - `denied` credentials are missing or not enough; `invalid` the request is wrong or too large;
 * - `canceled` etcd ended a watch; `failed` anything else.
 */
export type EtcdErrorCode =
  | "unavailable"
  | "timeout"
  | "compacted"
  | "future"
  | "no-lease"
  | "exists"
  | "no-space"
  | "busy"
  | "denied"
  | "invalid"
  | "canceled"
  | "failed";

export interface EtcdErrorOptions extends ErrorOptions {
  readonly compactRevision?: bigint;
}

/** What etcd's messages mean, by a part of their text (rpctypes/error.go is the list); the first that fits. */
const texts: readonly (readonly [part: string, code: EtcdErrorCode])[] = [
  ["required revision has been compacted", "compacted"],
  ["required revision is a future revision", "future"],
  ["requested lease not found", "no-lease"],
  ["lease already exists", "exists"],
  ["database space exceeded", "no-space"],
  ["too many requests", "busy"],
  ["request timed out", "timeout"],
  ["no leader", "unavailable"],
  ["request is too large", "invalid"],
  ["authentication", "denied"],
  ["auth token", "denied"],
  ["user name is empty", "denied"],
];

const statuses: Readonly<Record<number, EtcdErrorCode>> = {
  [status.UNAVAILABLE]: "unavailable",
  [status.DEADLINE_EXCEEDED]: "timeout",
  [status.PERMISSION_DENIED]: "denied",
  [status.UNAUTHENTICATED]: "denied",
  [status.INVALID_ARGUMENT]: "invalid",
  [status.RESOURCE_EXHAUSTED]: "busy",
  [status.CANCELLED]: "canceled",
};

/** The code for a gRPC status and its text. */
export function etcdErrorCode(grpcStatus: number | undefined, details: string): EtcdErrorCode {
  const byText = texts.find(([part]) => details.includes(part))?.[1];
  return byText ?? (grpcStatus === undefined ? undefined : statuses[grpcStatus]) ?? "failed";
}
