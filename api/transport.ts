/** One request to a Kubernetes API, before it is known how it travels. */
export interface ApiRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path and query, starting with a slash. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** The answer; `body` must be read to its end or destroyed by aborting the request's signal. */
export interface ApiResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * How requests reach an API server: over HTTP (`http-transport.ts`), or straight into one that lives in the
 * same process (the control plane's own controllers).
 */
export interface Transport {
  /** @throws when no answer came: the server is away, the connection died, the signal was aborted. */
  send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse>;
  /** Closes every connection; the next request opens new ones. */
  reset(): void;
  close(): Promise<void>;
}
