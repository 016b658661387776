import { randomUUID } from "node:crypto";
import { errorText } from "#lib/log.ts";
import { ApiError, badRequest, notAllowed, unknownPath } from "../api-error.ts";
import type { ResourceDefinition, Subresource, User } from "../model.ts";
import { assertAuthorized, authenticated } from "./access.ts";
import { ObjectCache } from "./cache/object-cache.ts";
import { Documents } from "./documents.ts";
import type { Engine, Reply, ResourceRequest } from "./engine.ts";
import { bindPod } from "./handlers/bind.ts";
import { expireEvents } from "./expire-events.ts";
import { createObject } from "./handlers/create.ts";
import { deleteCollection, deleteObject } from "./handlers/delete.ts";
import { evictPod } from "./handlers/evict.ts";
import { listObjects } from "./handlers/list.ts";
import { patchObject } from "./handlers/patch.ts";
import { getObject } from "./handlers/read.ts";
import { scale } from "./handlers/scale.ts";
import { updateObject } from "./handlers/update.ts";
import { requestToken, virtualResource } from "./handlers/virtual.ts";
import { watchObjects } from "./handlers/watch.ts";
import { InFlight } from "./in-flight.ts";
import { type OutputFormat, negotiate } from "./negotiate.ts";
import type { ApiServerPorts } from "./ports.ts";
import { Registry } from "./registry.ts";
import { encode, render } from "./render.ts";
import type { ServerRequest, ServerResponse } from "./request.ts";
import { httpProxy } from "./node-proxy/http-proxy.ts";
import { podLog } from "./node-proxy/pod-log.ts";
import { type Target, attributesOf, parseTarget, verbOf } from "./request-target.ts";

/** A request that does not stream is answered within this time, as Kubernetes does. */
const requestTimeoutMs = 60_000;

type ResourceTarget = Extract<Target, { readonly kind: "resource" }>;

/**
 * The API server without a network: requests in, answers out. `http-server.ts` puts it on a port,
 * `local-transport.ts` gives it to controllers in the same process.
 */
export class ApiServer {
  readonly #engine: Engine;
  readonly #documents: Documents;
  readonly #inFlight = new InFlight();
  #state: "starting" | "ready" | "stopping" = "starting";

  constructor(ports: ApiServerPorts) {
    const registry = new Registry(ports.resources);
    const stored = ports.resources.filter(({ storage }) => storage === "stored");
    const prefixes = [...new Set(stored.map(({ storagePrefix }) => storagePrefix))];
    const cache = new ObjectCache(ports.store, prefixes, ports.clock, ports.log);
    this.#engine = { ports, cache, registry };
    this.#documents = new Documents(this.#engine, () => this.#state);
  }

  get engine(): Engine {
    return this.#engine;
  }

