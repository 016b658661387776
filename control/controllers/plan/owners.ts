import type { OwnerReference } from "#api/generated/kubernetes.ts";
import { apiVersionOf, type KubeObject, type Resource } from "#api/meta.ts";

/** The owner that manages this object; there is at most one. */
export function controllerOf(object: KubeObject): OwnerReference | undefined {
  return object.metadata?.ownerReferences?.find((owner) => owner.controller === true);
}

/** The reference by which `owner` manages another object. */
export function controllerReference(resource: Resource, owner: KubeObject): OwnerReference {
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    name: owner.metadata?.name ?? "",
    uid: owner.metadata?.uid ?? "",
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The object with `apiVersion` and `kind`, which lists leave out, so that an event can name it. */
export function asTarget<T extends KubeObject>(resource: Resource<T>, object: T): T & KubeObject {
  return { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind };
}
