import type { CSIDriver, PersistentVolume, SecretReference, Volume } from "#api/generated/kubernetes.ts";
import type { VolumeSource } from "../../volume-plugin.ts";
import { ephemeralHandle } from "./csi-names.ts";

/** A volume of a CSI driver, wherever it was written. */
export interface CsiVolume {
  readonly driver: string;
  readonly handle: string;
  /** `Persistent`: of a PersistentVolume; `Ephemeral`: written in the Pod, and it lives with it. */
  readonly lifecycle: "Persistent" | "Ephemeral";
  readonly fsType: string;
  readonly readOnly: boolean;
  readonly attributes: Readonly<Record<string, string>>;
  readonly accessModes: readonly string[];
  readonly mountOptions: readonly string[];
  readonly stageSecret: SecretReference | undefined;
  readonly publishSecret: SecretReference | undefined;
  readonly expandSecret: SecretReference | undefined;
}

/** Whether a CSI driver serves it. */
export function isCsi(source: VolumeSource): boolean {
  return source.from === "pod" ? source.volume.csi !== undefined : source.volume.spec?.csi !== undefined;
}

/**
 * The volume as its driver knows it.
 * @param readOnly what the Pod's reference to a claim says.
 * @returns undefined when no CSI driver serves it.
 */
export function csiVolume(
  source: VolumeSource,
  pod: { readonly uid: string; readonly namespace: string },
  readOnly: boolean,
): CsiVolume | undefined {
  return source.from === "pod"
    ? inlineVolume(source.volume, pod)
    : persistentCsiVolume(source.volume, readOnly);
}

function inlineVolume(
  { name, csi }: Volume,
  { uid, namespace }: { readonly uid: string; readonly namespace: string },
): CsiVolume | undefined {
  if (csi === undefined) return undefined;
  const secret = csi.nodePublishSecretRef?.name;
  return {
    driver: csi.driver,
    handle: ephemeralHandle(uid, name),
    lifecycle: "Ephemeral",
    fsType: csi.fsType ?? "",
    readOnly: csi.readOnly === true,
    attributes: csi.volumeAttributes ?? {},
    accessModes: ["ReadWriteOnce"],
    mountOptions: [],
    stageSecret: undefined,
    publishSecret: secret === undefined ? undefined : { name: secret, namespace },
    expandSecret: undefined,
  };
}

/** The same for a PersistentVolume, whoever has it. */
export function persistentCsiVolume({ spec }: PersistentVolume, readOnly: boolean): CsiVolume | undefined {
  const csi = spec?.csi;
  if (csi === undefined) return undefined;
  return {
    driver: csi.driver,
    handle: csi.volumeHandle,
    lifecycle: "Persistent",
    fsType: csi.fsType ?? "",
    readOnly,
    attributes: csi.volumeAttributes ?? {},
    accessModes: spec?.accessModes ?? [],
    mountOptions: spec?.mountOptions ?? [],
    stageSecret: csi.nodeStageSecretRef,
    publishSecret: csi.nodePublishSecretRef,
    expandSecret: csi.nodeExpandSecretRef,
  };
}

/**
 * Why the driver's object does not let the volume be used in this way, in the kubelet's words.
 * @param object undefined when there is none: then the driver serves PersistentVolumes only.
 */
export function lifecycleFault(
  { driver, lifecycle }: CsiVolume,
  object: CSIDriver | undefined,
): string | undefined {
  const modes = object?.spec.volumeLifecycleModes ?? [];
  const allowed = modes.length === 0 ? ["Persistent"] : modes;
  if (allowed.includes(lifecycle)) return undefined;
  const why = object === undefined ? "no CSIDriver object" : `only supports ${JSON.stringify(allowed)}`;
  return `volume mode "${lifecycle}" not supported by driver ${driver} (${why})`;
}

/** Whether the control plane has to attach the volume to this node first; without an object it does. */
export function needsAttach({ lifecycle }: CsiVolume, object: CSIDriver | undefined): boolean {
  return lifecycle === "Persistent" && object?.spec.attachRequired !== false;
}

/**
 * Whether the agent gives the volume's files to the Pod's group; a driver that does it itself is asked instead.
 * @see KEP-1682 (fsGroupPolicy)
 */
export function appliesFsGroup(volume: CsiVolume, object: CSIDriver | undefined): boolean {
  const policy = object?.spec.fsGroupPolicy ?? "ReadWriteOnceWithFSType";
  if (volume.readOnly || policy === "None") return false;
  if (policy === "File") return true;
  return (
    volume.fsType !== "" &&
    volume.accessModes.some((mode) => mode === "ReadWriteOnce" || mode === "ReadWriteOncePod")
  );
}
