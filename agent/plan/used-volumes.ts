import type { Pod, Volume } from "#api/generated/kubernetes.ts";

/** A volume that some container uses. */
export interface UsedVolume {
  readonly volume: Volume;
  /** Some container wants its device instead of its files. */
  readonly isBlock: boolean;
  readonly isMounted: boolean;
}

/** The volumes that containers mount, use as devices or read variables from; one that none uses is left alone. */
export function usedVolumes(pod: Pod): readonly UsedVolume[] {
  const containers = [
    ...(pod.spec?.initContainers ?? []),
    ...(pod.spec?.containers ?? []),
    ...(pod.spec?.ephemeralContainers ?? []),
  ];
  const mounts = new Set(containers.flatMap((one) => (one.volumeMounts ?? []).map(({ name }) => name)));
  const files = new Set(
    containers.flatMap((one) =>
      (one.env ?? []).flatMap(({ valueFrom }) => valueFrom?.fileKeyRef?.volumeName ?? []),
    ),
  );
  const devices = new Set(containers.flatMap((one) => (one.volumeDevices ?? []).map(({ name }) => name)));
  return (pod.spec?.volumes ?? []).flatMap((volume) => {
    const isBlock = devices.has(volume.name);
    const isMounted = mounts.has(volume.name);
    return isBlock || isMounted || files.has(volume.name) ? [{ volume, isBlock, isMounted }] : [];
  });
}
