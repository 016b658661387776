import type { ContainerStateTerminated, ContainerStatus, Pod } from "#api/generated/kubernetes.ts";
import type { PodMemory } from "../model.ts";
import { containersOf, type SpecContainer } from "./containers-of.ts";
import { comesBack } from "./restart-policy.ts";

/** A Pod's phase. */
export type Phase = "Pending" | "Running" | "Succeeded" | "Failed";

/**
 * The phase that the containers' statuses amount to.
 * @param stopping the Pod is to end: what has ended does not come back.
 */
export function podPhase(
  pod: Pod,
  statuses: readonly ContainerStatus[],
  stopping: boolean,
  memory: Pick<PodMemory, "replaced">,
): Phase {
  const returns = (spec: SpecContainer, end: ContainerStateTerminated | undefined): boolean =>
    comesBack(
      pod,
      spec,
      { id: end?.containerID?.split("//")[1] ?? "", exitCode: end?.exitCode ?? 0 },
      memory,
    );
  const byName = new Map(statuses.map((status) => [status.name, status]));
  const all = containersOf(pod);
  const inits = all.filter(({ kind }) => kind === "init");
  const apps = all.filter(({ kind }) => kind === "app");
  const endOf = ({ container }: SpecContainer) => {
    const status = byName.get(container.name);
    return (
      status?.state?.terminated ??
      (status?.state?.waiting === undefined ? undefined : status.lastState?.terminated)
    );
  };
  const isUp = ({ container }: SpecContainer): boolean =>
    byName.get(container.name)?.state?.running !== undefined;

  for (const spec of inits) {
    const end = byName.get(spec.container.name)?.state?.terminated;
    if (end !== undefined && end.exitCode !== 0 && !returns(spec, end)) return "Failed";
  }
  const appsBegan = apps.some((spec) => isUp(spec) || endOf(spec) !== undefined);
  const initPending = inits.some(
    (spec) => byName.get(spec.container.name)?.state?.terminated?.exitCode !== 0,
  );
  const sidecarPending = all.some(
    (spec) => spec.kind === "sidecar" && !isUp(spec) && endOf(spec) === undefined,
  );
  if (!stopping && !appsBegan && (initPending || sidecarPending)) return "Pending";
  if (apps.some((spec) => !isUp(spec) && endOf(spec) === undefined)) {
    // Never run: Pending; a Pod that is stopped before that has failed to do its work.
    return stopping && !all.some(isUp) ? "Failed" : "Pending";
  }
  if (apps.some(isUp)) return "Running";
  const ends = apps.map((spec) => ({ spec, end: endOf(spec) }));
  const good = ends.every(({ end }) => (end?.exitCode ?? 0) === 0);
  if (stopping) return good ? "Succeeded" : "Failed";
  if (ends.some(({ spec, end }) => returns(spec, end))) return "Running";
  return good ? "Succeeded" : "Failed";
}
