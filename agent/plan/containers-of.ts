import type { Container, Pod } from "#api/generated/kubernetes.ts";
import type { ContainerKind } from "../model.ts";

/** A container of a Pod's spec with its place in the Pod's life. */
export interface SpecContainer {
  readonly kind: ContainerKind;
  readonly container: Container;
}

/** Init containers and sidecars in order, then app containers, then ephemeral ones. */
export function containersOf(pod: Pod): readonly SpecContainer[] {
  return [
    ...(pod.spec?.initContainers ?? []).map((container) => ({ kind: initKind(container), container })),
    ...(pod.spec?.containers ?? []).map((container) => ({ kind: "app" as const, container })),
    ...(pod.spec?.ephemeralContainers ?? []).map((container) => ({ kind: "ephemeral" as const, container })),
  ];
}

/** The part of the Pod an event about this container points at: `spec.containers{web}`. */
export function fieldPathOf({ kind, container }: SpecContainer): string {
  const list =
    kind === "app" ? "containers" : kind === "ephemeral" ? "ephemeralContainers" : "initContainers";
  // An image that it mounts is known under its name and the volume's.
  return `spec.${list}{${container.name.replace(/\/.*/, "")}}`;
}

function initKind(container: Container): ContainerKind {
  return container.restartPolicy === "Always" ? "sidecar" : "init";
}
