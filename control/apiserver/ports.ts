import type { AuthenticationV1TokenRequest } from "#api/generated/kubernetes.ts";
import type { Clock } from "#lib/clock.ts";
import type { Log } from "#lib/log.ts";
import type { Authentication, Credentials } from "../auth/authenticator.ts";
import type {
  AdmissionPlugin,
  Attributes,
  Decision,
  ResourceDefinition,
  StoredObject,
  User,
} from "../model.ts";
import type { Store } from "../store/store.ts";
import type { Content } from "./content.ts";
import type { KubeletClient } from "./node-proxy/kubelet-client.ts";

/** What the API server is made of; `control/main.ts` gives the real ones. */
export interface ApiServerPorts {
  readonly store: Store;
  readonly resources: readonly ResourceDefinition[];
  readonly content: Content;
  readonly authenticate: (credentials: Credentials, signal: AbortSignal) => Promise<Authentication>;
  readonly authorize: (attributes: Attributes, signal: AbortSignal) => Decision | Promise<Decision>;
  /** In order. */
  readonly admission: readonly AdmissionPlugin[];
  /** Answers POST serviceaccounts/`name`/token. */
  readonly issueToken: (
    namespace: string,
    name: string,
    request: AuthenticationV1TokenRequest,
    signal: AbortSignal,
  ) => Promise<AuthenticationV1TokenRequest>;
  /** Kinds that are not stored, by `plural.group` (`componentstatuses`, `tokenreviews.authentication.k8s.io`). */
  readonly virtual: ReadonlyMap<string, VirtualHandler>;
  /** Documents served as they are, by path: `/openid/v1/jwks`, `/.well-known/openid-configuration`. */
  readonly documents?: ReadonlyMap<string, () => unknown>;
  /** What `/metrics` answers. */
  readonly metrics?: () => Promise<string>;
  /** Called once for each request, when its answer begins: for metrics. */
  readonly observe?: (request: ObservedRequest) => void;
  /** Reaches nodes for logs, exec, attach and portforward; without it those answer 503. */
  readonly kubelet?: KubeletClient;
  /** Further checks of `/readyz`, by name; a text says what is wrong. */
  readonly ready?: ReadonlyMap<string, () => string | undefined>;
  /** `host:port` that discovery names; 127.0.0.1:6443 unless given. */
  readonly serverAddress?: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** What metrics count a request by. Bounded: names of objects and paths are not in it. */
export interface ObservedRequest {
  /** As RBAC names it; "" when the request was refused before that was known. */
  readonly verb: string;
  readonly group: string;
  readonly version: string;
  /** "" for what is no resource, and for resources that do not exist. */
  readonly resource: string;
  readonly subresource: string;
  readonly code: number;
  /** From the request to the start of its answer; a watch's life is not in it. */
  readonly seconds: number;
}

/** A request for a kind that is not stored. */
export interface VirtualRequest {
  readonly verb: "create" | "get" | "list";
  readonly definition: ResourceDefinition;
  readonly namespace: string;
  readonly name: string;
  /** The posted object; undefined for reads. */
  readonly object: StoredObject | undefined;
  readonly user: User;
}

/** @returns the object that answers; for `list`, the whole list object. */
export type VirtualHandler = (request: VirtualRequest, signal: AbortSignal) => Promise<unknown>;
