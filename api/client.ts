import { jsonLines } from "./json-lines.ts";
import type { KubeList, KubeObject, ObjectKey, Resource } from "./meta.ts";
import { apiVersionOf, keyOf, resourcePath } from "./meta.ts";
import { StatusError } from "./status-error.ts";
import type { ApiRequest, ApiResponse, Transport } from "./transport.ts";

/** What a list or a watch is limited to. */
export interface ListOptions {
  /** All namespaces unless given. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
}

/** Where a watch starts and how long the server keeps it open. */
export interface WatchOptions extends ListOptions {
  readonly timeoutSeconds?: number;
}

/** One line of a watch. A `BOOKMARK` has only `metadata.resourceVersion`. */
export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  readonly object: T;
}

/** How a write is sent. */
export interface WriteOptions {
  readonly subresource?: string;
  readonly fieldManager?: string;
}

/** RFC 6902, RFC 7386, Kubernetes' own merge by key, and server-side apply. */
export type PatchType = "json" | "merge" | "strategic" | "apply";

/** How an object is deleted; only what is given is sent. */
export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Background" | "Foreground" | "Orphan";
  /** The object is deleted only if it still is this one. */
  readonly uid?: string;
  readonly resourceVersion?: string;
}

const patchMediaTypes: Readonly<Record<PatchType, string>> = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  apply: "application/apply-patch+yaml",
};

/** Largest answer that is read whole, in bytes: a list of 10,000 large objects, asked for in pages, stays far below. */
const maxBodyBytes = 256 * 1024 * 1024;

/**
 * A client of one Kubernetes API as one user.
 * Every method throws {@link StatusError} when the server refuses, and the transport's error when no answer came.
 * Objects it returns are not to be changed.
 */
export class ApiClient {
  readonly #transport: Transport;
  readonly #headers: Readonly<Record<string, string>>;

  /** @param headers sent with every request, for instance `user-agent`. */
  constructor(transport: Transport, headers: Readonly<Record<string, string>> = {}) {
    this.#transport = transport;
    this.#headers = headers;
  }

  get<T extends KubeObject>(resource: Resource<T>, key: ObjectKey, signal: AbortSignal): Promise<T> {
    return this.json<T>("GET", resourcePath(resource, key), undefined, signal);
  }

  list<T extends KubeObject>(
    resource: Resource<T>,
    options: ListOptions,
    signal: AbortSignal,
  ): Promise<KubeList<T>> {
    return this.json<KubeList<T>>("GET", collectionPath(resource, options, {}), undefined, signal);
  }

