import type { FCVolumeSource } from "#api/generated/kubernetes.ts";

/** Why the volume names no disk; undefined when it does. The words are the kubelet's. */
export function fcFault({ targetWWNs = [], lun, wwids = [] }: FCVolumeSource): string | undefined {
  if (wwids.length > 0 || (targetWWNs.length > 0 && lun !== undefined)) return undefined;
  return "fc: no fc disk information found. failed to make a new mounter";
}

/** What the disk is called among those of this node: the kubelet's name for its mount. */
export function fcDiskName({ targetWWNs = [], lun, wwids = [] }: FCVolumeSource): string {
  const name = targetWWNs.length > 0 ? `${targetWWNs[0]}-lun-${lun ?? 0}` : (wwids[0] ?? "");
  return name.replaceAll(/[/\s]/g, "_");
}

/**
 * Whether one of udev's links is the disk: `by-path/pci-0000:41:00.0-fc-0x<wwn>-lun-<n>` or `by-id/scsi-<wwid>`.
 * @see systemd's `60-persistent-storage.rules`.
 */
export function isFcLink(
  kind: "by-path" | "by-id",
  name: string,
  { targetWWNs = [], lun, wwids = [] }: FCVolumeSource,
): boolean {
  if (kind === "by-id") return wwids.some((wwid) => name === `scsi-${wwid.replaceAll(" ", "_")}`);
  return targetWWNs.some((wwn) => {
    const end = `fc-0x${wwn.toLowerCase()}-lun-${lun ?? 0}`;
    return name === end || (name.startsWith("pci-") && name.endsWith(`-${end}`));
  });
}
