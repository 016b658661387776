import http, { type IncomingMessage } from "node:http";
import https from "node:https";
import type { Duplex } from "node:stream";
import { ApiError } from "../../api-error.ts";
import type { StoredObject } from "../../model.ts";
import { isRecord } from "../handlers/incoming.ts";

/** How the API server shows itself to nodes. */
export interface KubeletCredentials {
  /** PEM of `apiserver-kubelet-client`. */
  readonly certificate: string;
  readonly key: string;
  /** When given, a node's certificate must be of this authority; unset, any is taken, as upstream does by default. */
  readonly ca?: string;
}

/** Where a node's server listens. */
export interface NodeAddress {
  readonly host: string;
  readonly port: number;
}

/** What a node answered: either it speaks HTTP, or it took the connection over. */
export type NodeAnswer =
  | { readonly kind: "response"; readonly response: IncomingMessage }
  | {
      readonly kind: "upgraded";
      readonly response: IncomingMessage;
      readonly socket: Duplex;
      readonly head: Uint8Array;
    };

/** A request to a node. */
export interface NodeRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** A node must answer, with headers at least, within this time. */
const connectTimeoutMs = 30_000;

/** Talks to nodes' servers (port 10250). Each request has a connection of its own: most of them live long. */
export class KubeletClient {
  readonly #credentials: () => KubeletCredentials | undefined;

  /**
   * @param credentials a function is asked for every connection, since certificates are renewed; undefined speaks
   *   plain HTTP, for tests.
   */
  constructor(credentials: KubeletCredentials | (() => KubeletCredentials) | undefined) {
    this.#credentials = typeof credentials === "function" ? credentials : () => credentials;
  }

  /** @throws {ApiError} 502-like 503 when the node cannot be reached. */
  async send(address: NodeAddress, request: NodeRequest, signal: AbortSignal): Promise<NodeAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<NodeAnswer>();
    const options = {
      ...address,
      method: request.method,
      path: request.path,
      headers: request.headers,
      agent: false,
      signal,
    };
    const own = this.#credentials();
    const outgoing =
      own === undefined
        ? http.request(options)
        : https.request({
            ...options,
            cert: own.certificate,
            key: own.key,
            ...(own.ca === undefined
              ? { rejectUnauthorized: false }
              : { ca: own.ca, rejectUnauthorized: true }),
          });
    const timer = setTimeout(
      () => outgoing.destroy(new Error("it did not answer in time")),
      connectTimeoutMs,
    );
    outgoing.once("response", (response) => resolve({ kind: "response", response }));
    outgoing.once("upgrade", (response, socket, head) =>
      resolve({ kind: "upgraded", response, socket, head }),
    );
    outgoing.once("error", reject);
    outgoing.end(request.body);
    try {
      return await promise;
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const where = `${address.host}:${address.port}`;
      throw new ApiError(
        500,
        "InternalError",
        `Internal error occurred: error dialing backend: dial tcp ${where}: ${why}`,
        { causes: [{ message: `error dialing backend: ${why}` }] },
        { cause },
      );
    } finally {
      clearTimeout(timer);
      // What breaks later is the splice's business; without a listener it would end the process.
      outgoing.on("error", () => {});
    }
  }
}

/**
 * Where a node's server is: its InternalIP, else its host name, and the port it reported.
 * @throws {ApiError} 500 when it reported no address.
 */
export function nodeAddress(node: StoredObject): NodeAddress {
  const status = isRecord(node["status"]) ? node["status"] : {};
  const addresses = (Array.isArray(status["addresses"]) ? status["addresses"] : []).filter(isRecord);
  for (const type of ["InternalIP", "Hostname", "ExternalIP"]) {
    const address = addresses.find((each) => each["type"] === type)?.["address"];
    if (typeof address === "string" && address !== "") return { host: address, port: portOf(status) };
  }
  throw new ApiError(
    500,
    "InternalError",
    `Internal error occurred: no preferred addresses found for node "${node.metadata.name}"; known addresses: []`,
  );
}

function portOf(status: Readonly<Record<string, unknown>>): number {
  const endpoints = isRecord(status["daemonEndpoints"]) ? status["daemonEndpoints"] : {};
  const endpoint = isRecord(endpoints["kubeletEndpoint"]) ? endpoints["kubeletEndpoint"] : {};
  const port = endpoint["Port"];
  return typeof port === "number" && port > 0 ? port : 10_250;
}