  /**
   * Events after `options.resourceVersion`, until the server or the signal ends the stream.
   * An `ERROR` event is thrown as {@link StatusError}; reason `Expired` asks for a new list.
   */
  async *watch<T extends KubeObject>(
    resource: Resource<T>,
    options: WatchOptions,
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const query = {
      watch: "1",
      allowWatchBookmarks: "true",
      ...(options.timeoutSeconds === undefined ? {} : { timeoutSeconds: String(options.timeoutSeconds) }),
    };
    const response = await this.#send(
      { method: "GET", path: collectionPath(resource, options, query), headers: {} },
      signal,
    );
    for await (const line of jsonLines(response.body)) {
      const event = line as
        | WatchEvent<T>
        | { readonly type: "ERROR"; readonly object: StatusError["status"] };
      if (event.type === "ERROR") throw new StatusError(event.object);
      yield event;
    }
  }

  create<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions,
    signal: AbortSignal,
  ): Promise<T> {
    const { namespace } = keyOf(object);
    const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
    return this.json<T>("POST", resourcePath(resource, { namespace }) + writeQuery(options), body, signal);
  }

  /** Replaces the object; a stale `metadata.resourceVersion` is refused with reason `Conflict`. */
  update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    options: WriteOptions,
    signal: AbortSignal,
  ): Promise<T> {
    const body = { apiVersion: apiVersionOf(resource), kind: resource.kind, ...object };
    const path = resourcePath(resource, keyOf(object), options.subresource) + writeQuery(options);
    return this.json<T>("PUT", path, body, signal);
  }

  patch<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    type: PatchType,
    patch: unknown,
    options: WriteOptions,
    signal: AbortSignal,
  ): Promise<T> {
    const path = resourcePath(resource, key, options.subresource) + writeQuery(options);
    return this.json<T>("PATCH", path, patch, signal, patchMediaTypes[type]);
  }

  async delete<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    options: DeleteOptions,
    signal: AbortSignal,
  ): Promise<void> {
    const preconditions = {
      ...(options.uid === undefined ? {} : { uid: options.uid }),
      ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }),
    };
    const body = {
      apiVersion: "v1",
      kind: "DeleteOptions",
      ...(options.gracePeriodSeconds === undefined ? {} : { gracePeriodSeconds: options.gracePeriodSeconds }),
      ...(options.propagationPolicy === undefined ? {} : { propagationPolicy: options.propagationPolicy }),
      ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }),
    };
    await this.json("DELETE", resourcePath(resource, key), body, signal);
  }

  /** Posts to a subresource such as `binding`, `eviction` or `token`, and returns what it answers. */
  createSubresource<R>(
    resource: Resource,
    key: ObjectKey,
    subresource: string,
    body: unknown,
    signal: AbortSignal,
  ): Promise<R> {
    return this.json<R>("POST", resourcePath(resource, key, subresource), body, signal);
  }

  /** Any other request with a JSON answer: reviews, discovery, `/version`. */
  async json<R>(
    method: ApiRequest["method"],
    path: string,
    body: unknown,
    signal: AbortSignal,
    contentType: string = "application/json",
  ): Promise<R> {
    const response = await this.#send(
      body === undefined
        ? { method, path, headers: {} }
        : { method, path, headers: { "content-type": contentType }, body: JSON.stringify(body) },
      signal,
    );
    const text = await readText(response.body);
    try {
      return JSON.parse(text) as R;
    } catch (cause) {
      throw new Error(`cannot read the answer to ${method} "${path}": it is not JSON`, { cause });
    }
  }

  /** Drops every connection: the next request opens new ones. */
  reset(): void {
    this.#transport.reset();
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  async #send(request: ApiRequest, signal: AbortSignal): Promise<ApiResponse> {
    const headers = { accept: "application/json", ...this.#headers, ...request.headers };
    const response = await this.#transport.send({ ...request, headers }, signal);
    if (response.status < 400) return response;
    throw new StatusError(parseStatus(await readText(response.body), response.status, request));
  }
}

function collectionPath(
  resource: Resource,
  options: ListOptions,
  extra: Readonly<Record<string, string>>,
): string {
  const query = new URLSearchParams(extra);
  for (const name of ["labelSelector", "fieldSelector", "limit", "continue", "resourceVersion"] as const) {
    const value = options[name];
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  const path = resourcePath(
    resource,
    options.namespace === undefined ? {} : { namespace: options.namespace },
  );
  return query.size === 0 ? path : `${path}?${query.toString()}`;
}

function writeQuery(options: WriteOptions): string {
  return options.fieldManager === undefined
    ? ""
    : `?fieldManager=${encodeURIComponent(options.fieldManager)}`;
}

async function readText(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body) {
    length += chunk.length;
    if (length > maxBodyBytes)
      throw new Error(`cannot read the answer: it is longer than ${maxBodyBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

/** Proxies and old servers answer errors with plain text; callers see a `Status` all the same. */
function parseStatus(text: string, code: number, request: ApiRequest): StatusError["status"] {
  try {
    const status: unknown = JSON.parse(text);
    if (typeof status === "object" && status !== null && "kind" in status && status.kind === "Status") {
      return { code, ...(status as StatusError["status"]) };
    }
  } catch {
    // Not JSON: the text itself is the message.
  }
  const message =
    text.trim() === "" ? `${request.method} "${request.path}" was answered with ${code}` : text.trim();
  return { apiVersion: "v1", kind: "Status", status: "Failure", code, reason: reasonOf(code), message };
}

function reasonOf(code: number): string {
  const reasons: Readonly<Record<number, string>> = {
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    429: "TooManyRequests",
    504: "Timeout",
  };
  return reasons[code] ?? "Unknown";
}
