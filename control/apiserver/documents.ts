import { kubernetesVersion } from "#api/version.ts";
import { createHash } from "node:crypto";
import { notAllowed, unknownPath } from "../api-error.ts";
import type { Engine } from "./engine.ts";
import { health } from "./health.ts";
import { parseAccept } from "./negotiate.ts";
import { encode } from "./render.ts";
import type { ServerRequest, ServerResponse } from "./request.ts";

/** What `/version` says: kubectl and conformance want bare integers in major and minor. */
export const version: Readonly<Record<string, string>> = {
  major: "1",
  minor: "36",
  gitVersion: kubernetesVersion,
  gitCommit: "unknown",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: `node ${process.version}`,
  compiler: "node",
  platform: `linux/${process.arch === "x64" ? "amd64" : process.arch}`,
};

/** What clients ask for has `v2@v1.0`, but an `@` is no character of a media type and Go's parser refuses it. */
const v2Protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/** Everything that is not a resource: discovery, OpenAPI, health, version, metrics. Made once, then cached. */
export class Documents {
  readonly #engine: Engine;
  readonly #state: () => string;
  readonly #made = new Map<string, ServerResponse>();

  constructor(engine: Engine, state: () => string) {
    this.#engine = engine;
    this.#state = state;
  }

  /** @throws {ApiError} 404, 405. */
  async answer(request: ServerRequest, pathname: string, query: URLSearchParams): Promise<ServerResponse> {
    if (request.method !== "GET" && request.method !== "HEAD") {
      if (this.#paths().includes(pathname)) throw notAllowed(request.method, pathname);
      throw unknownPath();
    }
    const path = pathname.length > 1 ? pathname.replace(/\/$/, "") : pathname;
    const { ports, registry } = this.#engine;
    if (/^\/(livez|readyz|healthz)(\/|$)/.test(path)) return health(this.#engine, path, query, this.#state());
    if (path === "/version") return encode(200, version, { encoding: "json" });
    if (path === "/metrics" && ports.metrics !== undefined)
      return text(200, await ports.metrics(), "text/plain; version=0.0.4; charset=utf-8");
    const document = ports.documents?.get(path);
    if (document !== undefined) return encode(200, document(), { encoding: "json" });
    if (path === "/") return encode(200, { paths: this.#paths() }, { encoding: "json" });
    if (path.startsWith("/openapi/") || path.startsWith("/swagger"))
      return this.#openApi(request, path, query);
    const aggregated = aggregatedVersion(request.headers["accept"]);
    if ((path === "/api" || path === "/apis") && aggregated !== undefined) {
      const type = `application/json;g=apidiscovery.k8s.io;v=${aggregated};as=APIGroupDiscoveryList`;
      const made = this.#once(`${path} ${aggregated}`, () => {
        const value = ports.content.aggregatedDiscovery(
          registry.all,
          path === "/api" ? "api" : "apis",
          aggregated,
        );
        return json(value, type);
      });
      return unlessSame(request, made);
    }
    return this.#once(path, () => {
      const value = ports.content.legacyDiscovery(
        registry.all,
        path,
        ports.serverAddress ?? "127.0.0.1:6443",
      );
      if (value === undefined) throw unknownPath();
      return json(value, "application/json");
    });
  }

  #openApi(request: ServerRequest, path: string, query: URLSearchParams): ServerResponse {
    const { content } = this.#engine.ports;
    const { all } = this.#engine.registry;
    const accept = request.headers["accept"] ?? "";
    if (path === "/swagger-2.0.0.pb-v1" || (path === "/openapi/v2" && accept.includes("protobuf")))
      return unlessSame(
        request,
        this.#once("v2 protobuf", () => withTag(v2Protobuf, content.openApiV2(all))),
      );
    if (path === "/openapi/v2" || path === "/swagger.json")
      return unlessSame(
        request,
        this.#once("v2 json", () => json(content.openApiV2Json(all), "application/json")),
      );
    if (path === "/openapi/v3")
      return unlessSame(
        request,
        this.#once("v3", () => json(content.openApiV3Index(all), "application/json")),
      );
    const made = this.#once(path, () => {
      const value = content.openApiV3(all, path.slice("/openapi/v3/".length));
      if (value === undefined) throw unknownPath();
      return json(value, "application/json");
    });
    const cached = query.has("hash") ? { "cache-control": "public, immutable, max-age=31536000" } : {};
    return unlessSame(request, { ...made, headers: { ...made.headers, ...cached } });
  }

  #once(key: string, make: () => ServerResponse): ServerResponse {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#made.set(key, made);
    return made;
  }

  /** What `GET /` lists. */
  #paths(): readonly string[] {
    const { all } = this.#engine.registry;
    const groups = all
      .filter(({ group }) => group !== "")
      .flatMap(({ group, version }) => [`/apis/${group}`, `/apis/${group}/${version}`]);
    const fixed = [
      "/api",
      "/api/v1",
      "/apis",
      "/healthz",
      "/livez",
      "/metrics",
      "/openapi/v2",
      "/openapi/v3",
      "/readyz",
      "/version",
    ];
    return [...new Set([...fixed, ...groups, ...(this.#engine.ports.documents?.keys() ?? [])])].sort();
  }
}

/** The aggregated form that the client names first; kubectl sends v2, older ones v2beta1. */
function aggregatedVersion(accept: string | undefined): "v2" | "v2beta1" | undefined {
  for (const { type, parameters } of parseAccept(accept ?? "")) {
    if (type !== "application/json") continue;
    if (parameters.get("g") !== "apidiscovery.k8s.io") return undefined;
    const version = parameters.get("v");
    if (parameters.get("as") === "APIGroupDiscoveryList" && (version === "v2" || version === "v2beta1"))
      return version;
  }
  return undefined;
}

function json(value: unknown, type: string): ServerResponse {
  return withTag(type, Buffer.from(JSON.stringify(value)));
}

function withTag(type: string, body: Uint8Array): ServerResponse {
  const tag = createHash("sha512").update(body).digest("hex").toUpperCase();
  return { status: 200, headers: { "content-type": type, etag: `"${tag}"`, vary: "Accept" }, body };
}

function unlessSame(request: ServerRequest, response: ServerResponse): ServerResponse {
  const known = request.headers["if-none-match"];
  const tag = response.headers["etag"];
  if (known === undefined || tag === undefined || known.replaceAll('"', "") !== tag.replaceAll('"', ""))
    return response;
  return { status: 304, headers: response.headers, body: new Uint8Array() };
}

function text(status: number, value: string, type: string): ServerResponse {
  return { status, headers: { "content-type": type }, body: Buffer.from(value) };
}
