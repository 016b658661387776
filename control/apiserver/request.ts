import type { CertificateSubject } from "../auth/authenticator.ts";
import type { User } from "../model.ts";

/** One request, however it came: over HTTP or from a controller in the same process. */
export interface ServerRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  /** Lower-case names. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** Reads the body. @throws {ApiError} 413 when it is too long. */
  readonly body: () => Promise<Uint8Array>;
  /** Set when the transport vouches for the user; then nothing is authenticated. */
  readonly user?: User;
  /** The verified client certificate's subject. */
  readonly certificate?: CertificateSubject;
}

/** The answer. A body that is iterated is a stream: a watch, a log. */
export interface ServerResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | AsyncIterable<Uint8Array>;
}

/** The largest body that is accepted, bytes: 3 MiB, as Kubernetes has it. */
export const maxRequestBytes: number = 3 * 1024 * 1024;
