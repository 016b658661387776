import type { KubeObject } from "#api/meta.ts";
import type { ApiRequest, ApiResponse, Transport } from "#api/transport.ts";

interface Event {
  readonly revision: number;
  readonly path: string;
  readonly line: string;
}

/** A Kubernetes API in memory that lists and watches whole collections: `/api/v1/services`. */
export class MemoryApi implements Transport {
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #history: Event[] = [];
  readonly #waiting = new Set<() => void>();
  #revision = 1;

  /** Creates or replaces. */
  put(path: string, object: KubeObject): void {
    const collection = this.#objects.get(path) ?? new Map<string, KubeObject>();
    this.#objects.set(path, collection);
    this.#revision += 1;
    const metadata = { uid: nameOf(object), ...object.metadata, resourceVersion: String(this.#revision) };
    const stored = { ...object, metadata };
    const type = collection.has(nameOf(object)) ? "MODIFIED" : "ADDED";
    collection.set(nameOf(object), stored);
    this.#tell(path, { type, object: stored });
  }

  delete(path: string, name: string): void {
    const object = this.#objects.get(path)?.get(name);
    if (object === undefined) return;
    this.#objects.get(path)?.delete(name);
    this.#revision += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#revision) };
    this.#tell(path, { type: "DELETED", object: { ...object, metadata } });
  }

  send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    const url = new URL(request.path, "http://memory");
    if (request.method !== "GET") return Promise.resolve(answer(405, { kind: "Status", code: 405 }));
    if (url.searchParams.get("watch") === "1") {
      const from = Number(url.searchParams.get("resourceVersion") ?? "0");
      return Promise.resolve({ status: 200, headers: {}, body: this.#follow(url.pathname, from, signal) });
    }
    const items = [...(this.#objects.get(url.pathname)?.values() ?? [])];
    return Promise.resolve(answer(200, { metadata: { resourceVersion: String(this.#revision) }, items }));
  }

  reset(): void {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  async *#follow(
    path: string,
    from: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    let seen = from;
    while (!signal.aborted) {
      for (const event of this.#history.filter(({ revision }) => revision > seen)) {
        seen = event.revision;
        if (event.path === path) yield Buffer.from(`${event.line}\n`);
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (this.#history.every(({ revision }) => revision <= seen)) await promise;
      this.#waiting.delete(resolve);
    }
  }

  #tell(path: string, event: unknown): void {
    this.#history.push({ revision: this.#revision, path, line: JSON.stringify(event) });
    for (const wake of this.#waiting) wake();
  }
}

function answer(status: number, body: unknown): ApiResponse {
  return {
    status,
    headers: {},
    body: (async function* () {
      yield Buffer.from(JSON.stringify(body));
    })(),
  };
}

function nameOf(object: KubeObject): string {
  return `${object.metadata?.namespace ?? ""}/${object.metadata?.name ?? ""}`;
}
