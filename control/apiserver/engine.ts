import type { Clock } from "#lib/clock.ts";
import type { ResourceDefinition, StoredObject, Subresource, User } from "../model.ts";
import type { ObjectCache } from "./cache/object-cache.ts";
import type { ApiServerPorts } from "./ports.ts";
import type { Registry } from "./registry.ts";

/** What every handler works with. */
export interface Engine {
  readonly ports: ApiServerPorts;
  readonly cache: ObjectCache;
  readonly registry: Registry;
}

/** One request for a resource, authorized. */
export interface ResourceRequest {
  readonly method: string;
  readonly definition: ResourceDefinition;
  readonly subresource: Subresource | "";
  /** "" for cluster-wide kinds and for all namespaces. */
  readonly namespace: string;
  /** "" for collections. */
  readonly name: string;
  readonly rest: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly user: User;
  readonly body: () => Promise<Uint8Array>;
  /** Texts for `Warning` headers; handlers add to it. */
  readonly warnings: string[];
}

/** What a handler answers, before it is known in which form the client wants it. */
export type Reply =
  /** One object of the kind, or of another (`Scale`, `Status`). */
  | {
      readonly kind: "object";
      readonly status: number;
      readonly object: StoredObject;
      readonly bytes?: Uint8Array;
    }
  | { readonly kind: "list"; readonly items: readonly ListItem[]; readonly metadata: ListMetadata }
  /** Something else that is JSON: a `Status`, a review. Has no table form. */
  | { readonly kind: "json"; readonly status: number; readonly value: unknown }
  /** An answer that is not ours, passed on as it is. */
  | {
      readonly kind: "raw";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: AsyncIterable<Uint8Array>;
    }
  | { readonly kind: "stream"; readonly contentType: string; readonly body: AsyncIterable<Uint8Array> };

/** An object of a list; `bytes` is its JSON when that is at hand. */
export interface ListItem {
  readonly object: StoredObject;
  readonly bytes: Uint8Array | undefined;
}

export interface ListMetadata {
  readonly resourceVersion: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

/** RFC 3339 with whole seconds, as metadata's times are written. */
export function timestamp(clock: Clock, laterSeconds = 0): string {
  return new Date(clock.now() + laterSeconds * 1_000).toISOString().replace(/\.\d+Z$/, "Z");
}
