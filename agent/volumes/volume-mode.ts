import type { UsedVolume } from "../plan/used-volumes.ts";
import type { VolumeSource } from "./volume-plugin.ts";

/** Why the containers cannot use the volume as they say: files of a block volume, or the device of another. */
export function volumeModeFault(
  { volume, isBlock, isMounted }: UsedVolume,
  source: VolumeSource,
): string | undefined {
  const mode = source.from === "claim" ? (source.volume.spec?.volumeMode ?? "Filesystem") : "Filesystem";
  if (isMounted && mode === "Block")
    return `volume ${volume.name} has volumeMode Block, but is specified in volumeMounts`;
  if (isBlock && mode === "Filesystem")
    return `volume ${volume.name} has volumeMode Filesystem, but is specified in volumeDevices`;
  return undefined;
}