  /** Reads the store; from then on requests can be answered. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#engine.cache.fill(signal);
    this.#state = "ready";
  }

  /** Follows the store until the signal is aborted; from then on `/readyz` says no. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#engine.ports;
    await Promise.all([this.#engine.cache.follow(signal), expireEvents(this.#engine, clock, log, signal)]);
    this.#state = "stopping";
  }

  /** Answers any request; never throws, every error is a `Status`. */
  async handle(request: ServerRequest, signal: AbortSignal): Promise<ServerResponse> {
    const auditId = request.headers["audit-id"] ?? randomUUID();
    const warnings: string[] = [];
    const startedMs = this.#engine.ports.clock.monotonicMs();
    const response = await this.#answer(request, warnings, signal).catch((cause: unknown) =>
      this.#refusal(cause, request),
    );
    this.#observe(request, response.status, startedMs);
    return {
      ...response,
      headers: {
        ...response.headers,
        "audit-id": auditId,
        "cache-control": response.headers["cache-control"] ?? "no-cache, private",
        ...(warnings.length === 0 ? {} : { warning: warningHeader(warnings) }),
      },
    };
  }

  /**
   * Authenticates and authorizes a request that will be answered outside of the engine: an upgrade.
   * @throws {ApiError} 401, 403, 404.
   */
  async admitUpgrade(
    request: ServerRequest,
    signal: AbortSignal,
  ): Promise<{ readonly user: User; readonly target: ResourceTarget; readonly query: URLSearchParams }> {
    const { pathname, query } = splitPath(request.path);
    const target = parseTarget(pathname);
    const user = await authenticated(this.#engine, request, pathname, signal);
    const verb = verbOf(request.method, target, query);
    await assertAuthorized(this.#engine, attributesOf(user, verb, target), signal);
    if (target.kind !== "resource") throw unknownPath();
    return { user, target, query };
  }

  async #answer(request: ServerRequest, warnings: string[], signal: AbortSignal): Promise<ServerResponse> {
    const { pathname, query } = splitPath(request.path);
    const target = parseTarget(pathname);
    const user = await authenticated(this.#engine, request, pathname, signal);
    const verb = verbOf(request.method, target, query);
    const isStream =
      verb === "watch" || (target.kind === "resource" && ["log", "proxy"].includes(target.subresource));
    const leave = isStream ? (): void => {} : this.#inFlight.enter(verb);
    try {
      await assertAuthorized(this.#engine, attributesOf(user, verb, target, query), signal);
      if (target.kind === "path") return await this.#documents.answer(request, pathname, query);
      const answering = this.#resource(request, target, query, user, verb, warnings, signal);
      return isStream ? await answering : await this.#withinTime(answering);
    } finally {
      leave();
    }
  }

  async #resource(
    request: ServerRequest,
    target: ResourceTarget,
    query: URLSearchParams,
    user: User,
    verb: string,
    warnings: string[],
    signal: AbortSignal,
  ): Promise<ServerResponse> {
    const definition = this.#engine.registry.find(target.group, target.version, target.resource);
    if (definition === undefined) throw unknownPath();
    const subresource = target.subresource as Subresource | "";
    if (subresource !== "" && !definition.subresources.includes(subresource)) throw unknownPath();
    if (!definition.namespaced && target.namespace !== "" && definition.plural !== "namespaces")
      throw unknownPath();
    if (definition.namespaced && target.namespace === "" && (target.name !== "" || verb === "create"))
      throw verb === "create" ? notAllowed(request.method, request.path) : unknownPath();
    const passes = subresource === "proxy" || subresource === "log";
    const format = negotiate(passes ? undefined : request.headers["accept"], hasTable(definition));
    const resourceRequest: ResourceRequest = {
      method: request.method === "HEAD" ? "GET" : request.method,
      definition,
      subresource,
      namespace: definition.namespaced ? target.namespace : "",
      name: target.name,
      rest: target.rest,
      query,
      headers: request.headers,
      user,
      body: request.body,
      warnings,
    };
    const reply = await this.#dispatch(resourceRequest, verb, format, signal);
    return render(this.#engine, definition, reply, format, query);
  }

  async #dispatch(
    request: ResourceRequest,
    verb: string,
    format: OutputFormat,
    signal: AbortSignal,
  ): Promise<Reply> {
    const engine = this.#engine;
    const { definition, subresource, method } = request;
    if (definition.storage === "virtual") return await virtualResource(engine, request, verb, signal);
    if (subresource !== "") return await this.#subresource(request, verb, signal);
    if (!definition.verbs.some((known) => known === verb))
      throw notAllowed(method, `${definition.plural}${request.name === "" ? "" : `/${request.name}`}`);
    switch (verb) {
      case "get":
        return await getObject(engine, request, signal);
      case "list":
        return await listObjects(engine, request, signal);
      case "watch":
        return await watchObjects(engine, request, format, signal);
      case "create":
        if (request.name !== "") throw notAllowed(method, `${definition.plural}/${request.name}`);
        return await createObject(engine, request, signal);
      case "update":
        if (request.name === "") throw notAllowed(method, definition.plural);
        return await updateObject(engine, request, signal);
      case "patch":
        if (request.name === "") throw notAllowed(method, definition.plural);
        return await patchObject(engine, request, signal);
      case "delete":
        return await deleteObject(engine, request, signal);
      case "deletecollection":
        return await deleteCollection(engine, request, signal);
      default:
        throw notAllowed(method, definition.plural);
    }
  }

  async #subresource(request: ResourceRequest, verb: string, signal: AbortSignal): Promise<Reply> {
    const engine = this.#engine;
    const { subresource, method, definition } = request;
    if (subresource === "proxy") return await httpProxy(engine, request, signal);
    if (subresource === "log") return await podLog(engine, request, signal);
    if (["exec", "attach", "portforward"].includes(subresource)) throw badRequest("Upgrade request required");
    if (subresource === "scale") return await scale(engine, request, signal);
    if (verb === "create" && subresource === "binding") return await bindPod(engine, request, signal);
    if (verb === "create" && subresource === "eviction") return await evictPod(engine, request, signal);
    if (verb === "create" && subresource === "token") return await requestToken(engine, request, signal);
    const whole = ["status", "finalize", "ephemeralcontainers", "resize", "approval"].includes(subresource);
    if (whole && verb === "get") return await getObject(engine, request, signal);
    if (whole && verb === "update") return await updateObject(engine, request, signal);
    if (whole && verb === "patch") return await patchObject(engine, request, signal);
    throw notAllowed(method, `${definition.plural}/${subresource}`);
  }

  #observe(request: ServerRequest, code: number, startedMs: number): void {
    const { observe, clock } = this.#engine.ports;
    if (observe === undefined) return;
    const seconds = (clock.monotonicMs() - startedMs) / 1_000;
    const none = { verb: "", group: "", version: "", resource: "", subresource: "", code, seconds };
    const named = targetOf(request);
    if (named === undefined) return observe(none);
    const { target, verb } = named;
    if (target.kind === "path") return observe({ ...none, verb });
    const { group, version, resource, subresource } = target;
    const definition = this.#engine.registry.find(group, version, resource);
    const known = subresource === "" || definition?.subresources.some((each) => each === subresource);
    if (definition === undefined || known !== true) return observe({ ...none, verb });
    observe({ verb, group, version, resource, subresource, code, seconds });
  }

  async #withinTime<T>(answering: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const cancel = this.#engine.ports.clock.after(requestTimeoutMs, () =>
      reject(new ApiError(504, "Timeout", "request did not complete within the allotted timeout")),
    );
    try {
      return await Promise.race([answering, promise]);
    } finally {
      cancel();
    }
  }

  #refusal(cause: unknown, request: ServerRequest): ServerResponse {
    const error =
      cause instanceof ApiError
        ? cause
        : cause instanceof RangeError && cause.message.includes("call stack")
          ? // Only a body nested a hundred thousand deep gets there.
            new ApiError(400, "BadRequest", "json: exceeded max depth")
          : cause instanceof URIError
            ? new ApiError(400, "BadRequest", `cannot read the path: ${cause.message}`)
            : new ApiError(500, "InternalError", `Internal error occurred: ${errorText(cause)}`, {
                causes: [{ message: errorText(cause) }],
              });
    if (error.code >= 500 && error.code !== 504)
      this.#engine.ports.log.error("cannot answer a request", {
        method: request.method,
        path: request.path,
        why: errorText(cause),
        ...(cause instanceof ApiError || !(cause instanceof Error) ? {} : { stack: cause.stack }),
      });
    const retry = error.details?.retryAfterSeconds;
    const response = encode(error.code, error.status, { encoding: "json" });
    return {
      ...response,
      headers: {
        ...response.headers,
        ...(retry === undefined ? {} : { "retry-after": String(retry) }),
        ...(error.code === 401 ? { "www-authenticate": 'Bearer realm="keelson"' } : {}),
      },
    };
  }
}

/** What a request is for; undefined when its path cannot be read. */
function targetOf(request: ServerRequest): { readonly target: Target; readonly verb: string } | undefined {
  try {
    const { pathname, query } = splitPath(request.path);
    const target = parseTarget(pathname);
    return { target, verb: verbOf(request.method, target, query) };
  } catch {
    return undefined;
  }
}

/** Path and query apart. */
export function splitPath(path: string): { readonly pathname: string; readonly query: URLSearchParams } {
  const at = path.indexOf("?");
  return at < 0
    ? { pathname: path, query: new URLSearchParams() }
    : { pathname: path.slice(0, at), query: new URLSearchParams(path.slice(at + 1)) };
}

/** RFC 7234 §5.5; 299 is "miscellaneous persistent warning". */
function warningHeader(warnings: readonly string[]): string {
  return warnings
    .slice(0, 20)
    .map((text) => `299 - "${text.replace(/[\\"]/g, "\\$&").replace(/[^\x20-\x7e]/g, "?")}"`)
    .join(", ");
}

/** A review is an answer to a question and has no table form; what can be listed has. */
function hasTable(definition: ResourceDefinition): boolean {
  return definition.storage === "stored" || definition.verbs.includes("list");
}
