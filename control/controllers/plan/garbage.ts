import type { OwnerReference } from "#api/generated/kubernetes.ts";
import type { KubeObject } from "#api/meta.ts";

/** Set on an object that is to go after its dependents. */
export const foregroundFinalizer = "foregroundDeletion";
/** Set on an object whose dependents are to stay. */
export const orphanFinalizer = "orphan";

/** An owner as the collector found it. */
export type Owner =
  /** `foreground`: it waits for its dependents to go. */
  | { readonly state: "there"; readonly reference: OwnerReference; readonly foreground: boolean }
  | { readonly state: "gone"; readonly reference: OwnerReference };

/** What is to become of an object that has owners. */
export type Fate =
  | { readonly do: "keep" }
  /** The object stays; references to owners that are gone or are waiting for it go. */
  | { readonly do: "drop-references"; readonly uids: readonly string[] }
  | { readonly do: "delete"; readonly policy: "Background" | "Foreground" | "Orphan" };

/**
 * An object goes when none of its owners is left, or when the last ones wait for it to go.
 * @param hasDependents others name this object as an owner.
 */
export function fateOf(object: KubeObject, owners: readonly Owner[], hasDependents: boolean): Fate {
  if (owners.length === 0 || object.metadata?.deletionTimestamp !== undefined) return { do: "keep" };
  const solid = owners.filter((owner) => owner.state === "there" && !owner.foreground);
  const waiting = owners.filter((owner) => owner.state === "there" && owner.foreground);
  const loose = owners.filter((owner) => !solid.includes(owner)).map(({ reference }) => reference.uid);
  if (solid.length > 0) return loose.length === 0 ? { do: "keep" } : { do: "drop-references", uids: loose };
  if (waiting.length > 0 && hasDependents) return { do: "delete", policy: "Foreground" };
  return { do: "delete", policy: ownPolicy(object) };
}

/** True when this dependent keeps its owner from going in a foreground deletion. */
export function isBlocking(dependent: KubeObject, ownerUid: string): boolean {
  return (dependent.metadata?.ownerReferences ?? []).some(
    ({ uid, blockOwnerDeletion }) => uid === ownerUid && blockOwnerDeletion === true,
  );
}

/** A finalizer that stands on the object says how it wants to be deleted. */
function ownPolicy(object: KubeObject): "Background" | "Foreground" | "Orphan" {
  const finalizers = object.metadata?.finalizers ?? [];
  if (finalizers.includes(orphanFinalizer)) return "Orphan";
  return finalizers.includes(foregroundFinalizer) ? "Foreground" : "Background";
}
