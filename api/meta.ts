import type { ListMeta, ObjectMeta } from "./generated/kubernetes.ts";

/** What every Kubernetes object has. */
export interface KubeObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: ObjectMeta;
}

/** A list as the API returns it. `metadata.resourceVersion` is the revision of the whole store. */
export interface KubeList<T> {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: ListMeta;
  readonly items: readonly T[];
}

/**
 * One kind of object the API serves, and where.
 * `group` is "" for core; `T` ties the place to the type of what lives there.
 */
export interface Resource<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Never set; it only carries the type. */
  readonly type?: T;
}

/** Where one object is. `namespace` is "" for cluster-wide kinds. */
export interface ObjectKey {
  readonly namespace: string;
  readonly name: string;
}

/** `v1`, `apps/v1`. */
export function apiVersionOf(resource: Resource): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** `namespace/name`, or `name` alone for cluster-wide objects: the key of every view and queue. */
export function keyText(key: ObjectKey): string {
  return key.namespace === "" ? key.name : `${key.namespace}/${key.name}`;
}

/** The inverse of {@link keyText}. */
export function parseKey(text: string): ObjectKey {
  const slash = text.indexOf("/");
  return slash < 0
    ? { namespace: "", name: text }
    : { namespace: text.slice(0, slash), name: text.slice(slash + 1) };
}

/** The key of an object from the API. */
export function keyOf(object: KubeObject): ObjectKey {
  return { namespace: object.metadata?.namespace ?? "", name: object.metadata?.name ?? "" };
}

/** The URL path of a collection, or of one object and perhaps a subresource of it. */
export function resourcePath(resource: Resource, key?: Partial<ObjectKey>, subresource?: string): string {
  const base =
    resource.group === "" ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const within =
    resource.namespaced && key?.namespace !== undefined && key.namespace !== ""
      ? `/namespaces/${encodeURIComponent(key.namespace)}`
      : "";
  const object = key?.name === undefined ? "" : `/${encodeURIComponent(key.name)}`;
  return `${base}${within}/${resource.plural}${object}${subresource === undefined ? "" : `/${subresource}`}`;
}
