/**
 * The words of the control plane: what a resource is, who asks, what the engine asks of each kind.
 * Pure: types and tiny helpers only.
 */

/** An object as it is stored and served: JSON, never changed in place. */
export interface StoredObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: StoredMetadata;
  readonly [field: string]: unknown;
}

export interface StoredMetadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly generation?: number;
  readonly generateName?: string;
  readonly creationTimestamp?: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly StoredOwner[];
  readonly managedFields?: readonly unknown[];
}

export interface StoredOwner {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

/** Who asks, as authentication found out. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

/** The verbs of RBAC. */
export type Verb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete" | "deletecollection";

/** What authorization decides on. Non-resource requests have a `path` and no `resource`. */
export type Attributes =
  | {
      readonly kind: "resource";
      readonly user: User;
      readonly verb: string;
      readonly group: string;
      readonly version: string;
      readonly resource: string;
      /** "" when none. */
      readonly subresource: string;
      /** "" for cluster-wide. */
      readonly namespace: string;
      /** "" for collections. */
      readonly name: string;
    }
  | { readonly kind: "path"; readonly user: User; readonly verb: string; readonly path: string };

export type Decision =
  | { readonly allowed: true; readonly why: string }
  | { readonly allowed: false; readonly why: string };

/** One thing wrong with an object. `detail` is the text after the field, as Kubernetes words it. */
export interface FieldError {
  /** `FieldValueInvalid`, `FieldValueRequired`, ... */
  readonly reason: string;
  /** `spec.containers[0].name` */
  readonly field: string;
  /** `Invalid value: "X": must be ...`, `Required value`, ... */
  readonly detail: string;
}

/** One column of a table. `priority` 1 shows only with `-o wide`. */
export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  /** OpenAPI format: `name` marks the name column. */
  readonly format?: string;
  readonly description: string;
  readonly priority: 0 | 1;
  /** @param nowMs for ages. */
  readonly cell: (object: StoredObject, nowMs: number) => string | number | boolean;
}

/** What the engine asks of each kind. Every function is pure. */
export interface Strategy {
  /** Fills in what Kubernetes defaults; runs after admission's mutations as well, so it is idempotent. */
  readonly defaults: (object: StoredObject) => StoredObject;
  /** Server-owned parts of a new object: status emptied, generation 1 where the kind has one. */
  readonly prepareCreate: (object: StoredObject) => StoredObject;
  /** Server-owned parts of a changed object on the main resource: status kept, generation raised when the spec changed. */
  readonly prepareUpdate: (next: StoredObject, before: StoredObject) => StoredObject;
  /** The same for `/status`: only status (and metadata the API allows) is taken from `next`. */
  readonly prepareStatusUpdate: (next: StoredObject, before: StoredObject) => StoredObject;
  readonly validateCreate: (object: StoredObject) => readonly FieldError[];
  readonly validateUpdate: (next: StoredObject, before: StoredObject) => readonly FieldError[];
  /** Seconds of grace a delete gives unless the client says otherwise; 0 deletes at once. Pods have more. */
  readonly gracePeriodSeconds: (object: StoredObject) => number;
  /** PUT of a missing object creates it (Lease, Endpoints, Service, ...). */
  readonly allowCreateOnUpdate: boolean;
  /** A PUT without resourceVersion replaces whatever is there. */
  readonly allowUnconditionalUpdate: boolean;
}

/** A subresource the engine serves for a kind. */
export type Subresource =
  | "status"
  | "scale"
  | "log"
  | "exec"
  | "attach"
  | "portforward"
  | "proxy"
  | "binding"
  | "eviction"
  | "token"
  | "ephemeralcontainers"
  | "resize"
  | "finalize"
  | "approval";

/** One row of the resource table. */
export interface ResourceDefinition {
  /** "" for core. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly verbs: readonly Verb[];
  readonly subresources: readonly Subresource[];
  /** The name in `api/generated/schema.json`. */
  readonly model: string;
  /** Where it lives in the store, without slashes at the ends: `registry/pods`. etcd's layout of upstream. */
  readonly storagePrefix: string;
  /** Selectable fields besides metadata.name and metadata.namespace. */
  readonly fields: Readonly<Record<string, (object: StoredObject) => string>>;
  readonly columns: readonly Column[];
  readonly strategy: Strategy;
  /** `name` must be a DNS label, a DNS subdomain, or any path segment (RBAC). */
  readonly nameRule: "label" | "subdomain" | "path-segment" | "service";
  /**
   * "memory" for kinds that are not stored: reviews are answered, componentstatuses are computed.
   */
  readonly storage: "stored" | "virtual";
}

/** Admission of a write, after authorization and before validation. */
export interface AdmissionRequest {
  readonly operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  readonly user: User;
  readonly resource: ResourceDefinition;
  readonly subresource: Subresource | "";
  readonly namespace: string;
  readonly name: string;
  readonly object: StoredObject | undefined;
  readonly before: StoredObject | undefined;
  readonly dryRun: boolean;
}

/** Plugins run in order; each may change the object or throw an ApiError (403 mostly). Not pure: they read the store. */
export interface AdmissionPlugin {
  readonly name: string;
  admit(request: AdmissionRequest, signal: AbortSignal): Promise<StoredObject | undefined>;
}
