import type { Container, Pod } from "#api/generated/kubernetes.ts";
import { quantityValue } from "#api/quantity.ts";
import type { PodVerdict } from "../model.ts";
import { isCritical } from "./preemption.ts";

/** What of a Pod's files on the node's disk has to be measured. */
export interface StorageWatch {
  /** emptyDir volumes on disk. */
  readonly volumes: readonly string[];
  /** Containers whose logs and writable layer count. */
  readonly containers: readonly string[];
}

/** Bytes on the node's disk. */
export interface StorageUse {
  readonly volumes: ReadonlyMap<string, number>;
  /** Logs and writable layer together. */
  readonly containers: ReadonlyMap<string, number>;
}

const resource = "ephemeral-storage";
/** Seconds that a Pod has which takes more than it may. */
const graceSeconds = 1;

/** What to measure for a Pod; undefined when nothing of it is limited, or nobody may turn it out. */
export function storageWatch(pod: Pod): StorageWatch | undefined {
  if (isCritical(pod)) return undefined;
  const all = runningContainers(pod);
  const isLimited = all.some((container) => limitOf(container) !== undefined);
  const emptyDirs = (pod.spec?.volumes ?? []).filter(
    ({ emptyDir }) => emptyDir !== undefined && (emptyDir.medium ?? "") === "",
  );
  const limited = emptyDirs.filter(({ emptyDir }) => positive(emptyDir?.sizeLimit) !== undefined);
  if (!isLimited && limited.length === 0) return undefined;
  return {
    // For the Pod's own limit everything counts.
    volumes: (isLimited ? emptyDirs : limited).map(({ name }) => name),
    containers: isLimited ? all.map(({ name }) => name) : [],
  };
}

/**
 * Why a Pod is turned out for what it has written to the node's disk: a volume, all of the Pod, or a container over its
 * limit, in this order. undefined while it keeps to what it may.
 */
export function storageVerdict(pod: Pod, use: StorageUse): PodVerdict | undefined {
  for (const { name, emptyDir } of pod.spec?.volumes ?? []) {
    const limit = positive(emptyDir?.sizeLimit);
    if (limit !== undefined && (use.volumes.get(name) ?? 0) > limit)
      return evicted(`Usage of EmptyDir volume "${name}" exceeds the limit "${emptyDir?.sizeLimit}". `);
  }
  const all = runningContainers(pod);
  const limits = all.flatMap((container) => limitOf(container) ?? []);
  const total = [...use.volumes.values(), ...use.containers.values()].reduce((sum, one) => sum + one, 0);
  const whole = limits.reduce((sum, one) => sum + one, 0);
  if (limits.length > 0 && total > whole)
    return evicted(
      `Pod ephemeral local storage usage exceeds the total limit of containers ${whole === 0 ? "0" : written(all)}. `,
    );
  for (const container of all) {
    const limit = limitOf(container);
    if (limit !== undefined && (use.containers.get(container.name) ?? 0) > limit)
      return evicted(
        `Container ${container.name} exceeded its local ephemeral storage limit "${container.resources?.limits?.[resource]}". `,
      );
  }
  return undefined;
}

/** Containers that run at the same time: init containers that end have room before them. */
function runningContainers(pod: Pod): readonly Container[] {
  const sidecars = (pod.spec?.initContainers ?? []).filter((one) => one.restartPolicy === "Always");
  return [...sidecars, ...(pod.spec?.containers ?? [])];
}

/** The limits as their Pod spells them: one that stands alone, else what they come to. */
function written(containers: readonly Container[]): string {
  const texts = containers.flatMap(({ resources }) => resources?.limits?.[resource] ?? []);
  if (texts.length === 1) return texts[0] ?? "";
  return String(texts.reduce((sum, text) => sum + quantityValue(text), 0));
}

function limitOf({ resources }: Container): number | undefined {
  const text = resources?.limits?.[resource];
  return text === undefined ? undefined : quantityValue(text);
}

function positive(text: string | undefined): number | undefined {
  const value = text === undefined ? 0 : quantityValue(text);
  return value > 0 ? value : undefined;
}

function evicted(message: string): PodVerdict {
  return { phase: "Failed", reason: "Evicted", message, graceSeconds };
}
