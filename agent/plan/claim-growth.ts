import type { PersistentVolume, PersistentVolumeClaim } from "#api/generated/kubernetes.ts";
import { quantityValue } from "#api/quantity.ts";

/** Conditions that say an expansion is under way. */
const resizing = new Set(["Resizing", "FileSystemResizePending"]);

/**
 * What a claim's volume has to become on this node, once the control plane has made it larger.
 * @returns the size in bytes; undefined when the claim has it already, or its driver has refused it for good.
 */
export function growthOf(claim: PersistentVolumeClaim, volume: PersistentVolume): number | undefined {
  const wanted = volume.spec?.capacity?.["storage"];
  const has = claim.status?.capacity?.["storage"];
  if (wanted === undefined || has === undefined) return undefined;
  if (claim.status?.allocatedResourceStatuses?.["storage"] === "NodeResizeInfeasible") return undefined;
  const bytes = quantityValue(wanted);
  return bytes > quantityValue(has) ? bytes : undefined;
}

/** The merge patch of the claim's status once the node's part is done. */
export function grownPatch(claim: PersistentVolumeClaim, volume: PersistentVolume): object {
  const { capacity, conditions = [], allocatedResourceStatuses } = claim.status ?? {};
  return {
    status: {
      capacity: { ...capacity, storage: volume.spec?.capacity?.["storage"] },
      conditions: conditions.filter(({ type }) => !resizing.has(type)),
      ...(allocatedResourceStatuses?.["storage"] === undefined
        ? {}
        : { allocatedResourceStatuses: { storage: null } }),
    },
  };
}

/**
 * The merge patch that says how far the node has come (KEP-1790).
 * @returns undefined when the control plane does not keep that, or it is said already.
 */
export function growthMark(
  claim: PersistentVolumeClaim,
  mark: "NodeResizeInProgress" | "NodeResizeInfeasible",
): object | undefined {
  const now = claim.status?.allocatedResourceStatuses?.["storage"];
  if (now === undefined || now === mark) return undefined;
  return { status: { allocatedResourceStatuses: { storage: mark } } };
}
