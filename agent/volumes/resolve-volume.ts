import type { PersistentVolumeClaim, Pod, Volume } from "#api/generated/kubernetes.ts";
import { persistentVolumeClaims, persistentVolumes } from "#api/resources.ts";
import { errorText } from "#lib/log.ts";
import type { ObjectReader } from "../last-known/object-reader.ts";
import type { VolumeSource } from "./volume-plugin.ts";

/** The volume's claim cannot be followed now. */
export class ClaimError extends Error {
  override readonly name = "ClaimError";
}

/**
 * Follows a claim to its PersistentVolume; every other volume is what the Pod says.
 * The two objects are read one by one: a node may get those that its Pods use, and no others.
 * @throws {ClaimError} in the words of the kubelet's event.
 */
export async function resolveVolume(
  pod: Pod,
  volume: Volume,
  client: ObjectReader | undefined,
  signal: AbortSignal,
): Promise<VolumeSource> {
  const name = claimName(pod, volume);
  if (name === undefined) return { from: "pod", volume };
  const { namespace = "" } = pod.metadata ?? {};
  const refuse = (why: string, cause?: unknown): ClaimError =>
    new ClaimError(`error processing PVC ${namespace}/${name}: ${why}`, { cause });
  if (client === undefined) throw refuse("a claim needs an API server");
  let claim: PersistentVolumeClaim;
  try {
    claim = await client.get(persistentVolumeClaims, { namespace, name }, signal);
  } catch (cause) {
    signal.throwIfAborted();
    throw refuse(`failed to fetch PVC from API server: ${errorText(cause)}`, cause);
  }
  if (volume.ephemeral !== undefined && !isOwnedBy(claim, pod))
    throw new ClaimError(
      `PVC ${namespace}/${name} was not created for pod ${namespace}/${pod.metadata?.name ?? ""} (pod is not owner)`,
    );
  if (claim.metadata?.deletionTimestamp !== undefined) throw refuse("PVC is being deleted");
  const bound = claim.spec?.volumeName ?? "";
  if (claim.status?.phase !== "Bound" || bound === "") throw refuse("PVC is not bound");
  try {
    const found = await client.get(persistentVolumes, { namespace: "", name: bound }, signal);
    const uid = claim.metadata?.uid ?? "";
    if (found.spec?.claimRef?.uid !== uid)
      throw new ClaimError(
        `PV object (claimRef.UID: ${found.spec?.claimRef?.uid ?? ""}) is not bound to the claim ${uid}`,
      );
    return { from: "claim", volume: found, claim: { namespace, name, uid } };
  } catch (cause) {
    signal.throwIfAborted();
    throw refuse(`failed to fetch PV ${bound} from API server: ${errorText(cause)}`, cause);
  }
}

/** The claim a volume names: one of the user's, or the Pod's own of a generic ephemeral volume. */
export function claimName(pod: Pod, volume: Volume): string | undefined {
  if (volume.persistentVolumeClaim !== undefined) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral === undefined ? undefined : `${pod.metadata?.name ?? ""}-${volume.name}`;
}

function isOwnedBy(claim: PersistentVolumeClaim, pod: Pod): boolean {
  return (
    claim.metadata?.ownerReferences?.some(
      ({ controller, uid }) => controller === true && uid === pod.metadata?.uid,
    ) === true
  );
}
