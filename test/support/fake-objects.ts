import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";

type Fields = Record<string, unknown>;

/**
 * An API of objects by path, for tests: it reads, creates, replaces, patches (RFC 7386) and gives tokens, and
 * refuses a stale version as the real one does.
 */
export class FakeObjects implements Transport {
  readonly objects: Map<string, Fields> = new Map();
  /** Reads and writes, as `GET /api/v1/nodes/a`. */
  readonly requests: string[] = [];
  tokens = 0;
  #version = 0;

  put(path: string, object: object): void {
    this.#version += 1;
    const { metadata = {} } = object as { readonly metadata?: object };
    this.objects.set(path, { ...object, metadata: { ...metadata, resourceVersion: String(this.#version) } });
  }

  async send(request: ApiRequest): Promise<ApiResponse> {
    const { method } = request;
    const path = method === "PATCH" ? request.path.replace(/\/status$/, "") : request.path;
    this.requests.push(`${method} ${request.path}`);
    const sent = typeof request.body === "string" ? (JSON.parse(request.body) as Fields) : {};
    const before = this.objects.get(path);
    if (method === "POST" && path.endsWith("/token")) {
      this.tokens += 1;
      const audience = (sent["spec"] as { readonly audiences: readonly string[] }).audiences.join();
      const status = {
        token: `token-${audience}-${this.tokens}`,
        expirationTimestamp: new Date(Date.now() + 3_600_000).toISOString(),
      };
      return answer(201, { ...sent, status });
    }
    if (method === "POST") {
      const place = `${path}/${String((sent["metadata"] as Fields)["name"])}`;
      if (this.objects.has(place)) return refusal(409, "AlreadyExists", place);
      this.put(place, sent);
      return answer(201, this.objects.get(place));
    }
    if (before === undefined) return refusal(404, "NotFound", path);
    if (method === "PUT") {
      const version = (sent["metadata"] as Fields)["resourceVersion"];
      const current = (before["metadata"] as Fields)["resourceVersion"];
      if (version !== undefined && version !== current) return refusal(409, "Conflict", path);
      this.put(path, sent);
    }
    if (method === "PATCH") this.put(path, merged(before, sent) as Fields);
    return answer(200, this.objects.get(path));
  }

  reset(): void {}
  async close(): Promise<void> {}
}

function merged(before: unknown, patch: unknown): unknown {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const result: Fields = { ...(typeof before === "object" && before !== null ? (before as Fields) : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else result[key] = merged(result[key], value);
  }
  return result;
}

function refusal(code: number, reason: string, path: string): ApiResponse {
  const words = reason === "NotFound" ? "not found" : reason;
  return answer(code, { kind: "Status", status: "Failure", code, reason, message: `${path} ${words}` });
}

function answer(status: number, body: unknown): ApiResponse {
  return {
    status,
    headers: { "content-type": "application/json" },
    body: (async function* () {
      yield Buffer.from(JSON.stringify(body));
    })(),
  };
}
