import type { Node, Pod, PodSpec } from "#api/generated/kubernetes.ts";
import type { StoredObject } from "../../model.ts";

/** A Pod whose spec was checked against its model before admission. */
export type SpecifiedPod = StoredObject & { readonly spec: PodSpec };

/** Reads an object as a Pod; a missing spec becomes one without containers, which validation refuses. */
export function asPod(object: StoredObject): SpecifiedPod {
  const spec = object["spec"];
  return {
    ...object,
    spec: (typeof spec === "object" && spec !== null ? spec : { containers: [] }) as PodSpec,
  };
}

/** Reads an object as its generated type; its fields were checked against the model before admission. */
export function typed<T extends Node | Pod | object>(object: StoredObject): T {
  return object as unknown as T;
}

/** The copy of a static Pod that its node keeps in the API. */
export const mirrorAnnotation = "kubernetes.io/config.mirror";

/** True for a mirror Pod. */
export function isMirror(object: {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> };
}): boolean {
  return object.metadata?.annotations?.[mirrorAnnotation] !== undefined;
}
